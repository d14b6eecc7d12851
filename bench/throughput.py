"""Frames per second and where the time goes: one pair end to end by us, with both generators, and the paper's way.

    python -m bench.throughput                      a synthetic 1280x720 clip, made for the purpose
    python -m bench.throughput --clip C --song S    files of yours

All run in this process with one thread. The full-size generator has untrained weights: the arithmetic is that of the
published ones. S3FD takes seconds a frame at this size, so it runs on `--detect-frames` frames and its rate counts.
Prints a table and writes it beside this file as JSON, to be compared by ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.inputs import make_clip, make_song
from bench.paper_way import Timings, run_paper_way
from singalong.config import load_settings
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.film_steps import join_pairs
from tasks.plan_run import plan_run
from tasks.session import Session

RESULTS = Path(__file__).parent / "results"


FULL_SIZE, SMALL = "untrained", "singalong-warper"


@dataclass(frozen=True)
class Ours:
    """One pair made by us: frames, seconds a stage, wall seconds."""

    frames: int
    stages: dict[str, float]
    wall_s: float


def run_ours(clip: Path, song: Path, folder: Path, seconds: float, *, generator: str, shard_s: float = 10.0) -> Ours:
    """Plan, analyse, lip-sync and join one pair in this process."""
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.csv"
    manifest.write_text(f"pair_id,clip,song,song_end_s\nbench,{clip},{song},{seconds}\n")
    overrides = ["run.executor=inprocess", f"run.store={folder / 'store'}", f"plan.shard_s={shard_s}"]
    settings = load_settings(None, [*overrides, f"lipsync.generator={generator}"])
    stages: defaultdict[str, float] = defaultdict(float)
    started = time.perf_counter()
    plan, rows = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    stages["probe and plan"] = time.perf_counter() - started
    with Session(RunFolder.create(folder / "run", plan, settings, manifest=rows)) as session:
        begun = time.perf_counter()
        items = session.prepare(session.pending())
        stages["analyse and prepare"] = time.perf_counter() - begun
        begun = time.perf_counter()
        session.lipsync(items)
        lipsync_s = time.perf_counter() - begun
        for result in session.standing().results.values():
            for stage, took in result.seconds.items():
                stages[stage] += took
                lipsync_s -= took
        stages["load weights, commit"] = lipsync_s
        begun = time.perf_counter()
        join_pairs(session)
        stages["join"] = time.perf_counter() - begun
    return Ours(plan.pairs[0].num_frames, dict(stages), time.perf_counter() - started)


def main() -> None:
    """Run both ways on one pair and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--song", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the output")
    parser.add_argument("--detect-frames", type=int, default=3, help="frames S3FD sees")
    parser.add_argument("--name", default="throughput", help="name of the result file")
    options = parser.parse_args()
    _one_thread()
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        clip = options.clip.resolve() if options.clip else make_clip(folder / "clip.mp4", seconds=options.seconds)
        song = options.song.resolve() if options.song else make_song(folder / "song.wav", seconds=options.seconds)
        small, full = (
            run_ours(clip, song, folder / name, options.seconds, generator=name) for name in (SMALL, FULL_SIZE)
        )
        paper_film = folder / "paper.mp4"
        theirs = run_paper_way(clip, song, paper_film, num_frames=full.frames, detect_frames=options.detect_frames)
    _print({"ours": full, "ours, small": small}, theirs)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "machine": f"{platform.machine()}, one thread",
        "frames": full.frames,
        "ours_seconds_per_frame": {stage: took / full.frames for stage, took in full.stages.items()},
        "small_seconds_per_frame": {stage: took / small.frames for stage, took in small.stages.items()},
        "paper_seconds_per_frame": {stage: theirs.seconds[stage] / theirs.frames[stage] for stage in theirs.seconds},
        "times_faster": theirs.seconds_per_frame * full.frames / full.wall_s,
        "small_over_full_size": {
            "generate": full.stages["generate"] / small.stages["generate"],
            "all": full.wall_s / small.wall_s,
        },
    }
    (RESULTS / f"{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _one_thread() -> None:
    import cv2

    from models.engine import limit_threads

    cv2.setNumThreads(1)
    limit_threads()


def _print(ours: Mapping[str, Ours], theirs: Timings) -> None:
    full, small = ours.values()
    table = Table(title=f"{full.frames} frames, one thread", title_justify="left")
    for column in ("way", "stage", "ms a frame", "share"):
        table.add_column(column, justify="right" if column in ("ms a frame", "share") else "left")
    for way, run in ours.items():
        for stage, took in run.stages.items():
            table.add_row(way, stage, f"{1000 * took / run.frames:.2f}", f"{took / run.wall_s:.1%}")
        rate, took = run.frames / run.wall_s, run.wall_s / run.frames
        table.add_row(way, f"all: {rate:.1f} frames/s", f"{1000 * took:.2f}", "100%", style="bold")
    for stage, took in theirs.seconds.items():
        per_frame = took / theirs.frames[stage]
        table.add_row("paper's", stage, f"{1000 * per_frame:.2f}", f"{per_frame / theirs.seconds_per_frame:.1%}")
    rate = 1 / theirs.seconds_per_frame
    table.add_row("paper's", f"all: {rate:.2f} frames/s", f"{1000 / rate:.2f}", "100%", style="bold")
    console = Console()
    console.print(table)
    per_frame = full.wall_s / full.frames
    without_detection = theirs.seconds_per_frame - theirs.seconds["detect"] / theirs.frames["detect"]
    console.print(f"ours is {theirs.seconds_per_frame / per_frame:.0f} times as fast, model loading included")
    console.print(f"and {without_detection / per_frame:.2f} times as fast as the paper's way without any detection")
    console.print(
        f"the small generator is {full.stages['generate'] / small.stages['generate']:.1f} times as fast as the "
        f"full-size one, and {full.wall_s / small.wall_s:.1f} times from end to end"
    )


if __name__ == "__main__":
    main()
