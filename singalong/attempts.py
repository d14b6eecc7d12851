"""The attempts of a run: two small files each, one before and one after, never changed once written.

    attempts/<shard>/<n>.started     JSON: attempt n is about to start
    attempts/<shard>/<n>.parquet     one row: what is worth selecting by as columns, and the whole record as JSON
    attempts/pack.parquet            copies of many rows in one file, so that reading a large run is quick

The pack is a memory, not the truth: it counts only for files that are there, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from singalong.contracts import AttemptRow
from singalong.durable import write_atomic, write_parquet_atomic
from singalong.errors import UsageError
from singalong.fold import StartedMark
from singalong.newer import refuse_newer

ATTEMPT_SCHEMA_VERSION = 1
_VERSION_KEY = b"singalong.attempt"
PACK_FROM = 500
"""Pack when so many rows had to be read from files of their own: some 0.1 s."""
_FILE = re.compile(r"(\d+)\.(started|parquet)")
_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("shard_id", pa.string(), nullable=False),
        pa.field("attempt", pa.int64(), nullable=False),
        pa.field("work_key", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error_class", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("started_at", pa.string(), nullable=False),
        pa.field("finished_at", pa.string(), nullable=False),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ],
    metadata={_VERSION_KEY: str(ATTEMPT_SCHEMA_VERSION)},
)


@dataclass(frozen=True)
class LogContent:
    """What the attempt files of a run say: rows by shard and number, and the marks of attempts without a
    row.
    """

    rows: list[AttemptRow]
    marks: list[StartedMark]
    damaged: list[str]


@dataclass
class AttemptLog:
    """The folder attempts/ of a run. Its files never change, so each is read only once."""

    folder: Path
    _rows: dict[tuple[str, int], AttemptRow] = field(default_factory=dict)
    _pack_read: bool = False

    def next_number(self, shard_id: str) -> int:
        """One more than any attempt at this shard that was started or recorded."""
        return max((number for number, _ in _files(self.folder / shard_id)), default=0) + 1

    def mark_started(self, shard_id: str, attempt: int, *, work_key: str, worker: str) -> None:
        """Write the mark of an attempt that is about to start. Raises FileExistsError if it stands
        already.
        """
        mark = StartedMark(shard_id=shard_id, attempt=attempt, work_key=work_key, started_at=_now(), worker=worker)
        write_atomic(self._path(shard_id, attempt, "started"), mark.model_dump_json().encode(), replace=False)

    def record(self, row: AttemptRow) -> None:
        """Write an attempt that ended. Writing the same again is nothing; another one raises
        FileExistsError.
        """
        path = self._path(row.shard_id, row.attempt, "parquet")
        try:
            write_parquet_atomic(_to_table([row]), path, replace=False)
        except FileExistsError:
            if _read_row(path) != row:
                raise

    def read(self) -> LogContent:
        """Everything written so far. Raises UsageError where a newer version wrote some of it."""
        recorded, started = self._scan()
        if not self._pack_read:
            self._rows |= self._read_pack()
            self._pack_read = True
        missing = [name for name in recorded if name not in self._rows]
        found = {name: row for name in missing if (row := self._read(name)) is not None}
        self._rows |= found
        if len(found) >= PACK_FROM:
            with contextlib.suppress(OSError):  # a reader may be allowed to read only
                write_parquet_atomic(_to_table(self._rows.values()), self.folder / "pack.parquet")
        alone = [name for name in started if name not in recorded or name not in self._rows]
        marks = {name: mark for name in alone if (mark := self._read_mark(name)) is not None}
        damaged = [self._path(*name, "parquet") for name in recorded if name not in self._rows]
        damaged += [self._path(*name, "started") for name in alone if name not in marks]
        return LogContent(
            rows=[self._rows[name] for name in recorded if name in self._rows],
            marks=list(marks.values()),
            damaged=[str(path) for path in damaged],
        )

    def _scan(self) -> tuple[dict[tuple[str, int], None], dict[tuple[str, int], None]]:
        """Names of the attempts that were recorded, and of those that were started, in order."""
        recorded, started = dict[tuple[str, int], None](), dict[tuple[str, int], None]()
        for shard_id in sorted(entry.name for entry in _entries(self.folder) if entry.is_dir()):
            for number, kind in sorted(_files(self.folder / shard_id)):
                (recorded if kind == "parquet" else started)[shard_id, number] = None
        return recorded, started

    def _read(self, name: tuple[str, int]) -> AttemptRow | None:
        """The row in an attempt's file; None if it cannot be read, or is that of another attempt."""
        row = _read_row(self._path(*name, "parquet"))
        return row if row is not None and (row.shard_id, row.attempt) == name else None

    def _read_mark(self, name: tuple[str, int]) -> StartedMark | None:
        try:
            mark = StartedMark.model_validate_json(self._path(*name, "started").read_bytes())
        except (OSError, ValidationError):
            return None
        return mark if (mark.shard_id, mark.attempt) == name else None

    def _read_pack(self) -> dict[tuple[str, int], AttemptRow]:
        try:
            rows = _read_rows(self.folder / "pack.parquet")
        except UsageError:  # packed by a newer version: what it read lies there still
            rows = None
        return {(row.shard_id, row.attempt): row for row in rows or ()}

    def _path(self, shard_id: str, attempt: int, kind: str) -> Path:
        return self.folder / shard_id / f"{attempt:04d}.{kind}"


def _to_table(rows: Iterable[AttemptRow]) -> pa.Table:
    return pa.Table.from_pylist([_columns(row) for row in rows], schema=_SCHEMA)


def _columns(row: AttemptRow) -> dict[str, object]:
    failure = row.failure
    return {
        **{name: getattr(row, name) for name in _SCHEMA.names if name in AttemptRow.model_fields},
        "outcome": "done" if failure is None else "failed",
        "error_class": failure.error_class.value if failure else None,
        "error_message": failure.message if failure else None,
        "row": row.model_dump_json(),
    }


def _read_rows(path: Path) -> list[AttemptRow] | None:
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
        version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, ATTEMPT_SCHEMA_VERSION)
        refuse_newer("the record of an attempt", version, ATTEMPT_SCHEMA_VERSION, file=path)
        table = file.read(columns=["row"], use_threads=False)
        return [AttemptRow.model_validate_json(text) for text in table["row"].to_pylist()]
    except UsageError:
        raise
    except (pa.ArrowException, OSError, ValueError):
        return None


def _read_row(path: Path) -> AttemptRow | None:
    rows = _read_rows(path)
    return rows[0] if rows is not None and len(rows) == 1 else None


def _files(folder: Path) -> Iterator[tuple[int, str]]:
    for entry in _entries(folder):
        if found := _FILE.fullmatch(entry.name):
            yield int(found[1]), found[2]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
