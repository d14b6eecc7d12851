"""The state of a run, folded from its attempts: a pure function, so that any reader comes to the same truth.

    done         some attempt has a result; nothing that failed before or after matters
    quarantined  the last failure was of class INPUT: the same input will fail again
    failed       the last failure was the last try, or the file was not the one that was planned
    pending      anything else: never tried, interrupted, or waiting for its next try

Only attempts under the work key of the current plan count. So when a manifest is edited, what its new plan
shares with the old one stays done, and the rest starts afresh.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from pydantic import Field

from singalong.contracts import AttemptRow, Failure, Plan, Row, ShardPlan, ShardResult, Status
from singalong.errors import ErrorClass


class StartedMark(Row):
    """That an attempt was about to start; written before it, so that a shard that kills its worker is
    known.
    """

    shard_id: str
    attempt: int
    work_key: str
    started_at: str
    worker: str = ""


class ShardFold(Row):
    """Where one shard stands."""

    shard_id: str
    status: Status
    num_attempts: int = Field(description="distinct attempts that were started or recorded")
    result: ShardResult | None = None
    reused: bool = Field(default=False, description="done without work: the store held the result")
    failure: Failure | None = Field(default=None, description="the last failure of a shard that is not done")
    unfinished: tuple[int, ...] = Field(default=(), description="attempts that started and never ended")


class RunFold(Row):
    """Where a run stands."""

    shards: dict[str, ShardFold] = Field(description="by shard id, in the order of the plan")
    num_stale: int = Field(default=0, description="attempts at work that the current plan no longer asks for")
    damaged: tuple[str, ...] = Field(default=(), description="attempt files that cannot be read; they do not count")

    def count(self, status: Status) -> int:
        """Number of shards with this status."""
        return sum(shard.status is status for shard in self.shards.values())

    def counts(self) -> dict[Status, int]:
        """Number of shards by status, every status named."""
        found = Counter(shard.status for shard in self.shards.values())
        return {status: found[status] for status in Status}

    def failures(self) -> dict[ErrorClass, int]:
        """Number of failed and quarantined shards by the class of their last failure."""
        ended = (shard for shard in self.shards.values() if shard.status in (Status.FAILED, Status.QUARANTINED))
        return dict(Counter(shard.failure.error_class for shard in ended if shard.failure is not None))


def fold_attempts(
    plan: Plan,
    attempts: Iterable[AttemptRow],
    started: Iterable[StartedMark] = (),
    *,
    damaged: Iterable[str] = (),
) -> RunFold:
    """Fold a plan with its attempts. Order and duplicates of `attempts` and `started` do not matter."""
    keys = {shard.shard_id: shard.work_key for shard in plan.shards}
    rows: defaultdict[str, dict[int, AttemptRow]] = defaultdict(dict)
    marks: defaultdict[str, set[int]] = defaultdict(set)
    stale: set[tuple[str, int]] = set()
    for row in attempts:
        if keys.get(row.shard_id) != row.work_key:
            stale.add((row.shard_id, row.attempt))
        else:
            other = rows[row.shard_id].get(row.attempt)
            rows[row.shard_id][row.attempt] = row if other is None else max(row, other, key=_weight)
    for mark in started:
        if keys.get(mark.shard_id) == mark.work_key:
            marks[mark.shard_id].add(mark.attempt)
    shards = {shard.shard_id: _fold_shard(shard, rows[shard.shard_id], marks[shard.shard_id]) for shard in plan.shards}
    return RunFold(shards=shards, num_stale=len(stale), damaged=tuple(sorted(set(damaged))))


def _fold_shard(shard: ShardPlan, rows: dict[int, AttemptRow], marks: set[int]) -> ShardFold:
    in_order = [rows[number] for number in sorted(rows)]
    done = next((row for row in in_order if row.result is not None), None)
    last = in_order[-1] if in_order and done is None else None
    return ShardFold(
        shard_id=shard.shard_id,
        status=Status.DONE if done else _status(last),
        num_attempts=len(rows.keys() | marks),
        result=done.result if done else None,
        reused=done.reused if done else False,
        failure=last.failure if last else None,
        unfinished=tuple(sorted(marks - rows.keys())),
    )


def _status(last: AttemptRow | None) -> Status:
    if last is None or last.failure is None:
        return Status.PENDING
    if last.failure.error_class is ErrorClass.INPUT:
        return Status.FAILED if last.failure.file_changed else Status.QUARANTINED
    return Status.FAILED if last.final else Status.PENDING


def _weight(row: AttemptRow) -> tuple[bool, str, str]:
    """Which of two rows of one attempt counts; there are never two, but if there were, all must agree on
    one.
    """
    return row.result is not None, row.finished_at, row.model_dump_json()
