"""What a shard costs the driver: real journal, real Ray actors, and jobs that do nothing.

    python -m bench.drive --shards 100000 [--actors 2] [--out bench/results/drive.json]

The actors answer at once with a result whose (empty) files they put into the store, so all time that passes is the
driver's, Ray's, or that of the actors putting these files there. A line a thousand shards: what is flat does not grow
from the first to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from bench.scale import plan_of, result_of, write_manifest
from flows.order import in_waves
from singalong.config import Settings, load_settings
from singalong.contracts import ClipFacts, Plan
from singalong.durable import write_atomic
from singalong.manifest import read_manifest
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.actors.worker import WorkerActor
from tasks.dispatch import Item
from tasks.jobs import Job, LipsyncJob, Outcome, WorkerSpec
from tasks.session import Session

STEP = 1000


class IdleWorker:
    """Answers every job at once, as if it had been done."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._store = Store(Path(spec.store))
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, job: Job) -> Outcome:
        """Put empty files where a shard's would be."""
        assert isinstance(job, LipsyncJob)
        result = result_of(job.shard, job.shard.index + job.pair.row)
        frames = self._store.frames_path(result)
        frames.parent.mkdir(parents=True, exist_ok=True)
        frames.touch()
        return Outcome(shard=result, worker=self._name)


class IdleActor(WorkerActor):
    """An actor with an idle worker."""

    def __init__(self, spec: WorkerSpec, files: Sequence[str] = ()) -> None:
        self._worker: Any = IdleWorker(spec)
        self._files = tuple(files)


class Marks:
    """Notes CPU and wall time at every thousandth shard that ended."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float, float]] = []
        self._count = 0
        self._mark()

    def begin(self, stage: str, total: int) -> None:
        """A wave begins."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:  # noqa: ARG002 - as it is called
        """A shard ended."""
        assert outcome.ok, outcome.failure
        self._count += 1
        if self._count % STEP == 0:
            self._mark()

    def _mark(self) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        self.times.append((time.process_time(), time.perf_counter(), resident))

    def steps(self) -> list[dict[str, float]]:
        """Milliseconds a shard in each thousand, and MB in use at its end."""
        return [
            {"cpu_ms": (cpu - cpu_0) / STEP * 1e3, "wall_ms": (wall - wall_0) / STEP * 1e3, "rss_mb": resident}
            for (cpu_0, wall_0, _), (cpu, wall, resident) in zip(self.times, self.times[1:], strict=False)
        ]


def drive(folder: Path, num_shards: int, num_actors: int) -> dict[str, Any]:
    """Drive so many shards through the pool that the settings ask for, in waves as a run does."""
    settings = load_settings(None, [f"run.store={folder / 'store'}", f"run.num_actors={num_actors}"])
    rows = read_manifest(write_manifest(folder, num_shards))
    plan = plan_of(rows)
    run, marks = RunFolder.create(folder / "run", plan, settings, manifest=rows), Marks()
    with ExitStack() as stack:
        for module in _holders_of_the_actor():
            stack.enter_context(patch.object(module, "WorkerActor", IdleActor))
        session = stack.enter_context(Session(run, marks))
        assert session.pool.free_slots() >= 0
        items = _items(plan, settings)
        marks.times.clear()
        marks._mark()
        for wave in in_waves(items):
            session.lipsync(wave)
    steps = marks.steps()
    segments = list((run.path / "attempts" / "segments").iterdir())
    return {
        "num_shards": num_shards,
        "num_actors": num_actors,
        "first_thousand": steps[0],
        "last_thousand": steps[-1],
        "mean_cpu_ms": sum(step["cpu_ms"] for step in steps) / len(steps),
        "mean_wall_ms": sum(step["wall_ms"] for step in steps) / len(steps),
        "every_thousand": steps,
        "num_segments": len(segments),
        "segment_bytes": sum(path.stat().st_size for path in segments),
        "done": {status.value: count for status, count in run.fold().counts().items()},
    }


def _holders_of_the_actor() -> list[ModuleType]:
    """The modules that launch actors."""
    from tasks.actors import RayPool

    package = RayPool.__module__.rpartition(".")[0]
    return [
        module for name, module in sys.modules.items() if name.startswith(package) and hasattr(module, "WorkerActor")
    ]


def _items(plan: Plan, settings: Settings) -> list[Item]:
    clip = ClipFacts(
        **{"path": "clip", "sha256": "0" * 64, "num_bytes": 1, "is_still": False, "width": 1280, "height": 720},
        **{"rotation_deg": 0, "fps": 25, "num_frames": 500, "first_frame_s": 0.0, "duration_s": 20.0},
        **{"is_vfr": False, "codec": "h264", "pix_fmt": "yuv420p", "has_audio": True},
    )
    pairs = {pair.pair_id: pair for pair in plan.pairs}
    return [
        Item(
            shard.shard_id,
            LipsyncJob(
                pair=pairs[shard.pair_id],
                shard=shard,
                clip=clip,
                analysis="/store/cache/analysis/x",
                song="/store/cache/songs/x",
                batch_size=settings.run.batch_size,
            ),
        )
        for shard in plan.shards
    ]


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    folder = options.work or Path(tempfile.mkdtemp(prefix="drive-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        results = drive(folder, options.shards, options.actors)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({name: value for name, value in results.items() if name != "every_thousand"}, indent=1))
    if options.out is not None:
        write_atomic(options.out, json.dumps(results, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
