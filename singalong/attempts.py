"""The attempts of a run: what started and what ended, written as it happens, a flush for each batch.

    attempts/journal/<n>.jsonl           the last batches
    attempts/segments/<from>-<to>-....   those before, folded into Parquet
    attempts/damaged/                    batches of which some could not be read when they were folded
    attempts/<shard>/                    of a run that version 1 began: see `singalong.attempts_v1`

A segment stands, whole and safe, before the batches in it are deleted, and its name says which they are. So whoever
looks first at the journal and then at the segments sees every batch once, whatever is folded meanwhile. Files never
change; one driver at a time writes.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from singalong.attempt_files import (
    ATTEMPT_SCHEMA,
    Batch,
    Event,
    Rows,
    Segment,
    SegmentName,
    batch_file,
    batch_number,
    encode_batch,
    read_batch,
    segment_name,
    without_inner,
    write_segment,
)
from singalong.attempts_v1 import LooseFiles, names_in
from singalong.contracts import AttemptRow, StartedMark
from singalong.durable import fsync_dir, write_atomic
from singalong.errors import TransientIOError, UsageError
from singalong.tables import from_table

FOLD_FROM = 4096
"""Batches in the journal before they are folded into a segment, which then takes about a second."""
FOLD_EVENTS = 32_768
"""The same by what is in them: lines of a batch take longer to read than rows of a segment."""
FOLD_AT_END = 64
"""Batches that are left as they are when a driver ends; more are folded, for those who look at the run or copy it."""
MAX_BATCH = 1000
"""Events in a batch."""
_MAX_LOOKS = 100
"""Looks at a ledger that is being folded, each of them too late for a file; folding takes longer than looking."""
_OURS = frozenset({"journal", "segments", "damaged"})


class Part(Protocol):
    """Rows of attempts that ended."""

    narrow: pa.Table

    def wide(self, columns: Sequence[str]) -> pa.Table:
        """These columns, in the order of `narrow`."""


@dataclass(frozen=True)
class LogContent:
    """What the files say of a run's attempts: those that ended, and marks of those that only started."""

    parts: Sequence[Part]
    marks: list[StartedMark]
    damaged: list[str]

    @property
    def rows(self) -> list[AttemptRow]:
        """The rows of all attempts that ended, by shard, then number."""
        return self.rows_of(None)

    def each_row(self) -> Iterator[AttemptRow]:
        """The rows of all attempts in no order, some at once."""
        for part in self.parts:
            table = part.wide(ATTEMPT_SCHEMA.names)
            for start in range(0, table.num_rows, FOLD_FROM):
                yield from from_table(AttemptRow, table.slice(start, FOLD_FROM))

    def rows_of(self, shard_id: str | None) -> list[AttemptRow]:
        """The rows of one shard's attempts, or of all."""
        rows: list[AttemptRow] = []
        for part in self.parts:
            wanted = None if shard_id is None else pc.equal(part.narrow["shard_id"], shard_id)
            if wanted is None or pc.any(wanted).as_py():
                table = part.wide(ATTEMPT_SCHEMA.names)
                rows += from_table(AttemptRow, table if wanted is None else table.filter(wanted))
        return sorted(rows, key=lambda row: (row.shard_id, row.attempt))


class Watcher(Protocol):
    """Is told of the ledger's files, so that they can be kept elsewhere, too."""

    def wrote(self, path: Path) -> None:
        """A file is whole and safe on the disk; what is in it counts once this returns."""

    def removed(self, paths: Sequence[Path]) -> None:
        """These files are gone: what was in them stands in a file that was told of before."""


@dataclass
class AttemptLog:
    """The folder attempts/ of a run.

    Attributes:
        folder: where it is.
        watcher: is told of every file; None: nobody.
        before_first: called before the first batch is written.
    """

    folder: Path
    watcher: Watcher | None = None
    before_first: Callable[[], None] = lambda: None
    _segments: dict[SegmentName, Segment] = field(default_factory=dict)
    _batches: dict[int, Batch] = field(default_factory=dict)
    _buffer: list[Event] = field(default_factory=list)
    _open: set[tuple[str, int]] = field(default_factory=set)
    _last: dict[str, int] | None = None
    _next_batch: int = 0
    _num_events: int = 0
    _loose: LooseFiles | None = None
    _content: tuple[Any, LogContent] | None = None

    # ---- writing

    def next_number(self, shard_id: str) -> int:
        """One more than any attempt at this shard that was started or recorded."""
        return self._numbers().get(shard_id, 0) + 1

    def mark_started(self, shard_id: str, attempt: int, *, work_key: str, worker: str = "", flush: bool = True) -> None:
        """Write the mark of an attempt that is about to start; without `flush` it is safe only after `flush()`.

        Raises FileExistsError if it stands already.
        """
        if attempt <= self._numbers().get(shard_id, 0) and self._is_started(shard_id, attempt):
            raise FileExistsError(f"attempt {attempt} at {shard_id} has started already")
        self._add(
            StartedMark(shard_id=shard_id, attempt=attempt, work_key=work_key, started_at=_now(), worker=worker),
            flush=flush,
        )
        self._open.add((shard_id, attempt))

    def record(self, row: AttemptRow, *, flush: bool = True) -> None:
        """Write an attempt that ended; without `flush` it is safe only after `flush()`.

        Writing the same again is nothing; another one raises FileExistsError.
        """
        name = (row.shard_id, row.attempt)
        if name in self._open:
            self._open.discard(name)
        elif row.attempt <= self._numbers().get(row.shard_id, 0):
            standing = [other for other in self._all_of(row.shard_id) if other.attempt == row.attempt]
            if standing == [row]:
                if flush:
                    self.flush()
                return
            if standing:
                raise FileExistsError(f"attempt {row.attempt} at {row.shard_id} was recorded before, and differs")
        self._add(row, flush=flush)

    def flush(self) -> None:
        """Have everything that was added safe on the disk; returns when it is."""
        if not self._buffer:
            return
        if not self._next_batch:
            self.before_first()
            self._next_batch = self._first_free()
        data = encode_batch(self._buffer)
        while True:
            path = self.folder / "journal" / batch_file(self._next_batch)
            try:
                write_atomic(path, data, replace=False)
                break
            except FileExistsError:
                self._next_batch = self._first_free()
        self._num_events += len(self._buffer)
        self._buffer.clear()
        self._next_batch += 1
        if self.watcher is not None:
            self.watcher.wrote(path)
        if self._next_batch % FOLD_FROM == 0 or self._num_events >= FOLD_EVENTS:
            with contextlib.suppress(OSError):  # what matters is written; the next time may find more space
                self.fold()

    def fold(self, *, at_least: int = 1) -> None:
        """Fold the journal into a segment, if it has so many batches; for the driver alone.

        A crash at any point loses nothing: the next fold deletes what is in a segment already.
        """
        numbers, segments, _ = self._scan()
        inside = numbers - _outside(numbers, segments)
        self._put_away([self._batch(number) for number in sorted(inside)])
        if len(numbers) - len(inside) < at_least:
            return
        for run in _without_gaps(sorted(numbers - inside)):
            batches = [self._batch(number) for number in run]
            path = write_segment(self.folder / "segments", batches)
            if self.watcher is not None:
                self.watcher.wrote(path)
            self._put_away(batches)
        self._num_events = 0

    def fold_at_end(self) -> None:
        """Fold the journal if it is long."""
        self.fold(at_least=1 if self._num_events > MAX_BATCH else FOLD_AT_END)

    def _put_away(self, batches: Sequence[Batch]) -> None:
        """Delete batches that are in a segment; those with damage are kept aside, for people to look at."""
        if not batches:
            return
        gone = []
        for batch in batches:
            path = self.folder / "journal" / batch_file(batch.number)
            with contextlib.suppress(FileNotFoundError):
                if batch.damaged:
                    (self.folder / "damaged").mkdir(exist_ok=True)
                    path.rename(self.folder / "damaged" / path.name)
                else:
                    path.unlink()
            gone.append(path)
            self._batches.pop(batch.number, None)
        fsync_dir(self.folder / "journal")
        if self.watcher is not None:
            self.watcher.removed(gone)

    def _add(self, event: Event, *, flush: bool) -> None:
        self._buffer.append(event)
        numbers = self._numbers()
        numbers[event.shard_id] = max(event.attempt, numbers.get(event.shard_id, 0))
        if flush or len(self._buffer) >= MAX_BATCH:
            self.flush()

    def _first_free(self) -> int:
        names = map(segment_name, names_in(self.folder / "segments"))
        batches = map(batch_number, names_in(self.folder / "journal"))
        return max([0, *(number or 0 for number in batches), *(name.last for name in names if name)]) + 1

    def _numbers(self) -> dict[str, int]:
        """The last attempt at each shard; read once, and kept as this log writes on."""
        if self._last is None:
            last: dict[str, int] = {}
            content = self.read()
            for part in content.parts:
                names = part.narrow["shard_id"].to_pylist()
                for shard_id, attempt in zip(names, part.narrow["attempt"].to_pylist(), strict=True):
                    last[shard_id] = max(attempt, last.get(shard_id, 0))
            for mark in content.marks:
                last[mark.shard_id] = max(mark.attempt, last.get(mark.shard_id, 0))
            self._last = last
        return self._last

    def _is_started(self, shard_id: str, attempt: int) -> bool:
        marks = self.read().marks
        return (
            (shard_id, attempt) in self._open
            or any((mark.shard_id, mark.attempt) == (shard_id, attempt) for mark in marks)
            or any(row.attempt == attempt for row in self._all_of(shard_id))
        )

    def _all_of(self, shard_id: str) -> list[AttemptRow]:
        waiting = [event for event in self._buffer if isinstance(event, AttemptRow) and event.shard_id == shard_id]
        return self.read().rows_of(shard_id) + waiting

    # ---- reading

    def read(self) -> LogContent:
        """Everything that is safe on the disk. Raises UsageError where a newer version wrote some of it.

        Reads only what was written since the last call; where nothing was, it is the very same content.
        """
        for _ in range(_MAX_LOOKS):
            try:
                return self._look()
            except FileNotFoundError:  # folded since we looked
                continue
        raise TransientIOError("changes faster than it can be read", file=self.folder, action="Try again.")

    def _look(self) -> LogContent:
        numbers, segments, damaged = self._scan()
        batches = [self._batch(number) for number in sorted(_outside(numbers, segments))]
        self._segments = {segment.name: segment for segment in segments}
        self._batches = {batch.number: batch for batch in batches}
        damaged += [str(self.folder / "journal" / batch_file(batch.number)) for batch in batches if batch.damaged]
        damaged += [str(self.folder / "damaged" / file) for file in sorted(names_in(self.folder / "damaged"))]
        rows, marks, bad = self._read_loose()
        rows += [row for batch in batches for row in batch.rows]
        marks += [mark for batch in batches for mark in batch.marks]
        marks += [mark for segment in segments for mark in segment.marks]
        damaged += bad
        seen = (
            [segment.name for segment in segments],
            [batch.number for batch in batches],
            len(rows),
            damaged,
            len(marks),
        )
        if self._content is None or self._content[0] != seen:
            parts: list[Part] = [*segments, *([Rows(rows)] if rows else [])]
            self._content = seen, LogContent(parts, _without_end(marks, parts), damaged)
        return self._content[1]

    def _read_loose(self) -> tuple[list[AttemptRow], list[StartedMark], list[str]]:
        """What version 1 left."""
        shards = [entry for entry in names_in(self.folder) if entry not in _OURS and not entry.startswith(".")]
        if not shards:
            return [], [], []
        self._loose = self._loose or LooseFiles(self.folder)
        return self._loose.read(shards)

    def _scan(self) -> tuple[set[int], list[Segment], list[str]]:
        """The batches there are, then the segments: a batch that is missing lies in one of these. And damaged ones."""
        numbers = {number for name in names_in(self.folder / "journal") if (number := batch_number(name)) is not None}
        sound: dict[SegmentName, Segment] = {}
        damaged = []
        for file in sorted(names_in(self.folder / "segments")):
            name = segment_name(file)
            path = self.folder / "segments" / file
            try:
                if name is not None:
                    sound[name] = self._segments.get(name) or Segment(path, name)
            except UsageError:
                raise
            except ValueError:
                damaged.append(str(path))
        return numbers, [sound[name] for name in without_inner(sound)], damaged

    def _batch(self, number: int) -> Batch:
        known = self._batches.get(number)
        return known or read_batch(self.folder / "journal" / batch_file(number), number)


def _outside(numbers: Iterable[int], segments: Sequence[Segment]) -> set[int]:
    """Batches that lie in none of these segments."""
    starts = [segment.name.first for segment in segments]
    places = ((number, bisect_right(starts, number) - 1) for number in numbers)
    return {number for number, place in places if place < 0 or segments[place].name.last < number}


def _without_gaps(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Rising numbers in runs without a gap."""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]


def _without_end(marks: Sequence[StartedMark], parts: Iterable[Part]) -> list[StartedMark]:
    """The marks of attempts that have no row, each once."""
    wanted = pa.array({mark.shard_id for mark in marks}, pa.string())
    ended: defaultdict[str, set[int]] = defaultdict(set)
    for part in parts if marks else ():
        rows = part.narrow.filter(pc.is_in(part.narrow["shard_id"], value_set=wanted))
        for shard_id, attempt in zip(rows["shard_id"].to_pylist(), rows["attempt"].to_pylist(), strict=True):
            ended[shard_id].add(attempt)
    alone = {(mark.shard_id, mark.attempt): mark for mark in marks if mark.attempt not in ended[mark.shard_id]}
    return [alone[name] for name in sorted(alone)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
