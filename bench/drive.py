"""What a shard costs the driver: real journal, real Ray actors, and jobs that do nothing.

    python -m bench.drive --shards 100000 [--actors 2] [--out bench/results/drive.json]

The actors answer at once with a result whose (empty) files they put into the store, so all time that passes is the
driver's, Ray's, or that of the actors putting these files there. A line a thousand shards: what is flat does not grow
from the first to the last. A machine's own speed differs by half within minutes, so after every hundredth shard the
same piece of work is done and timed, one batch of the journal written where nothing else lies: `units` is a shard's
cost in such pieces.
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
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.scale import clip_of, plan_of, result_of, write_manifest
from flows.order import in_waves
from singalong.attempt_files import encode_batch
from singalong.config import Settings, load_settings
from singalong.contracts import Plan, StartedMark
from singalong.durable import write_atomic
from singalong.manifest import read_manifest
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.actors.worker import WorkerActor
from tasks.dispatch import Item
from tasks.jobs import Job, LipsyncJob, Outcome, WorkerSpec
from tasks.session import Session

STEP, YARD = 1000, 100


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


class Yardstick:
    """The same piece of work again and again, as of a driver: models to JSON, a file made safe on the disk."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.cpu_s = self.wall_s = 0.0
        self._path = folder / "yardstick"
        self._marks = [
            StartedMark(shard_id=shard.shard_id, attempt=1, work_key=shard.work_key, started_at="")
            for shard in plan.shards[:20]
        ]

    def lay(self) -> None:
        """Do it once."""
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(4):
            write_atomic(self._path, encode_batch(self._marks))
        self.cpu_s += time.process_time() - cpu
        self.wall_s += time.perf_counter() - wall


class Marks:
    """Notes CPU and wall time at every thousandth shard that ended."""

    def __init__(self, yardstick: Yardstick) -> None:
        self.times: list[tuple[float, float, float, float]] = []
        self._count, self._yardstick = 0, yardstick

    def begin(self, stage: str, total: int) -> None:
        """A wave begins."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:  # noqa: ARG002 - as it is called
        """A shard ended."""
        assert outcome.ok, outcome.failure
        self._count += 1
        if self._count % YARD == 0:
            self._yardstick.lay()
        if self._count % STEP == 0:
            self.mark()

    def mark(self) -> None:
        """A thousand begin."""
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        yard = self._yardstick
        cpu, wall = time.process_time() - yard.cpu_s, time.perf_counter() - yard.wall_s
        self.times.append((cpu, wall, yard.cpu_s, resident))

    def steps(self) -> list[dict[str, float]]:
        """Milliseconds a shard in each thousand, the same by the yardstick, and MB in use at its end."""
        steps = []
        for (cpu_0, wall_0, yard_0, _), (cpu, wall, yard, resident) in pairwise(self.times):
            cpu_ms, wall_ms = (cpu - cpu_0) / STEP * 1e3, (wall - wall_0) / STEP * 1e3
            unit_ms = (yard - yard_0) / (STEP / YARD) * 1e3
            units = {"unit_ms": unit_ms, "units": cpu_ms / unit_ms}
            steps.append({"cpu_ms": cpu_ms, "wall_ms": wall_ms, **units, "rss_mb": resident})
        return steps


def drive(folder: Path, num_shards: int, num_actors: int) -> dict[str, Any]:
    """Drive so many shards through the pool that the settings ask for, in waves as a run does."""
    settings = load_settings(None, [f"run.store={folder / 'store'}", f"run.num_actors={num_actors}"])
    rows = read_manifest(write_manifest(folder, num_shards))
    plan = plan_of(rows)
    run = RunFolder.create(folder / "run", plan, settings, manifest=rows)
    marks = Marks(Yardstick(folder, plan))
    with ExitStack() as stack:
        for module in _holders_of_the_actor():
            stack.enter_context(patch.object(module, "WorkerActor", IdleActor))
        session = stack.enter_context(Session(run, marks))
        assert session.pool.free_slots() >= 0
        items = _items(plan, settings)
        marks.mark()
        for wave in in_waves(items):
            session.lipsync(wave)
    steps = marks.steps()
    segments = list((run.path / "attempts" / "segments").iterdir())
    return {
        "num_shards": num_shards,
        "num_actors": num_actors,
        "first_thousand": steps[0],
        "last_thousand": steps[-1],
        "mean": _mean(steps),
        "tenths": [_mean(part) for part in _tenths(steps)],
        "growth": _growth([step["units"] for step in steps]),
        "every_thousand": steps,
        "num_segments": len(segments),
        "segment_bytes": sum(path.stat().st_size for path in segments),
        "done": {status.value: count for status, count in run.fold().counts().items()},
    }


def _tenths(steps: Sequence[dict[str, float]]) -> list[Sequence[dict[str, float]]]:
    return [steps[len(steps) * part // 10 : len(steps) * (part + 1) // 10] for part in range(10)]


def _mean(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]} if steps else {}


def _growth(units: Sequence[float]) -> dict[str, float] | None:
    """How much of its mean cost a shard costs more at the end than at the beginning, by a straight line through all."""
    if len(units) < 10:
        return None
    (slope, _), errors = np.polyfit(range(len(units)), units, 1, cov=True)
    share = len(units) / float(np.mean(units))
    return {"of_mean": float(slope) * share, "standard_error": float(errors[0, 0]) ** 0.5 * share}


def _holders_of_the_actor() -> list[ModuleType]:
    """The modules that launch actors."""
    from tasks.actors import RayPool

    package = RayPool.__module__.rpartition(".")[0]
    return [
        module for name, module in sys.modules.items() if name.startswith(package) and hasattr(module, "WorkerActor")
    ]


def _items(plan: Plan, settings: Settings) -> list[Item]:
    clip = clip_of("clip")
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
