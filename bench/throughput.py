"""Frames per second and where the time goes, against every target of speed: one command, some minutes.

    python -m bench.throughput                      a synthetic 1280x720 clip of 5 Mb/s, made for the purpose
    python -m bench.throughput --clip-kind noisy    one of 16 Mb/s, hard to decode and to encode; --noise: as you like
    python -m bench.throughput --clip C --song S    files of yours
    python -m bench.throughput --clock cpu          on a busy machine: count computing, not waiting

All run in this process with one thread, the paper's way beside ours, on the same clip. The full-size generator has
untrained weights: the arithmetic is that of the published ones. S3FD takes seconds a frame at this size, so it runs on
`--detect-frames` frames and its rate counts. Prints a table, draws it as a picture, compares ratios with the last
committed run, and writes both beside this file.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Literal

from rich.table import Table

from bench.chart import draw_bars
from bench.inputs import CLIP_KINDS, make_clip, make_song, megabits_per_s
from bench.paper_way import Timings, run_paper_way
from bench.pipeline import FULL_SIZE, SMALL, Ours, generator_only, run_ours
from bench.targets import RESULTS, Target, report, wide_console

Clock = Literal["wall", "cpu"]


def main() -> None:
    """Run all ways on one pair, print, draw, compare; exit code 1 with --check where a target is missed."""
    options = _options()
    _one_thread()
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        clip = _clip(options, folder)
        song = options.song.resolve() if options.song else make_song(folder / "song.wav", seconds=options.seconds)
        second = make_song(folder / "second.wav", seconds=options.seconds, seed=11)
        ours, alone_ms = _ours(clip, song, second, folder, options.seconds)
        frames = ours["full size"].frames
        theirs = run_paper_way(clip, song, folder / "paper.mp4", num_frames=frames, detect_frames=options.detect_frames)
    _print_stages(ours, theirs)
    clock: Clock = options.clock
    ways = {way: {stage: 1000 * took / run.frames for stage, took in run.stages.items()} for way, run in ours.items()}
    picture = RESULTS / f"{options.name}.png"
    RESULTS.mkdir(exist_ok=True)
    draw_bars(picture, ways, title=f"Milliseconds a frame, {frames} frames, one thread", unit="ms")
    wide_console().print(f"drawn: {picture}")
    met = report(
        options.name,
        _targets(ours, theirs, alone_ms[clock], clock),
        {
            "machine": f"{platform.machine()}, one thread, {clock} time",
            "frames": frames,
            "generator_only_ms": alone_ms,
            "ms_per_frame": ways,
            "all_ms_per_frame": {way: {"wall": run.wall_ms, "cpu": run.cpu_ms} for way, run in ours.items()},
            "paper_ms_per_frame": {
                stage: 1000 * theirs.seconds[stage] / theirs.frames[stage] for stage in theirs.seconds
            },
        },
    )
    if options.check and not met:
        sys.exit(1)


def _clip(options: argparse.Namespace, folder: Path) -> Path:
    """The clip named, or one made as asked."""
    if options.clip:
        return Path(options.clip).resolve()
    clip = make_clip(folder / "clip.mp4", seconds=options.seconds, kind=options.clip_kind, noise=options.noise)
    rate = megabits_per_s(clip, seconds=options.seconds)
    wide_console().print(f"clip: {options.clip_kind}, 1280x720, {rate:.1f} Mb/s")
    return clip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--clip-kind", choices=CLIP_KINDS, default="ordinary", help="what clip to make without --clip")
    parser.add_argument("--noise", type=float, help="deviation of its noise, grey levels")
    parser.add_argument("--song", type=Path)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of the output")
    parser.add_argument("--detect-frames", type=int, default=2, help="frames S3FD sees")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what targets are counted by")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--name", help="name of the result files; throughput, or throughput-noisy")
    options = parser.parse_args()
    if options.name is None:
        options.name = "throughput-noisy" if options.clip_kind == "noisy" else "throughput"
    return options


def _ours(
    clip: Path, song: Path, second: Path, folder: Path, seconds: float
) -> tuple[dict[str, Ours], dict[Clock, float]]:
    """Our ways, and the generator alone, ms a frame.

    First one that only warms up: imports are a worker's start, which `bench.startup` measures. The generator alone runs
    before, between and after those it is set beside: within minutes this machine's speed differs by a tenth.
    """
    short = min(1.0, seconds)
    run_ours(clip, song, folder / "warm", short, generator=SMALL)
    run_ours(clip, song, folder / "warm2", short, generator=FULL_SIZE)
    alone = [_alone(seconds)]
    ours = {"full size": run_ours(clip, song, folder / "full", seconds, generator=FULL_SIZE)}
    alone.append(_alone(seconds))
    plain = ("score.scorer=none",)
    ours["full, not scored"] = run_ours(clip, song, folder / "plain", seconds, generator=FULL_SIZE, overrides=plain)
    alone.append(_alone(seconds))
    ours["bundled"] = run_ours(clip, song, folder / "small", seconds, generator=SMALL)
    ours["bundled, 2nd song"] = run_ours(
        clip, second, folder / "second", seconds, generator=SMALL, store=folder / "small" / "store"
    )
    walls, cpus = zip(*alone, strict=True)
    return ours, {"wall": fmean(walls), "cpu": fmean(cpus)}


def _alone(seconds: float) -> tuple[float, float]:
    return generator_only(FULL_SIZE, num_frames=max(64, int(seconds * 25 / 2)))


def _targets(ours: Mapping[str, Ours], theirs: Timings, alone_ms: float, clock: Clock) -> list[Target]:
    took = {way: run.wall_ms if clock == "wall" else run.cpu_ms for way, run in ours.items()}
    full, small = took["full size"], took["bundled"]
    theirs_ms = 1000 * theirs.seconds_per_frame
    bare_ms = theirs_ms - 1000 * theirs.seconds["detect"] / theirs.frames["detect"]
    scored = ours["full size"].stages.get("score", 0.0) / ours["full size"].wall_s
    return [
        Target("end to end, of the generator's own rate", alone_ms / full, 0.60),
        Target("the same without scoring", alone_ms / took["full, not scored"], 0.70),
        Target("times the paper's way", theirs_ms / full, 100),
        Target("times the paper's way without any detection", bare_ms / full, None),
        Target("bundled generator, times the full-size one", full / small, 3.0),
        Target(
            "clips analysed for a second song", float(ours["bundled, 2nd song"].num_analysed), 0, higher_is_better=False
        ),
        Target("share of time that scoring takes", scored, 0.15, higher_is_better=False),
    ]


def _one_thread() -> None:
    import cv2

    from models.engine import limit_threads

    cv2.setNumThreads(1)
    limit_threads()


def _print_stages(ours: Mapping[str, Ours], theirs: Timings) -> None:
    frames = ours["full size"].frames
    table = Table(title=f"{frames} frames, one thread: wall milliseconds a frame, and share", title_justify="left")
    stages = list(dict.fromkeys(stage for run in ours.values() for stage in run.stages))
    table.add_column("stage")
    for way in ours:
        table.add_column(way, justify="right")
    for stage in stages:
        cells = []
        for run in ours.values():
            took = run.stages.get(stage)
            cells.append("" if took is None else f"{1000 * took / run.frames:.2f}  {took / run.wall_s:5.1%}")
        table.add_row(stage, *cells)
    table.add_row("all", *[f"{run.wall_ms:.1f}  {1000 / run.wall_ms:.1f}/s" for run in ours.values()], style="bold")
    table.add_row("all, of the processor", *[f"{run.cpu_ms:.1f}" for run in ours.values()])
    console = wide_console()
    console.print(table)
    parts = ", ".join(f"{stage} {1000 * theirs.seconds[stage] / theirs.frames[stage]:.1f}" for stage in theirs.seconds)
    console.print(f"the paper's way, ms a frame: {parts}; all {1000 * theirs.seconds_per_frame:.0f}")


if __name__ == "__main__":
    main()
