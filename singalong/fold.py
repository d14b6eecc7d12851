"""The state of a run, folded from its attempts: a pure function, so that any reader comes to the same truth.

    done         some attempt has a result; nothing that failed before or after matters
    quarantined  the last failure was of class INPUT: the same input will fail again
    failed       the last failure was the last try, or the file was not the one that was planned
    pending      anything else: never tried, interrupted, or waiting for its next try

Only attempts under the work key of the current plan count. So when a manifest is edited, what its new plan
shares with the old one stays done, and the rest starts afresh. All of it is done by columns: a million attempts take
seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from singalong.attempt_files import ATTEMPT_SCHEMA, NARROW, Rows
from singalong.attempts import Part
from singalong.contracts import AttemptRow, Failure, Plan, ShardResult, StartedMark, Status
from singalong.errors import ErrorClass
from singalong.tables import from_table

__all__ = ["Attempts", "RunFold", "ShardFold", "StartedMark", "fold_attempts", "fold_parts"]

STATUSES = tuple(Status)
_PENDING, _DONE, _FAILED, _QUARANTINED = map(
    STATUSES.index, (Status.PENDING, Status.DONE, Status.FAILED, Status.QUARANTINED)
)
_BLOCK = 1024
"""Shards whose attempts become records at once."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ShardFold:
    """Where one shard stands.

    Attributes:
        num_attempts: distinct attempts that were started or recorded.
        reused: done without work: the store held the result.
        failure: the last failure of a shard that is not done.
        unfinished: attempts that started and never ended.
    """

    shard_id: str
    status: Status
    num_attempts: int
    result: ShardResult | None = None
    reused: bool = False
    failure: Failure | None = None
    unfinished: tuple[int, ...] = ()


class Attempts:
    """All attempts that ended, as columns.

    Attributes:
        narrow: what tells where shards stand, see `singalong.attempt_files.NARROW`.
        shard: (n,) number of the shard in the plan; -1 where the plan has none of that name.
    """

    def __init__(self, parts: Sequence[Part], shard_ids: Sequence[str]) -> None:
        self.parts = parts
        tables = [part.narrow for part in parts] or [_no_rows(NARROW)]
        self.narrow: pa.Table = pa.concat_tables(tables).combine_chunks()
        places = pc.index_in(self.narrow["shard_id"], value_set=pa.array(shard_ids, pa.string()))
        self.shard: Ints = _numpy(places, -1).astype(np.int64)

    def column(self, name: str, null: Any = 0) -> NDArray[Any]:
        """A column of `narrow`, with something in place of nulls."""
        return _numpy(self.narrow[name], null)

    def wide(self, columns: Sequence[str], rows: Ints) -> pa.Table:
        """Any columns of the attempts in these rows, in their order; all null where a row is -1."""
        wanted = np.unique(rows[rows >= 0])
        tables, start = [_no_rows(columns)], 0
        for part in self.parts:  # of each only what is wanted, so that retries of long runs take no room
            end = start + part.narrow.num_rows
            own = wanted[slice(*np.searchsorted(wanted, (start, end)))] - start
            if len(own):
                table = part.wide(columns)
                tables.append(table if len(own) == table.num_rows else table.take(pa.array(own)))
            start = end
        table = pa.concat_tables(tables).combine_chunks()
        if np.array_equal(wanted, rows):
            return table
        return table.take(pa.array(np.searchsorted(wanted, rows), mask=rows < 0))


@dataclass(frozen=True, eq=False)
class RunFold:
    """Where a run stands, by the number of the shard in the plan.

    Attributes:
        shard_ids: in the order of the plan.
        status: (n,) places in STATUSES.
        num_attempts: (n,) distinct attempts that were started or recorded.
        row: (n,) the row of `attempts` that decides: the first result, or else the last failure; -1: none.
        reused: (n,) whether the store held the result.
        unfinished: attempts that started and never ended.
        attempts: all that ended.
        num_stale: attempts at work that the current plan no longer asks for.
        damaged: attempt files that cannot be read in full; what is unreadable does not count.
    """

    shard_ids: Sequence[str]
    status: NDArray[np.int8]
    num_attempts: Ints
    row: Ints
    reused: NDArray[np.bool_]
    unfinished: Mapping[int, tuple[int, ...]]
    attempts: Attempts
    num_stale: int = 0
    damaged: tuple[str, ...] = ()
    _blocks: dict[int, list[AttemptRow | None]] = field(default_factory=dict)

    @cached_property
    def shards(self) -> Mapping[str, ShardFold]:
        """Each shard's state by its id, in the order of the plan; made when it is asked for."""
        return _Shards(self)

    @cached_property
    def place(self) -> Mapping[str, int]:
        """The number of each shard, by its id."""
        return {shard_id: number for number, shard_id in enumerate(self.shard_ids)}

    def status_of(self, shard_id: str) -> Status:
        """Where a shard stands, in a word."""
        return STATUSES[int(self.status[self.place[shard_id]])]

    def having(self, *statuses: Status) -> list[str]:
        """The shards with one of these statuses, in the order of the plan."""
        found = np.flatnonzero(np.isin(self.status, [STATUSES.index(status) for status in statuses]))
        return [self.shard_ids[number] for number in found.tolist()]

    def count(self, status: Status) -> int:
        """Number of shards with this status."""
        return self.counts()[status]

    def counts(self) -> dict[Status, int]:
        """Number of shards by status, every status named."""
        found = np.bincount(self.status, minlength=len(STATUSES))
        return {status: int(found[number]) for number, status in enumerate(STATUSES)}

    def failures(self) -> dict[ErrorClass, int]:
        """Number of failed and quarantined shards by the class of their last failure."""
        ended = np.isin(self.status, (_FAILED, _QUARANTINED)) & (self.row >= 0)
        classes = self.attempts.narrow["failure_error_class"].take(pa.array(self.row[ended])).to_pylist()
        return {ErrorClass(name): count for name, count in Counter(classes).items() if name is not None}

    def outcomes(self, columns: Sequence[str]) -> pa.Table:
        """Columns of the attempts that decide, a row a shard; see `row`."""
        return self.attempts.wide(columns, self.row)

    def with_results(self, shard_ids: Sequence[str], results: Mapping[str, ShardResult]) -> RunFold:
        """The fold of a plan of these shards, of which those with a result given here are done, and the others ours."""
        rows = [
            AttemptRow(
                run_id="",
                shard_id=shard_id,
                attempt=0,
                work_key=result.work_key,
                reused=True,
                result=result,
                started_at="",
                finished_at="",
            )
            for shard_id, result in results.items()
        ]
        attempts = Attempts([*self.attempts.parts, Rows(rows)], shard_ids)
        first = self.attempts.narrow.num_rows
        given = {shard_id: first + number for number, shard_id in enumerate(results)}
        ours = np.array([self.place.get(shard_id, -1) for shard_id in shard_ids], np.int64)
        row = np.array([given.get(shard_id, -1) for shard_id in shard_ids], np.int64)
        assert ((ours >= 0) | (row >= 0)).all(), "a shard of neither"
        given_here, numbers = row >= 0, {number: place for place, number in enumerate(ours.tolist()) if number >= 0}
        unfinished = {numbers[number]: own for number, own in self.unfinished.items() if number in numbers}
        return RunFold(
            shard_ids,
            np.where(given_here, _DONE, self.status[ours]).astype(np.int8),
            np.where(ours >= 0, self.num_attempts[ours], 0),
            np.where(given_here, row, self.row[ours]),
            given_here | (self.reused[ours] & (ours >= 0)),
            {number: own for number, own in unfinished.items() if not given_here[number]},
            attempts,
            self.num_stale,
            self.damaged,
        )

    def attempt(self, number: int) -> AttemptRow | None:
        """The attempt that decides where a shard stands."""
        block, place = divmod(number, _BLOCK)
        if block not in self._blocks:
            while len(self._blocks) > 3:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[block] = self._read_block(block * _BLOCK)
        return self._blocks[block][place]

    def _read_block(self, start: int) -> list[AttemptRow | None]:
        rows = self.row[start : start + _BLOCK]
        there = np.flatnonzero(rows >= 0)
        found: list[AttemptRow | None] = [None] * len(rows)
        table = self._all_columns.take(pa.array(rows[there]))
        for place, row in zip(there, from_table(AttemptRow, table), strict=True):
            found[place] = row
        return found

    @cached_property
    def _all_columns(self) -> pa.Table:
        return self.attempts.wide(ATTEMPT_SCHEMA.names, np.arange(self.attempts.narrow.num_rows))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunFold):
            return NotImplemented
        mine, theirs = (self.num_stale, self.damaged), (other.num_stale, other.damaged)
        return mine == theirs and list(self.shards.items()) == list(other.shards.items())

    __hash__ = None  # type: ignore[assignment]


class _Shards(Mapping[str, ShardFold]):
    """States by shard id."""

    def __init__(self, fold: RunFold) -> None:
        self._fold = fold

    def __len__(self) -> int:
        return len(self._fold.shard_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fold.shard_ids)

    def __getitem__(self, shard_id: str) -> ShardFold:
        fold, number = self._fold, self._fold.place[shard_id]
        row, status = fold.attempt(number), STATUSES[int(fold.status[number])]
        return ShardFold(
            shard_id=shard_id,
            status=status,
            num_attempts=int(fold.num_attempts[number]),
            result=row.result if row else None,
            reused=bool(fold.reused[number]),
            failure=row.failure if row else None,
            unfinished=fold.unfinished.get(number, ()),
        )


def fold_attempts(
    plan: Plan,
    attempts: Iterable[AttemptRow],
    started: Iterable[StartedMark] = (),
    *,
    damaged: Iterable[str] = (),
) -> RunFold:
    """Fold a plan with its attempts. Order and duplicates of `attempts` and `started` do not matter."""
    ids, keys = [shard.shard_id for shard in plan.shards], [shard.work_key for shard in plan.shards]
    return fold_parts(ids, keys, [Rows(list(attempts))], started, damaged=damaged)


def fold_parts(
    shard_ids: Sequence[str],
    work_keys: Sequence[str],
    parts: Sequence[Part],
    started: Iterable[StartedMark] = (),
    *,
    damaged: Iterable[str] = (),
) -> RunFold:
    """Fold the shards of a plan, by id and work key, with attempts that ended, by columns, and marks of starts."""
    attempts = Attempts(parts, shard_ids)
    keys = pa.array(work_keys, pa.string())
    counts = attempts.shard >= 0
    if len(keys):
        planned = keys.take(pa.array(attempts.shard.clip(0)))
        counts &= _numpy(pc.equal(planned, attempts.narrow["work_key"]), False)
    rows = _in_order(attempts, np.flatnonzero(counts))
    shard, has_result = attempts.shard[rows], attempts.column("failure_error_class", "") == ""
    status, row = np.zeros(len(shard_ids), np.int8), np.full(len(shard_ids), -1, np.int64)
    assert _PENDING == 0
    last = rows[np.flatnonzero(np.diff(shard, append=-1))]
    row[attempts.shard[last]] = last
    status[attempts.shard[last]] = _status(attempts, last)
    done, first = np.unique(shard[has_result[rows]], return_index=True)
    row[done], status[done] = rows[has_result[rows]][first], _DONE
    reused = np.zeros(len(shard_ids), np.bool_)
    reused[done] = attempts.column("reused", False)[row[done]]
    num_attempts = np.bincount(shard, minlength=len(shard_ids)).astype(np.int64)
    unfinished = _unfinished(attempts, rows, dict(zip(shard_ids, work_keys, strict=True)), list(started), shard_ids)
    for number, own in unfinished.items():
        num_attempts[number] += len(own)
    stale = attempts.narrow.select(["shard_id", "attempt"]).filter(pa.array(~counts))
    num_stale = len(set(zip(stale["shard_id"].to_pylist(), stale["attempt"].to_pylist(), strict=True)))
    return RunFold(
        shard_ids, status, num_attempts, row, reused, unfinished, attempts, num_stale, tuple(sorted(set(damaged)))
    )


def _status(attempts: Attempts, rows: Ints) -> NDArray[np.int8]:
    """The status of shards that are not done, by their last attempts."""
    is_input = attempts.column("failure_error_class", "")[rows] == ErrorClass.INPUT.value
    changed = attempts.column("failure_file_changed", False)[rows]
    final = attempts.column("final", True)[rows]
    of_input = np.where(changed, _FAILED, _QUARANTINED)
    return np.where(is_input, of_input, np.where(final, _FAILED, _PENDING)).astype(np.int8)


def _in_order(attempts: Attempts, rows: Ints) -> Ints:
    """Rows by shard, then number, each attempt once."""
    number = attempts.column("attempt")
    rows = rows[np.lexsort((number[rows], attempts.shard[rows]))]
    same = (np.diff(attempts.shard[rows]) == 0) & (np.diff(number[rows]) == 0)
    if not same.any():
        return rows
    group = np.concatenate([[0], np.cumsum(~same)])
    twice = np.flatnonzero(np.bincount(group)[group] > 1)
    best: dict[int, tuple[tuple[bool, str, str], int]] = {}
    found = from_table(AttemptRow, attempts.wide(ATTEMPT_SCHEMA.names, rows[twice]))
    for place, row in zip(twice, found, strict=True):
        best[int(group[place])] = max(
            best.get(int(group[place]), ((False, "", ""), -1)), (_weight(row), int(rows[place]))
        )
    firsts = rows[np.flatnonzero(np.diff(group, prepend=-1))]
    for number_, (_, chosen) in best.items():
        firsts[number_] = chosen
    return firsts


def _unfinished(
    attempts: Attempts, rows: Ints, keys: Mapping[str, str], started: Sequence[StartedMark], shard_ids: Sequence[str]
) -> dict[int, tuple[int, ...]]:
    """Numbers of attempts that started and never ended, by the number of the shard."""
    marks: defaultdict[str, set[int]] = defaultdict(set)
    for mark in started:
        if keys.get(mark.shard_id) == mark.work_key:
            marks[mark.shard_id].add(mark.attempt)
    if not marks:
        return {}
    numbers = {shard_id: number for number, shard_id in enumerate(shard_ids) if shard_id in marks}
    near = rows[np.isin(attempts.shard[rows], list(numbers.values()))]
    ended = set(zip(attempts.shard[near].tolist(), attempts.column("attempt")[near].tolist(), strict=True))
    found = {
        numbers[shard_id]: tuple(sorted(one for one in own if (numbers[shard_id], one) not in ended))
        for shard_id, own in marks.items()
    }
    return {number: own for number, own in found.items() if own}


def _numpy(column: pa.ChunkedArray | pa.Array, null: Any) -> NDArray[Any]:
    return np.asarray(pc.fill_null(column, null).to_numpy(zero_copy_only=False))


def _no_rows(columns: Sequence[str]) -> pa.Table:
    return pa.schema([ATTEMPT_SCHEMA.field(name).with_nullable(True) for name in columns]).empty_table()


def _weight(row: AttemptRow) -> tuple[bool, str, str]:
    """Which of two rows of one attempt counts; there are never two, but if there were, all must agree on one."""
    return row.result is not None, row.finished_at, row.model_dump_json()
