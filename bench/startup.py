"""What a run costs beside its work: the start, Prefect, Ray and the ledger, and how well two actors share two cores.

    python -m bench.startup                     all three, some minutes; wants a quiet machine with two cores
    python -m bench.startup --only start

start: from the command to the first shard's beginning, everything in memory and all caches warm. overhead: two hundred
small shards through Prefect, Ray and the ledger; what their workers did not take is set beside two hundred real shards
of 5 s, whose cost is that of the last `bench.throughput`. scaling: shards of one pair by one actor and by two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from bench.inputs import make_clip, make_song
from bench.pipeline import FULL_SIZE, SMALL, Counted
from bench.targets import RESULTS, Target, report
from singalong.config import load_settings
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.plan_run import plan_run
from tasks.session import Session

MOST_START_S, MOST_OVERHEAD, LEAST_SCALING = 12.0, 0.03, 1.85
NUM_SHARDS, SHARD_S = 200, 5.0
_REAL_FPS = 25


def start_s(folder: Path) -> float:
    """Seconds from the command until the first shard begins, in the second of two runs."""
    make_clip(folder / "clip.mp4", seconds=2.0, width=320, height=240)
    waits = []
    for number in range(2):  # another song each time, so that there is something to do; the first run warms up
        song = make_song(folder / f"song{number}.wav", seconds=2.0, seed=number)
        (folder / "m.csv").write_text(f"pair_id,clip,song,vocals\na,clip.mp4,{song.name},none\n")
        waits.append(_until_first_shard(folder / "m.csv", folder / f"run{number}", folder / "store"))
    return waits[-1]


def _until_first_shard(manifest: Path, run: Path, store: Path) -> float:
    command = [sys.executable, "-m", "flows", "run", str(manifest), "--run", str(run), "--set", f"run.store={store}"]
    started, began = time.time(), None
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if began is None and any(path.is_file() for path in (run / "attempts").rglob("*")):
                began = time.time()
            time.sleep(0.02)
    assert process.returncode == 0, process.returncode
    assert began is not None, "no shard was ever started"
    return began - started


def overhead_s(folder: Path) -> float:
    """Seconds that a run of 200 shards takes beyond what its actors work, all of it on the actors' clock."""
    _still(folder)
    make_song(folder / "long.wav", seconds=NUM_SHARDS * SHARD_S / 10 + 1)
    overrides = {
        "run.store": folder / "store",
        "lipsync.generator": SMALL,
        "score.scorer": "none",
        "plan.shard_s": SHARD_S,
        "plan.still_fps": 12,
    }
    # ten pairs of one still and one song would be one piece of work; their spans tell them apart
    length_s = NUM_SHARDS * SHARD_S / 10
    spans = [(index * 0.05, index * 0.05 + length_s) for index in range(10)]
    rows = [f"p{index},still.png,long.wav,none,{start:.2f},{end:.2f}" for index, (start, end) in enumerate(spans)]
    heading = "pair_id,clip,song,vocals,song_start_s,song_end_s"
    (folder / "m.csv").write_text("\n".join([heading, *rows]) + "\n")
    arguments = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "flows", "run", str(folder / "m.csv"), "--run", str(folder / "run"), *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall_s = time.perf_counter() - started
    import singalong

    rows_done = singalong.load_report(folder / "run")
    assert (rows_done["status"] == "done").all()
    worked_s = float(rows_done[[name for name in rows_done.columns if name.startswith("seconds_")]].sum().sum())
    return max(0.0, wall_s - worked_s / min(2, os.cpu_count() or 1))


def _still(folder: Path) -> Path:
    clip = make_clip(folder / "one.mp4", seconds=0.2, width=160, height=120)
    video = cv2.VideoCapture(str(clip))
    found, picture = video.read()
    video.release()
    assert found
    cv2.imwrite(str(folder / "still.png"), picture)
    return folder / "still.png"


def real_shard_s() -> float:
    """What a 5 s shard of the full-size generator takes, by the last `bench.throughput`."""
    path = RESULTS / "throughput.json"
    found = json.loads(path.read_text())
    per_frame_ms = found["all_ms_per_frame"]["full size"]["wall"]
    return float(per_frame_ms) / 1000 * SHARD_S * _REAL_FPS


def scaling(folder: Path) -> float:
    """Times that two actors are as fast as one, at shards alone, both warm."""
    make_clip(folder / "clip.mp4", seconds=16.0, width=640, height=360)
    make_song(folder / "song.wav", seconds=16.0)
    (folder / "m.csv").write_text("pair_id,clip,song\na,clip.mp4,song.wav\n")
    took = {}
    for num_actors in (1, 2):
        overrides = [f"run.num_actors={num_actors}", f"lipsync.generator={FULL_SIZE}", "plan.shard_s=1.0"]
        settings = load_settings(None, [*overrides, f"run.store={folder / f'store{num_actors}'}"])
        plan, rows = plan_run(folder / "m.csv", settings=settings, store=Store(settings.store_path))
        run = RunFolder.create(folder / f"run{num_actors}", plan, settings, manifest=rows)
        with Session(run, Counted()) as session:
            items = session.prepare(session.pending())
            warm, rest = items[: 2 * num_actors], items[4:]
            session.lipsync(warm)  # each actor loads its models
            started = time.perf_counter()
            session.lipsync(rest)
            took[num_actors] = time.perf_counter() - started
    return took[1] / took[2]


def main() -> None:
    """Measure what is asked for, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("start", "overhead", "scaling"))
    only = parser.parse_args().only
    targets = []
    for name, measure in (("start", start_s), ("overhead", overhead_s), ("scaling", scaling)):
        if only in (None, name):
            with tempfile.TemporaryDirectory() as temp:
                targets += _targets(name, measure(Path(temp)))
    report("startup" if only is None else f"startup-{only}", targets, {"cores": os.cpu_count()})


def _targets(name: str, found: float) -> list[Target]:
    if name == "start":
        name = "from the command to the first shard, warm"
        return [Target(name, found, MOST_START_S, higher_is_better=False, unit=" s")]
    if name == "scaling":
        return [Target("two actors over one, on two cores", found, LEAST_SCALING)]
    work_s = NUM_SHARDS * real_shard_s() / min(2, os.cpu_count() or 1)
    return [
        Target(f"beside the work of {NUM_SHARDS} shards", found, None, higher_is_better=False, unit=" s"),
        Target("share of wall time", found / (found + work_s), MOST_OVERHEAD, higher_is_better=False),
    ]


if __name__ == "__main__":
    main()
