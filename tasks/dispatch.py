"""Drives items through a pool: one retry policy a failure class, every start journalled before it happens.

The dispatcher owns all retries. It holds no results: a `Recorder` is told of each start and each end, in order, and
writes them down, all that happened at once together, before the next items start.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from singalong.contracts import Failure
from singalong.errors import BugError, ErrorClass
from tasks.jobs import Job, LipsyncJob, LogPlace, Outcome
from tasks.pool import Pool

_POLL_S = 0.5


@dataclass(frozen=True)
class Policy:
    """How often a class of failure is tried again, how long after, and on what."""

    max_retries: int
    backoff_s: float = 0.0
    fresh_worker: bool = False
    halve_batch: bool = False


POLICIES = {
    ErrorClass.INPUT: Policy(0),
    ErrorClass.TRANSIENT_IO: Policy(3, backoff_s=1.0),
    ErrorClass.RESOURCE: Policy(2, fresh_worker=True, halve_batch=True),
    ErrorClass.INFRA: Policy(2),  # the third death is the last
    ErrorClass.TIMEOUT: Policy(1),
    ErrorClass.BUG: Policy(0),
}


FREE_NODE_LOSSES = 5
"""So many lost nodes are not held against what was being done there: nodes are preempted, and take all their work with
them. Beyond that it is a death as any other: a shard may be what brings the nodes down."""
LOOK_AHEAD = 256
"""A pool may choose among so many items that are next; order gives way no further than that."""


@dataclass(frozen=True)
class Item:
    """One thing to get done: a job under a name that is unique in the run."""

    item_id: str
    job: Job
    retries: Counter[ErrorClass] = field(default_factory=Counter)
    node_losses: int = 0


class Recorder(Protocol):
    """Is told what happens, when it happens; what it was told must be safe once `commit` returns."""

    def started(self, item: Item) -> LogPlace | None:
        """An attempt is about to start; returns where the worker is to tell of it, if anywhere."""

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """An attempt ended; `final` if it is not going to be tried again."""

    def commit(self) -> None:
        """Have all of it safe: items that were told of as about to start do so now."""


class TooManyBugsError(BugError):
    """So many unforeseen failures that going on would only make more of them."""


@dataclass
class _State:
    ready: deque[Item]
    running: dict[str, Item] = field(default_factory=dict)
    delayed: list[tuple[float, int, Item]] = field(default_factory=list)
    bugs: list[Failure] = field(default_factory=list)
    sequence: int = 0

    def delay(self, item: Item, seconds: float) -> None:
        self.sequence += 1
        heapq.heappush(self.delayed, (time.monotonic() + seconds, self.sequence, item))

    def wake(self) -> None:
        while self.delayed and self.delayed[0][0] <= time.monotonic():
            self.ready.appendleft(heapq.heappop(self.delayed)[2])

    def take(self, pool: Pool) -> Item | None:
        """The next item that the pool has a worker for."""
        place = pool.choose(item.job for item in islice(self.ready, LOOK_AHEAD)) if self.ready else None
        if place is None:
            return None
        item = self.ready[place]
        del self.ready[place]
        return item

    @property
    def busy(self) -> bool:
        return bool(self.ready or self.running or self.delayed)


def dispatch(
    items: Iterable[Item],
    pool: Pool,
    recorder: Recorder,
    *,
    timeout_s: float,
    bug_limit: int,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Run all items to their end, in order as far as slots allow; a failed item never stops the others.

    Raises TooManyBugsError after `bug_limit` failures of class BUG; items in flight are then abandoned.
    """
    state = _State(deque(items))
    try:
        while state.busy:
            state.wake()
            _start(state, pool, recorder, timeout_s)
            if not state.running and not state.ready:
                time.sleep(max(0.0, min(_POLL_S, state.delayed[0][0] - time.monotonic())))
            for item_id, outcome in pool.wait(_POLL_S):
                _settle(state, state.running.pop(item_id), outcome, pool, recorder)
                if len(state.bugs) >= bug_limit:
                    raise TooManyBugsError(
                        f"stopped after {len(state.bugs)} unforeseen failures, the last: {state.bugs[-1].message}",
                        action="Finished work is kept; report the defect, or go on with --set run.bug_limit=N.",
                    )
            on_tick()
    finally:
        recorder.commit()


def _start(state: _State, pool: Pool, recorder: Recorder, timeout_s: float) -> None:
    """Fill the free slots; what ended before is committed with the starts, in one go."""
    starting = list(iter(lambda: state.take(pool), None))
    logs = [recorder.started(item) for item in starting]
    recorder.commit()
    for item, log in zip(starting, logs, strict=True):
        job = item.job if log is None else item.job.model_copy(update={"log": log})
        pool.submit(item.item_id, job, timeout_s=timeout_s)
        state.running[item.item_id] = item


def _settle(state: _State, item: Item, outcome: Outcome, pool: Pool, recorder: Recorder) -> None:
    failure = outcome.failure
    if failure is None:
        recorder.ended(item, outcome, final=True)
        return
    if outcome.node_lost and item.node_losses < FREE_NODE_LOSSES:
        recorder.ended(item, outcome, final=False)
        state.delay(replace(item, node_losses=item.node_losses + 1), 0.0)
        return
    policy = POLICIES[failure.error_class]
    if failure.error_class is ErrorClass.BUG:
        state.bugs.append(failure)
    spent = item.retries[failure.error_class]
    final = spent >= policy.max_retries
    recorder.ended(item, outcome, final=final)
    if final:
        return
    if policy.fresh_worker:
        pool.refresh(item.item_id)
    retries = item.retries + Counter({failure.error_class: 1})
    job = _with_half_batch(item.job) if policy.halve_batch else item.job
    state.delay(replace(item, job=job, retries=retries), policy.backoff_s * 2**spent)


def _with_half_batch(job: Job) -> Job:
    if isinstance(job, LipsyncJob):
        return job.model_copy(update={"batch_size": max(1, job.batch_size // 2)})
    return job
