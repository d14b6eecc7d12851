"""Attempts as runs of version 1 have them: two small files each, read where they lie and written no more.

    attempts/<shard>/<n>.started     JSON: attempt n is about to start
    attempts/<shard>/<n>.parquet     one row: what is worth selecting by as columns, and the whole record as JSON
    attempts/pack.parquet            copies of many rows in one file, so that reading a large run is quick

The pack is a memory, not the truth: it counts only for files that are there, and may be deleted at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from singalong.contracts import AttemptRow, StartedMark
from singalong.errors import UsageError
from singalong.newer import refuse_newer

ATTEMPT_SCHEMA_VERSION = 1
_VERSION_KEY = b"singalong.attempt"
_FILE = re.compile(r"(\d+)\.(started|parquet)")

Name = tuple[str, int]
"""Of an attempt: shard id and number."""


@dataclass
class LooseFiles:
    """The files of version 1 in a folder attempts/. None of them ever changes, so each is read only once."""

    folder: Path
    _rows: dict[Name, AttemptRow] = field(default_factory=dict)
    _pack_read: bool = False

    def read(self, shards: list[str]) -> tuple[list[AttemptRow], list[StartedMark], list[str]]:
        """Rows, marks of attempts without a row, and files that are damaged, in the folders of these shards.

        Raises UsageError where a newer version wrote some of it.
        """
        recorded, started = self._scan(shards)
        if recorded and not self._pack_read:
            self._rows |= self._read_pack()
            self._pack_read = True
        missing = [name for name in recorded if name not in self._rows]
        self._rows |= {name: row for name in missing if (row := self._read(name)) is not None}
        alone = [name for name in started if name not in recorded or name not in self._rows]
        marks = {name: mark for name in alone if (mark := self._read_mark(name)) is not None}
        damaged = [self._path(*name, "parquet") for name in recorded if name not in self._rows]
        damaged += [self._path(*name, "started") for name in alone if name not in marks]
        rows = [self._rows[name] for name in recorded if name in self._rows]
        return rows, list(marks.values()), [str(path) for path in damaged]

    def _scan(self, shards: list[str]) -> tuple[dict[Name, None], dict[Name, None]]:
        """Names of the attempts that were recorded, and of those that were started, in order."""
        recorded, started = dict[Name, None](), dict[Name, None]()
        for shard_id in sorted(shards):
            for number, kind in sorted(_files(self.folder / shard_id)):
                (recorded if kind == "parquet" else started)[shard_id, number] = None
        return recorded, started

    def _read(self, name: Name) -> AttemptRow | None:
        """The row in an attempt's file; None if it cannot be read, or is that of another attempt."""
        rows = _read_rows(self._path(*name, "parquet"))
        row = rows[0] if rows is not None and len(rows) == 1 else None
        return row if row is not None and (row.shard_id, row.attempt) == name else None

    def _read_mark(self, name: Name) -> StartedMark | None:
        try:
            mark = StartedMark.model_validate_json(self._path(*name, "started").read_bytes())
        except (OSError, ValidationError):
            return None
        return mark if (mark.shard_id, mark.attempt) == name else None

    def _read_pack(self) -> dict[Name, AttemptRow]:
        try:
            rows = _read_rows(self.folder / "pack.parquet")
        except UsageError:  # packed by a newer version: what it read lies there still
            rows = None
        return {(row.shard_id, row.attempt): row for row in rows or ()}

    def _path(self, shard_id: str, attempt: int, kind: str) -> Path:
        return self.folder / shard_id / f"{attempt:04d}.{kind}"


def _read_rows(path: Path) -> list[AttemptRow] | None:
    try:
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()), page_checksum_verification=True)
        version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, ATTEMPT_SCHEMA_VERSION)
        refuse_newer("the record of an attempt", version, ATTEMPT_SCHEMA_VERSION, file=path)
        table = file.read(columns=["row"], use_threads=False)
        return [AttemptRow.model_validate_json(text) for text in table["row"].to_pylist()]
    except UsageError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError):  # damage has many faces
        return None


def _files(folder: Path) -> Iterator[tuple[int, str]]:
    for name in names_in(folder):
        if found := _FILE.fullmatch(name):
            yield int(found[1]), found[2]


def names_in(folder: Path) -> list[str]:
    """Names in a folder, in no order; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
