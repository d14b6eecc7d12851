"""The bridge from the dispatcher to the ledger: what starts and ends is written to the run folder as it happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from singalong.contracts import AttemptRow, Failure, ShardPlan, ShardResult
from singalong.durable import sha256_of
from singalong.errors import TransientIOError
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.attempt_log_driver import begin_log, blocked_log, end_log
from tasks.dispatch import Item
from tasks.failures import failure_of
from tasks.jobs import LipsyncJob, LogPlace, Outcome


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class ShardRecorder:
    """Journals every start and writes every end of a shard as an attempt."""

    def __init__(self, run: RunFolder, store: Store, twins: Mapping[str, Sequence[ShardPlan]]) -> None:
        """`twins`: by work key, shards that need the very same work; they share its end."""
        self._run, self._store, self._twins = run, store, twins
        self._running: dict[str, tuple[int, str]] = {}

    def started(self, item: Item) -> LogPlace | None:
        """Journal the attempt before it starts; returns the file of its log."""
        number = self._run.next_attempt(item.item_id)
        self._run.journal_started(item.item_id, number, flush=False)
        self._running[item.item_id] = (number, _now())
        return begin_log(self._run.logs, self._run.logs.of_shard(item.item_id, number), item, attempt=number)

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Write the attempt; keep the frames table of a finished shard."""
        assert isinstance(item.job, LipsyncJob)
        number, started_at = self._running.pop(item.item_id)
        if outcome.shard is not None:
            outcome = self._kept(item, outcome, outcome.shard)
        end_log(self._run.logs, self._run.logs.of_shard(item.item_id, number), outcome, final=final)
        self._run.record(
            AttemptRow(
                run_id=self._run.plan.run_id,
                shard_id=item.item_id,
                attempt=number,
                work_key=item.job.shard.work_key,
                result=outcome.shard,
                failure=outcome.failure,
                started_at=started_at,
                finished_at=_now(),
                worker=outcome.worker,
                final=final,
            ),
            flush=False,
        )
        twins = self._twins.get(item.job.shard.work_key, ()) if final else ()
        for twin in twins:
            if outcome.shard is not None:
                record_reused(self._run, self._store, twin, outcome.shard)
            elif outcome.failure is not None:
                record_blocked(self._run, [twin], outcome.failure)

    def commit(self) -> None:
        """One write for all that started and ended since the last."""
        self._run.flush_attempts()

    def _kept(self, item: Item, outcome: Outcome, result: ShardResult) -> Outcome:
        """The outcome once its frames table is in the run folder; a failure where the store lost it already."""
        try:
            keep_frames(self._run, self._store, item.item_id, result)
        except FileNotFoundError as error:
            if not self._run.path.is_dir():
                raise
            lost = TransientIOError(
                "finished, but its files vanished from the store",
                file=error.filename,
                action="Run again to make it anew.",
            )
            return outcome.model_copy(update={"shard": None, "failure": failure_of(lost)})
        return outcome


class OutcomeRecorder:
    """Keeps the final outcome of each item; for steps whose results lie in caches, not in the ledger."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def failures(self) -> dict[str, Failure]:
        """Why items came to nothing, by item."""
        return {name: outcome.failure for name, outcome in self.outcomes.items() if outcome.failure is not None}

    def started(self, item: Item) -> LogPlace | None:  # noqa: ARG002 - no ledger
        """Nothing to journal: a cache entry exists whole or not at all."""
        return None

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Keep the outcome if it is the last."""
        if final:
            self.outcomes[item.item_id] = outcome

    def commit(self) -> None:
        """Nothing waits."""


def keep_frames(run: RunFolder, store: Store, shard_id: str, result: ShardResult) -> None:
    """Have a shard's frames table in the run folder; what is there is not fetched anew. Raises FileNotFoundError."""
    kept = run.frames_path(shard_id)
    if store.fetches and kept.is_file() and sha256_of(kept) == result.frames_sha256:
        return
    with store.using():
        run.keep_frames(shard_id, store.frames_path(result))


def record_reused(run: RunFolder, store: Store, shard: ShardPlan, result: ShardResult) -> None:
    """Note that the store already held a shard's result; safe once `run.flush_attempts` returns."""
    keep_frames(run, store, shard.shard_id, result)
    _record_at_once(run, shard, result=result)


def record_blocked(run: RunFolder, shards: Iterable[ShardPlan], failure: Failure) -> None:
    """Note the failure of shards for which something could not be prepared; safe as in `record_reused`."""
    for shard in shards:
        blocked_log(run.logs, run.logs.of_shard(shard.shard_id, run.next_attempt(shard.shard_id)), failure)
        _record_at_once(run, shard, failure=failure)


def _record_at_once(
    run: RunFolder, shard: ShardPlan, *, result: ShardResult | None = None, failure: Failure | None = None
) -> None:
    now = _now()
    run.record(
        AttemptRow(
            run_id=run.plan.run_id,
            shard_id=shard.shard_id,
            attempt=run.next_attempt(shard.shard_id),
            work_key=shard.work_key,
            reused=result is not None,
            result=result,
            failure=failure,
            started_at=now,
            finished_at=now,
        ),
        flush=False,
    )
