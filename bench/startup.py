"""What a run costs beside its work: the start, Prefect, Ray and the ledger, and how well two actors share two cores.

    python -m bench.startup                     all three, some minutes; wants a quiet machine with two cores
    python -m bench.startup --only start

start: from the command to the first shard's beginning, everything in memory and all caches warm. overhead: two hundred
small shards through Prefect, Ray and the ledger, from the first one's start to the last one's end: what their workers
did not take is time in which workers wait for the driver. To it comes what Prefect's and Ray's processes take of a core
while they wait (actors without their main threads, which are at work then), for as long as two hundred real shards of
5 s last, whose cost is that of the last `bench.throughput`. The start is not counted again. scaling: shards of one pair
by one actor and by two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import cv2

from bench.inputs import make_clip, make_song
from bench.pipeline import FULL_SIZE, SMALL, Counted
from bench.targets import RESULTS, Target, report
from flows.own_server import own_server
from singalong.config import load_settings
from singalong.contracts import ModelRef
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.jobs import WorkerSpec
from tasks.plan_run import plan_run
from tasks.session import Session, open_pool

MOST_START_S, MOST_OVERHEAD, LEAST_SCALING = 12.0, 0.03, 1.85
NUM_SHARDS, SHARD_S = 200, 5.0
_SETTLE_S, _WAIT_S = 5.0, 30.0
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
    """Seconds between the first start and the last end of 200 shards in which an actor did not work.

    Loading of models, opening of files and commits count as not working.
    """
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
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    attempts = RunFolder.open(folder / "run").attempts()
    assert len(attempts) == NUM_SHARDS, len(attempts)
    worked_s = sum(sum(attempt.result.seconds.values()) for attempt in attempts if attempt.result is not None)
    starts = [datetime.fromisoformat(attempt.started_at) for attempt in attempts]
    ends = [datetime.fromisoformat(attempt.finished_at) for attempt in attempts]
    return max(0.0, (max(ends) - min(starts)).total_seconds() - worked_s / _num_actors())


def waiting_share(folder: Path) -> float:
    """Share of one core that Prefect, Ray and two idle actors take together while they wait."""
    os.environ["PREFECT_HOME"] = str(folder)
    server = own_server()
    settings = load_settings(None, [f"run.num_actors={_num_actors()}"])
    detector = ModelRef(name="none", architecture="none", weights_sha256="0" * 64)
    pool = open_pool(WorkerSpec(settings=settings, store=str(folder / "store"), detector=detector, scorer=None))
    try:
        server.wait()
        while pool.free_slots() < _num_actors():
            pool.wait(0.2)
        time.sleep(_SETTLE_S)  # what is started late, is started
        before, begun = _computed_s(), time.monotonic()
        while time.monotonic() - begun < _WAIT_S:
            pool.wait(0.5)  # as a run's driver does
        return (_computed_s() - before) / (time.monotonic() - begun)
    finally:
        pool.close()
        server.stop()


def _computed_s() -> float:
    """Processor time of this process and all below it that live, seconds; of actors without their main threads.

    There an actor's work is done. While it waits, Ray looks for signals in it two hundred times a second, which no
    actor at work does: it would be counted though no run pays it.
    """
    stats = {int(path.parent.name): found for path in Path("/proc").glob("[0-9]*/stat") if (found := _ticks(path))}
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in stats.items() if parent in ours} - ours:
        ours |= more
    idle = (_ticks(Path(f"/proc/{pid}/task/{pid}/stat")) for pid in ours if _is_actor(pid))
    ticks = sum(stats[pid][1] for pid in ours) - sum(found[1] for found in idle if found)
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(stat: Path) -> tuple[int, int] | None:
    """The parent of a process or thread, and its processor time; None where it has ended."""
    with contextlib.suppress(OSError):
        fields = stat.read_text().rpartition(")")[2].split()
        return int(fields[1]), int(fields[11]) + int(fields[12])
    return None


def _is_actor(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::WorkerActor")
    return False


def _num_actors() -> int:
    return min(2, os.cpu_count() or 1)


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
    work_s = NUM_SHARDS * real_shard_s() / _num_actors()
    with tempfile.TemporaryDirectory() as temp:
        waiting = waiting_share(Path(temp)) / (os.cpu_count() or 1)
    share = (found + waiting * work_s) / (found + work_s)
    return [
        Target(f"between {NUM_SHARDS} shards", found, None, higher_is_better=False, unit=" s"),
        Target("of all cores by what waits", waiting, None, higher_is_better=False),
        Target("share of wall time", share, MOST_OVERHEAD, higher_is_better=False),
    ]


if __name__ == "__main__":
    main()
