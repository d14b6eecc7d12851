"""The report: plan, attempts and films folded into tables, by columns and in parts. What must be read is handed in.

A verdict is of the scores only: an output that is badly in sync is still done, and its verdict says fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from singalong.contracts import Row, RowProblem, Status, Verdict
from singalong.fold import Ints, RunFold
from singalong.plan_table import PAIR_ORDER, plan_head
from singalong.report_columns import (
    OUTCOME_COLUMNS,
    PLAN_COLUMNS,
    Batch,
    Columns,
    Film,
    Judge,
    Media,
    Merge,
    People,
    pair_columns,
    run_columns,
    shard_columns,
)
from singalong.report_montages import PAIR_COLUMNS, montage_rows
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow, report_schema, table_of
from singalong.reviews import Decision
from singalong.scoring import Scored
from singalong.tables import to_table

__all__ = ["Film", "Judge", "Media", "Merge", "Report", "judge_without_thresholds"]

PART_ROWS = 1 << 15
"""Shards, at least, that become rows at once, and a row group of the files."""
NEEDED_OF_PLAN = (*PLAN_COLUMNS, PAIR_ORDER)
"""Columns of the plan's table that a report is made from."""


def judge_without_thresholds(score: Scored) -> Verdict:
    """The verdict where the scorer's card has no thresholds: a person must look at whatever has a score."""
    return Verdict.NOT_SCORABLE if score.confidence is None else Verdict.REVIEW


class Report:
    """The report of a run. Nothing of it is held: its parts are made as they are asked for, the rows in manifest order.

    Attributes:
        head: the plan without its pairs and shards.
        tags: names of the manifest's own columns, sorted.
    """

    def __init__(
        self,
        plan: pa.Table,
        fold: RunFold,
        *,
        merge: Merge,
        judge: Judge = judge_without_thresholds,
        media: Callable[[Ints], Media] = lambda _: Media({}, {}),
        takes: Mapping[str, Mapping[str, object]] | None = None,
        decisions: Mapping[str, Decision] | None = None,
    ) -> None:
        """Prepare the report.

        Args:
            plan: table of the plan, of which NEEDED_OF_PLAN will do.
            fold: where its shards stand.
            merge: scores a pair from the frames tables of its shards; not asked for pairs of one shard.
            judge: gives the verdicts.
            media: what there is of the pairs with these shards, by their numbers in the plan; a pair without a film is
                not done.
            takes: of pairs that were made more than once what `PairReportRow` says of takes, by pair id.
            decisions: of people, by pair id; one about a film that has been replaced since does not count.
        """
        self.head = plan_head(plan)
        self._plan = plan.select(list(NEEDED_OF_PLAN)).unify_dictionaries().combine_chunks()
        self._fold, self._merge, self._judge, self._media = fold, merge, judge, media
        self._people = People(takes or {}, decisions or {})
        self._problems = to_table(RowProblem, self.head.problems)
        self.tags = sorted(_tag_names(self._plan) | _tag_names(self._problems))

    def parts(self) -> Iterator[Part]:
        """The report in parts, each of some pairs."""
        order, firsts = self._order
        counts = np.diff(firsts, append=len(order))
        numbers = np.append(np.arange(len(self._problems)), np.arange(len(firsts)))
        is_pair = np.repeat([False, True], [len(self._problems), len(firsts)])
        rows = np.append(self._problems["row"].to_numpy(), self._plan["row"].to_numpy()[order[firsts]])
        items = np.argsort(rows, kind="stable")
        weights = np.cumsum(np.append(np.ones(len(self._problems), np.int64), counts)[items])
        ends = np.searchsorted(weights, np.arange(PART_ROWS, weights[-1], PART_ROWS) if len(weights) else [])
        for own in np.split(items, np.unique(ends)):
            if not len(own):
                continue
            pairs, problems = numbers[own[is_pair[own]]], numbers[own[~is_pair[own]]]
            starts = np.cumsum(np.append(0, counts[pairs]))[:-1]
            shards = order[np.repeat(firsts[pairs] - starts, counts[pairs]) + np.arange(counts[pairs].sum())]
            yield Part(self, shards, starts, problems)

    def pairs(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of pairs.parquet, or some of their columns."""
        return _whole((part.pairs for part in self.parts()), self.schema(PairReportRow), columns)

    def shards(self) -> pa.Table:
        """All rows of report.parquet."""
        return _whole((part.shards for part in self.parts()), self.schema(ReportRow), None)

    def montages(self, films: Mapping[str, Film], pairs: pa.Table | None = None) -> list[MontageReportRow]:
        """The rows of montages.parquet. `films`: by name. `pairs`: PAIR_COLUMNS of all pairs, if they are at hand."""
        return montage_rows(self.head, self.pairs(PAIR_COLUMNS) if pairs is None else pairs, films)

    def schema(self, model: type[Row]) -> pa.Schema:
        """The schema of a table of these rows."""
        return report_schema(model, self.tags)

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """The shards' numbers by row, pair and first frame, and where in them each pair begins."""
        start, pair, row = (self._plan[name].to_numpy() for name in ("start_frame", PAIR_ORDER, "row"))
        order = np.lexsort((start, pair, row))
        return order, np.flatnonzero(np.diff(pair[order], prepend=-1))

    @cached_property
    def _outcomes(self) -> pa.Table:
        return self._fold.outcomes(OUTCOME_COLUMNS)


@dataclass(frozen=True, eq=False)
class Part:
    """Some pairs of a report, with all of their shards, and rows that could not be planned."""

    report: Report
    _shards: Ints
    _firsts: Ints
    _problems: Ints

    @property
    def shards(self) -> pa.Table:
        """Rows of report.parquet."""
        return self._table(ReportRow, self._shard_columns, self._shards, {})

    @cached_property
    def pairs(self) -> pa.Table:
        """Rows of pairs.parquet."""
        report, columns = self.report, dict[str, object]()
        if len(self._shards):
            columns = pair_columns(
                *(self._batch, self._shard_columns, report.head),
                judge=report._judge,
                merge=report._merge,
                people=report._people,
            )
        pair_ids = self._of_problems["pair_id"].to_pylist()
        said = report._people.columns(pair_ids, [None] * len(pair_ids), planned=False)
        return self._table(PairReportRow, columns, self._shards[self._firsts], said)

    def _table(self, model: type[Row], columns: Columns, shards: Ints, of_problems: Columns) -> pa.Table:
        """Rows that were planned and rows that could not be, in the order of the manifest."""
        report, problems = self.report, self._of_problems
        plan = report._plan["row"].to_numpy()[shards]
        tags = _tags(report._plan["tags"].take(pa.array(shards)), report.tags)
        planned = table_of(model, columns, num_rows=len(shards), tags=tags) if len(shards) else None
        if not len(self._problems):
            assert planned is not None
            return planned
        names = [name for name in problems.column_names if name not in ("place", "tags")]
        facts: Columns = {name: problems[name].combine_chunks() for name in names}
        facts |= run_columns(report.head) | {"status": Status.QUARANTINED} | of_problems
        tags = _tags(problems["tags"], report.tags)
        unplanned = table_of(model, facts, num_rows=len(self._problems), tags=tags)
        if planned is None:
            return unplanned
        order = np.argsort(np.append(problems["row"].to_numpy(), plan), kind="stable")
        return pa.concat_tables([unplanned, planned]).combine_chunks().take(pa.array(order))

    @cached_property
    def _of_problems(self) -> pa.Table:
        return self.report._problems.take(pa.array(self._problems))

    @cached_property
    def _shard_columns(self) -> Columns:
        return shard_columns(self._batch, self.report.head, self.report._judge) if len(self._shards) else {}

    @cached_property
    def _batch(self) -> Batch:
        report, fold, numbers = self.report, self.report._fold, self._shards
        return Batch(
            report._plan.take(pa.array(numbers)),
            report._outcomes.take(pa.array(numbers)),
            fold.status[numbers],
            fold.num_attempts[numbers],
            self._firsts,
            report._media(numbers),
        )


def _tags(tags: pa.ChunkedArray, names: Sequence[str]) -> dict[str, pa.Array | None]:
    whole = tags.combine_chunks()
    return {name: pc.map_lookup(whole, name, "first") for name in names}


def _tag_names(table: pa.Table) -> set[str]:
    return {name for chunk in table["tags"].iterchunks() for name in chunk.keys.unique().to_pylist()}


def _whole(tables: Iterator[pa.Table], schema: pa.Schema, columns: Sequence[str] | None) -> pa.Table:
    names = schema.names if columns is None else list(columns)
    return pa.concat_tables([schema.empty_table().select(names), *(table.select(names) for table in tables)])
