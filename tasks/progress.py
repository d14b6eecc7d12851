"""How far a run is: counts by state and failure class, rate and time left. Reads the run folder only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from singalong.contracts import AttemptRow, Row, Status
from singalong.runfolder import RunFolder

RATE_WINDOW_S = 600.0
"""The rate is of the last ten minutes of work: shards differ, and a run may have been paused."""


NUM_SLOWEST = 5
_STALL_FACTOR = 5.0
"""A worker is quiet when it has not ended a shard for this many times what its shards take."""


class SlowShard(Row):
    """A finished shard that took long."""

    shard_id: str
    seconds: float
    frames_per_s: float


class WorkerState(Row):
    """A worker by what it recorded: workers that died stay in the list, and are seen no more."""

    worker: str
    num_done: int
    num_failed: int
    last_seen_s: float = Field(description="seconds since it last ended a shard")
    quiet: bool = Field(description="whether that is much longer than its shards take; nobody is while none is running")


class RunProgress(Row):
    """Where a run stands at this moment."""

    run: str
    run_id: str
    holder: str | None = Field(description="who is working on it; None when nobody is")
    num_pairs: int
    num_problems: int = Field(description="manifest rows that could not be planned")
    shards: dict[str, int] = Field(description="shards by status")
    running: tuple[str, ...] = Field(description="shards started and not ended")
    failures: dict[str, int] = Field(description="failed and quarantined shards by class")
    frames_done: int
    frames_total: int
    frames_per_s: float | None = Field(description="over the last ten minutes of work; None before the first shard")
    seconds_left: float | None = Field(description="at that rate; None when it is unknown or nothing is left")
    slowest: tuple[SlowShard, ...] = Field(description="finished shards that took longest, a frame")
    workers: tuple[WorkerState, ...] = Field(description="those that recorded something, the last seen first")


def progress_of(run: RunFolder, *, now: datetime | None = None) -> RunProgress:
    """Fold a run folder into its progress; safe while a driver works on it."""
    fold, holder = run.fold(), run.holder()
    sizes = {shard.shard_id: shard.num_frames for shard in run.plan.shards}
    settled = (Status.DONE, Status.QUARANTINED)
    done = sum(sizes[name] for name, shard in fold.shards.items() if shard.status is Status.DONE)
    left = sum(sizes[name] for name, shard in fold.shards.items() if shard.status not in settled)
    now, attempts = now or datetime.now(UTC), [row for row in run.attempts() if row.shard_id in sizes]
    rate = _frames_per_s(attempts, sizes, now)
    return RunProgress(
        run=run.location,
        run_id=run.run_id,
        holder=holder,
        num_pairs=len(run.plan.pairs),
        num_problems=len(run.plan.problems),
        shards={str(status): count for status, count in fold.counts().items() if count},
        running=tuple(
            name
            for name, shard in fold.shards.items()
            if holder and shard.unfinished and shard.status is Status.PENDING
        ),
        failures={str(error_class): count for error_class, count in fold.failures().items()},
        frames_done=done,
        frames_total=sum(sizes.values()),
        frames_per_s=rate,
        seconds_left=left / rate if rate and left else None,
        slowest=tuple(_slowest(attempts, sizes)),
        workers=tuple(_workers(attempts, now, working=holder is not None)),
    )


def _slowest(attempts: Sequence[AttemptRow], sizes: dict[str, int]) -> list[SlowShard]:
    made = [row for row in attempts if row.result is not None and not row.reused]
    took = [(row.shard_id, max(_seconds(row), 1e-3)) for row in made]
    slow = [SlowShard(shard_id=name, seconds=s, frames_per_s=sizes[name] / s) for name, s in took]
    return sorted(slow, key=lambda shard: shard.frames_per_s)[:NUM_SLOWEST]


def _workers(attempts: Sequence[AttemptRow], now: datetime, *, working: bool) -> list[WorkerState]:
    rows: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    for row in attempts:
        if row.worker:
            rows[row.worker].append(row)
    found = []
    for worker, own in rows.items():
        ago_s = max(0.0, (now - max(datetime.fromisoformat(row.finished_at) for row in own)).total_seconds())
        typical_s = max(1.0, sum(map(_seconds, own)) / len(own))
        found.append(
            WorkerState(
                worker=worker,
                num_done=sum(row.result is not None for row in own),
                num_failed=sum(row.failure is not None for row in own),
                last_seen_s=ago_s,
                quiet=working and ago_s > _STALL_FACTOR * typical_s,
            )
        )
    return sorted(found, key=lambda state: state.last_seen_s)


def _seconds(row: AttemptRow) -> float:
    return (datetime.fromisoformat(row.finished_at) - datetime.fromisoformat(row.started_at)).total_seconds()


def _frames_per_s(attempts: list[AttemptRow], sizes: dict[str, int], now: datetime) -> float | None:
    """Frames made over the time it took, counted over the last shards that ended."""
    made = [row for row in attempts if row.result is not None and not row.reused]
    if not made:
        return None
    ends = [datetime.fromisoformat(row.finished_at) for row in made]
    latest = min(max(ends), now)
    recent = [
        (datetime.fromisoformat(row.started_at), sizes[row.shard_id])
        for row, end in zip(made, ends, strict=True)
        if (latest - end).total_seconds() <= RATE_WINDOW_S
    ]
    seconds = (latest - min(start for start, _ in recent)).total_seconds()
    return sum(frames for _, frames in recent) / seconds if seconds > 0 else None
