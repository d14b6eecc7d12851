"""How far a run is: counts by state and failure class, rate and time left. Reads the run folder only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from singalong.contracts import Row, Status
from singalong.fold import STATUSES, Ints, RunFold
from singalong.runfolder import RunFolder

RATE_WINDOW_S = 600.0
"""The rate is of the last ten minutes of work: shards differ, and a run may have been paused."""


NUM_SLOWEST = 5
_STALL_FACTOR = 5.0
"""A worker is quiet when it has not ended a shard for this many times what its shards take."""


_SETTLED = (Status.DONE, Status.QUARANTINED)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
    """Fold a run folder into its progress; safe while a driver works on it. By columns: see `singalong.fold`."""
    fold, holder, sizes = run.fold(), run.holder(), run.outline.num_frames
    done = int(sizes[fold.status == STATUSES.index(Status.DONE)].sum())
    left = int(sizes[~np.isin(fold.status, [STATUSES.index(status) for status in _SETTLED])].sum())
    now, tries = now or datetime.now(UTC), _Tries.of(fold, sizes)
    rate = _frames_per_s(tries, now)
    return RunProgress(
        run=run.location,
        run_id=run.run_id,
        holder=holder,
        num_pairs=run.outline.num_pairs,
        num_problems=len(run.outline.head.problems),
        shards={str(status): count for status, count in fold.counts().items() if count},
        running=tuple(
            fold.shard_ids[number]
            for number in sorted(fold.unfinished)
            if holder and fold.status[number] == STATUSES.index(Status.PENDING)
        ),
        failures={str(error_class): count for error_class, count in fold.failures().items()},
        frames_done=done,
        frames_total=int(sizes.sum()),
        frames_per_s=rate,
        seconds_left=left / rate if rate and left else None,
        slowest=tuple(_slowest(tries, fold.shard_ids)),
        workers=tuple(_workers(tries, now, working=holder is not None)),
    )


@dataclass(frozen=True)
class _Tries:
    """Attempts that ended at shards of the plan, as columns.

    Attributes:
        shard: number in the plan.
        frames: of the shard.
        started_s, ended_s: since 1970.
        made: whether it made the shard's result.
        failed: whether it failed.
        worker: place in `workers`.
        workers: their names; the empty one is the driver's.
    """

    shard: Ints
    frames: Ints
    started_s: Floats
    ended_s: Floats
    made: Flags
    failed: Flags
    worker: Ints
    workers: list[str]

    @classmethod
    def of(cls, fold: RunFold, sizes: Ints) -> _Tries:
        attempts = fold.attempts
        there = np.flatnonzero(attempts.shard >= 0)
        shard, rows = attempts.shard[there], attempts.narrow.take(pa.array(there))
        failed = rows["failure_error_class"].is_valid().to_numpy()
        reused = rows["reused"].fill_null(False).to_numpy()
        names = rows["worker"].fill_null("").combine_chunks().dictionary_encode()
        return cls(
            shard,
            sizes[shard],
            _seconds(rows["started_at"]),
            _seconds(rows["finished_at"]),
            ~failed & ~reused,
            failed,
            names.indices.to_numpy().astype(np.int64),
            names.dictionary.to_pylist(),
        )


def _seconds(times: pa.ChunkedArray) -> Floats:
    """ISO 8601 times as seconds since 1970."""
    stamps = times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return np.asarray(stamps / 1e6, np.float64)


def _slowest(tries: _Tries, shard_ids: Sequence[str]) -> list[SlowShard]:
    made = np.flatnonzero(tries.made)
    seconds = np.maximum((tries.ended_s - tries.started_s)[made], 1e-3)
    rate = tries.frames[made] / seconds
    return [
        SlowShard(
            shard_id=shard_ids[int(tries.shard[made[place]])],
            seconds=float(seconds[place]),
            frames_per_s=float(rate[place]),
        )
        for place in np.argsort(rate, kind="stable")[:NUM_SLOWEST]
    ]


def _workers(tries: _Tries, now: datetime, *, working: bool) -> list[WorkerState]:
    count = len(tries.workers)
    failed = np.bincount(tries.worker[tries.failed], minlength=count)
    ended = np.bincount(tries.worker, minlength=count)
    took_s = np.bincount(tries.worker, weights=tries.ended_s - tries.started_s, minlength=count)
    last_s = np.full(count, -np.inf)
    np.maximum.at(last_s, tries.worker, tries.ended_s)
    found = []
    for number, worker in enumerate(tries.workers):
        if not worker:
            continue
        ago_s = max(0.0, now.timestamp() - float(last_s[number]))
        typical_s = max(1.0, float(took_s[number] / ended[number]))
        found.append(
            WorkerState(
                worker=worker,
                num_done=int(ended[number] - failed[number]),
                num_failed=int(failed[number]),
                last_seen_s=ago_s,
                quiet=working and ago_s > _STALL_FACTOR * typical_s,
            )
        )
    return sorted(found, key=lambda state: state.last_seen_s)


def _frames_per_s(tries: _Tries, now: datetime) -> float | None:
    """Frames made over the time it took, counted over the last shards that ended."""
    if not tries.made.any():
        return None
    latest_s = min(float(tries.ended_s[tries.made].max()), now.timestamp())
    recent = tries.made & (latest_s - tries.ended_s <= RATE_WINDOW_S)
    if not recent.any():
        return None
    seconds = latest_s - float(tries.started_s[recent].min())
    return float(tries.frames[recent].sum() / seconds) if seconds > 0 else None
