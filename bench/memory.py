"""Peak memory of a worker for clips of different lengths: it must not grow with them.

    python -m bench.memory --seconds 10 200

Each length runs in a process of its own: analysis, song, lip-sync and join.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import tempfile
from pathlib import Path

from bench.inputs import make_clip, make_song
from bench.throughput import FULL_SIZE, RESULTS, run_ours


def _measure(clip: str, song: str, seconds: float, pipe: multiprocessing.connection.Connection) -> None:
    import cv2

    from models.engine import limit_threads

    cv2.setNumThreads(1)
    limit_threads()
    with tempfile.TemporaryDirectory() as temp:
        run_ours(Path(clip), Path(song), Path(temp), seconds, generator=FULL_SIZE)
    pipe.send(_peak_mb())


def _peak_mb() -> float:
    """Peak of this process alone: getrusage would count what its parent held when it was started."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    """Measure each length and print peak memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 200.0])
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temp:
        for seconds in options.seconds:
            clip = make_clip(
                Path(temp) / f"clip{seconds}.mp4", seconds=seconds, width=options.width, height=options.height
            )
            song = make_song(Path(temp) / f"song{seconds}.wav", seconds=seconds)
            ours, theirs = context.Pipe()
            process = context.Process(target=_measure, args=(str(clip), str(song), seconds, theirs))
            process.start()
            peaks[f"{seconds:g}"] = ours.recv()
            process.join()
            print(f"{seconds:g} s: {peaks[f'{seconds:g}']:.0f} MB")
    first, last = peaks[f"{options.seconds[0]:g}"], peaks[f"{options.seconds[-1]:g}"]
    print(f"longest over shortest: {last / first:.3f}")
    RESULTS.mkdir(exist_ok=True)
    result = {"size": f"{options.width}x{options.height}", "peak_mb": peaks, "ratio": last / first}
    (RESULTS / "memory.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
