"""The attempts of a run: two small files each, one before and one after, never changed once written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pydantic import ValidationError

from singalong.contracts import AttemptRow
from singalong.durable import write_atomic, write_parquet_atomic
from singalong.fold import StartedMark
from singalong.tables import from_table, schema_of, to_table

ATTEMPT_SCHEMA_VERSION = 1
_METADATA = {"singalong.attempt": str(ATTEMPT_SCHEMA_VERSION)}
_FILE = re.compile(r"(\d+)\.(started|parquet)")


@dataclass(frozen=True)
class LogContent:
    """All that the attempt files of a run say, in the order of shards and attempts."""

    rows: list[AttemptRow]
    marks: list[StartedMark]
    damaged: list[str]


@dataclass
class AttemptLog:
    """The folder attempts/ of a run. Its files never change, so each is read only once."""

    folder: Path
    _rows: dict[Path, AttemptRow] = field(default_factory=dict)
    _marks: dict[Path, StartedMark] = field(default_factory=dict)

    def next_number(self, shard_id: str) -> int:
        """One more than any attempt at this shard that was started or recorded."""
        return max((number for number, _, _ in _files(self.folder / shard_id)), default=0) + 1

    def mark_started(self, shard_id: str, attempt: int, *, work_key: str, worker: str) -> None:
        """Write the mark of an attempt that is about to start. Raises FileExistsError if it stands
        already.
        """
        mark = StartedMark(shard_id=shard_id, attempt=attempt, work_key=work_key, started_at=_now(), worker=worker)
        path = self.folder / shard_id / f"{attempt:04d}.started"
        write_atomic(path, mark.model_dump_json().encode(), replace=False)

    def record(self, row: AttemptRow) -> None:
        """Write an attempt that ended. Writing the same again is nothing; another one raises
        FileExistsError.
        """
        path = self._path(row)
        try:
            write_parquet_atomic(to_table(AttemptRow, [row], metadata=_METADATA), path, replace=False)
        except FileExistsError:
            if self._read_rows([path]).get(path) != row:
                raise

    def read(self) -> LogContent:
        """Everything written so far."""
        there: dict[str, list[Path]] = {"parquet": [], "started": []}
        for shard in sorted(entry.path for entry in _scan(self.folder) if entry.is_dir()):
            for _, kind, path in sorted(_files(Path(shard))):
                there[kind].append(path)
        self._rows.update(self._read_rows([path for path in there["parquet"] if path not in self._rows]))
        for path in there["started"]:
            if path not in self._marks and (mark := _read_mark(path)) is not None:
                self._marks[path] = mark
        return LogContent(
            rows=[self._rows[path] for path in there["parquet"] if path in self._rows],
            marks=[self._marks[path] for path in there["started"] if path in self._marks],
            damaged=[
                str(path)
                for path in [*there["parquet"], *there["started"]]
                if path not in self._rows and path not in self._marks
            ],
        )

    def _read_rows(self, paths: list[Path]) -> dict[Path, AttemptRow]:
        """Attempts by file: all files at once, or, when one of them is damaged, one by one without it."""
        if not paths:
            return {}
        try:
            names = [os.fspath(path) for path in paths]
            table = ds.dataset(names, schema=schema_of(AttemptRow), format="parquet").to_table()
            rows = {self._path(row): row for row in from_table(AttemptRow, table)}
            if rows.keys() == set(paths):
                return rows
        except (pa.ArrowException, OSError, ValueError):
            pass
        found = ((path, _read_row(path)) for path in paths)
        return {path: row for path, row in found if row is not None and self._path(row) == path}

    def _path(self, row: AttemptRow) -> Path:
        return self.folder / row.shard_id / f"{row.attempt:04d}.parquet"


def _read_row(path: Path) -> AttemptRow | None:
    try:
        (row,) = from_table(AttemptRow, pq.read_table(path))
    except (pa.ArrowException, OSError, ValueError):
        return None
    return row


def _read_mark(path: Path) -> StartedMark | None:
    try:
        return StartedMark.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _files(folder: Path) -> Iterator[tuple[int, str, Path]]:
    for entry in _scan(folder):
        if found := _FILE.fullmatch(entry.name):
            yield int(found[1]), found[2], Path(entry.path)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
