"""Frames per second and where the time goes: one pair end to end by us and the paper's way, in one run.

    python -m bench.throughput                      a synthetic 1280x720 clip, made for the purpose
    python -m bench.throughput --clip C --song S    files of yours

Both ways run in this process with one thread, the full-size generator and untrained weights: the arithmetic is that of
the published ones. S3FD takes seconds a frame at this size, so it runs on `--detect-frames` frames and its rate counts.
Prints a table and writes it beside this file as JSON, to be compared by ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import defaultdict
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


def run_ours(
    clip: Path, song: Path, folder: Path, seconds: float, *, shard_s: float = 10.0
) -> tuple[int, dict[str, float], float]:
    """Plan, analyse, lip-sync and join one pair in this process; frames, seconds a stage, wall seconds."""
    manifest = folder / "manifest.csv"
    manifest.write_text(f"pair_id,clip,song,song_end_s\nbench,{clip},{song},{seconds}\n")
    settings = load_settings(
        None, ["run.executor=inprocess", f"run.store={folder / 'store'}", f"plan.shard_s={shard_s}"]
    )
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
        for result in session.results().values():
            for stage, took in result.seconds.items():
                stages[stage] += took
                lipsync_s -= took
        stages["load weights, commit"] = lipsync_s
        begun = time.perf_counter()
        join_pairs(session)
        stages["join"] = time.perf_counter() - begun
    return plan.pairs[0].num_frames, dict(stages), time.perf_counter() - started


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
        frames, ours, wall_s = run_ours(clip, song, folder, options.seconds)
        theirs = run_paper_way(clip, song, folder / "paper.mp4", num_frames=frames, detect_frames=options.detect_frames)
    _print(frames, ours, wall_s, theirs)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "machine": f"{platform.machine()}, one thread",
        "frames": frames,
        "ours_seconds_per_frame": {stage: took / frames for stage, took in ours.items()},
        "paper_seconds_per_frame": {stage: theirs.seconds[stage] / theirs.frames[stage] for stage in theirs.seconds},
        "times_faster": theirs.seconds_per_frame * frames / wall_s,
    }
    (RESULTS / f"{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _one_thread() -> None:
    import cv2

    from models.engine import limit_threads

    cv2.setNumThreads(1)
    limit_threads()


def _print(frames: int, ours: dict[str, float], wall_s: float, theirs: Timings) -> None:
    table = Table(title=f"{frames} frames, one thread", title_justify="left")
    for column in ("way", "stage", "ms a frame", "share"):
        table.add_column(column, justify="right" if column in ("ms a frame", "share") else "left")
    for stage, took in ours.items():
        table.add_row("ours", stage, f"{1000 * took / frames:.2f}", f"{took / wall_s:.1%}")
    table.add_row("ours", f"all: {frames / wall_s:.1f} frames/s", f"{1000 * wall_s / frames:.2f}", "100%", style="bold")
    for stage, took in theirs.seconds.items():
        per_frame = took / theirs.frames[stage]
        table.add_row("paper's", stage, f"{1000 * per_frame:.2f}", f"{per_frame / theirs.seconds_per_frame:.1%}")
    rate = 1 / theirs.seconds_per_frame
    table.add_row("paper's", f"all: {rate:.2f} frames/s", f"{1000 / rate:.2f}", "100%", style="bold")
    console = Console()
    console.print(table)
    console.print(f"ours is {frames / wall_s / rate:.0f} times as fast, model loading included")
    without_detection = theirs.seconds_per_frame - theirs.seconds["detect"] / theirs.frames["detect"]
    console.print(
        f"and {frames / wall_s * without_detection:.2f} times as fast as the paper's way without any detection"
    )


if __name__ == "__main__":
    main()
