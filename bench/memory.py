"""Peak memory of a real Ray actor, from analysis to the joined film: small, and the same however long the clip.

    python -m bench.memory                          10 s and 60 s at 640x360, 10 s at 1280x720: about three minutes
    python -m bench.memory --seconds 10 200

One actor makes each pair from nothing with the full-size generator; the kernel's own count of its largest size
(VmHWM) is read while it works.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
from pathlib import Path

from bench.inputs import make_clip, make_song
from bench.pipeline import FULL_SIZE, Counted
from bench.targets import Target, report
from singalong.config import load_settings
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.film_steps import join_pairs
from tasks.plan_run import plan_run
from tasks.session import Session

MOST_MB = 700


class PeakWatch:
    """Largest size of any Ray worker that does our jobs, MB."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakWatch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.peak_mb = max([self.peak_mb, *(peak for pid in actors() if (peak := peak_of(pid)))])


def actors() -> list[int]:
    """Processes of this run's actors: Ray names them after the class."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(b"ray::WorkerActor") and _is_ours(int(folder.name)):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def _is_ours(pid: int) -> bool:
    """Whether this process started it, or one that did."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def peak_of(pid: int) -> float | None:
    """Largest size a process ever had, MB; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else None


def measure(seconds: float, width: int, height: int) -> float:
    """Peak of one actor that makes a pair of this length and size, MB."""
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        clip = make_clip(folder / "clip.mp4", seconds=seconds, width=width, height=height)
        make_song(folder / "song.wav", seconds=seconds)
        (folder / "m.csv").write_text(f"pair_id,clip,song,song_end_s\nbench,{clip},song.wav,{seconds}\n")
        overrides = [f"run.store={folder / 'store'}", "run.num_actors=1", f"lipsync.generator={FULL_SIZE}"]
        settings = load_settings(None, overrides)
        plan, rows = plan_run(folder / "m.csv", settings=settings, store=Store(settings.store_path))
        run = RunFolder.create(folder / "run", plan, settings, manifest=rows)
        with PeakWatch() as watch, Session(run, Counted()) as session:
            session.lipsync(session.prepare(session.pending()))
            join_pairs(session)
            time.sleep(0.2)
        return watch.peak_mb


def main() -> None:
    """Measure, and print peaks and targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 60.0], help="lengths at 640x360")
    options = parser.parse_args()
    peaks = {f"{seconds:g} s, 640x360": measure(seconds, 640, 360) for seconds in options.seconds}
    small = list(peaks.values())
    peaks["10 s, 1280x720"] = measure(10.0, 1280, 720)
    targets = [
        Target(f"actor's peak, {name}", mb, MOST_MB, higher_is_better=False, unit=" MB") for name, mb in peaks.items()
    ]
    targets.append(Target("longest clip over shortest", small[-1] / small[0], 1.05, higher_is_better=False))
    report("memory", targets, {})


if __name__ == "__main__":
    main()
