"""COMPARE: the same pairs in several runs, side by side, and what changed from the first to the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import Field

from singalong.contracts import Row, Status, Verdict
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from singalong.scoring import LEVEL_CONFIDENCE, WORST_FIRST
from tasks.report import fold_run
from tasks.standing import standing


class Change(StrEnum):
    """What became of a pair from the first run to the last, the most pressing first."""

    LOST = "lost"
    WORSE = "worse"
    NEW = "new"
    BETTER = "better"
    GONE = "gone"
    SAME = "same"


class PairState(Row):
    """A pair in one run."""

    status: Status
    verdict: Verdict | None = None
    sync_confidence: float | None = None
    sync_offset_frames: int | None = None
    generator: str | None = None
    error_class: str | None = None
    output_sha256: str | None = None


class ComparedPair(Row):
    """A pair in all runs; None where a run does not have it."""

    pair_id: str
    change: Change
    confidence_change: float | None = Field(default=None, description="from the first run to the last")
    runs: tuple[PairState | None, ...]


class RunTotals(Row):
    """One run in numbers."""

    run: str
    run_id: str
    parent_run_id: str | None
    num_pairs: int
    num_done: int
    verdicts: dict[str, int]
    mean_confidence: float | None


class Comparison(Row):
    """Runs side by side; pairs whose change is most pressing come first."""

    runs: tuple[RunTotals, ...]
    pairs: tuple[ComparedPair, ...]

    @property
    def changes(self) -> dict[str, int]:
        """Number of pairs by change."""
        found = Counter(pair.change for pair in self.pairs)
        return {change.value: found[change] for change in Change if found[change]}


def compare_runs(runs: Sequence[RunFolder]) -> Comparison:
    """Compare runs by pair id; each as it stands now, finished or not."""
    tables = [_pairs_of(run) for run in runs]
    names = dict.fromkeys(pair_id for table in tables for pair_id in table)
    pairs = [_compared(name, [table.get(name) for table in tables]) for name in names]
    order = list(Change)
    pairs.sort(key=lambda pair: (order.index(pair.change), pair.confidence_change or 0.0))
    return Comparison(
        runs=tuple(_totals(run, table) for run, table in zip(runs, tables, strict=True)), pairs=tuple(pairs)
    )


def change_between(before: PairState | None, after: PairState | None) -> Change:
    """What became of a pair: by its status, else by its verdict, else by its confidence."""
    if before is None or after is None:
        return Change.NEW if before is None else Change.GONE
    was, is_ = before.status is Status.DONE, after.status is Status.DONE
    if was != is_:
        return Change.LOST if was else Change.NEW
    if not is_:
        return Change.SAME
    step = _rank(after) - _rank(before)
    if not step and before.sync_confidence is not None and after.sync_confidence is not None:
        moved = after.sync_confidence - before.sync_confidence
        step = 0 if abs(moved) < LEVEL_CONFIDENCE else (1 if moved > 0 else -1)
    if not step:
        return Change.SAME
    return Change.BETTER if step > 0 else Change.WORSE


def _rank(state: PairState) -> int:
    return -1 if state.verdict is None else WORST_FIRST.index(state.verdict)


def _compared(name: str, states: Sequence[PairState | None]) -> ComparedPair:
    first, last = states[0], states[-1]
    confidences = [state.sync_confidence if state else None for state in (first, last)]
    moved = None if None in confidences else (confidences[1] or 0.0) - (confidences[0] or 0.0)
    return ComparedPair(pair_id=name, change=change_between(first, last), confidence_change=moved, runs=tuple(states))


def _pairs_of(run: RunFolder) -> dict[str, PairState]:
    store = store_of(run.settings)
    rows = fold_run(run, store, standing(run, store)).pairs(["pair_id", *PairState.model_fields])
    return {row.pop("pair_id"): PairState(**row) for batch in rows.to_batches() for row in batch.to_pylist()}


def _totals(run: RunFolder, table: Mapping[str, PairState]) -> RunTotals:
    confidences = [row.sync_confidence for row in table.values() if row.sync_confidence is not None]
    return RunTotals(
        run=run.location,
        run_id=run.run_id,
        parent_run_id=run.outline.head.parent_run_id,
        num_pairs=len(table),
        num_done=sum(row.status is Status.DONE for row in table.values()),
        verdicts=dict(Counter(row.verdict.value for row in table.values() if row.verdict)),
        mean_confidence=sum(confidences) / len(confidences) if confidences else None,
    )
