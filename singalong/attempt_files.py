"""The files a run's attempts are written to: batches as things happen, segments that many batches are folded into.

    attempts/journal/<n>.jsonl                       batch n: a few starts and ends, written and flushed at once
    attempts/segments/<first>-<last>-<hash>.parquet  what batches first to last say of attempts that ended, a row each;
                                                     starts without an end in the metadata

A file never changes. Each line of a batch carries its own checksum, and a segment's name that of its bytes: no damage
is taken for another truth.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from singalong.contracts import AttemptRow, StartedMark
from singalong.durable import atomic_file
from singalong.newer import refuse_newer
from singalong.tables import schema_of, to_table

ATTEMPT_SCHEMA_VERSION = 2
"""1: a file an attempt, see `singalong.attempts_v1`."""
ATTEMPT_SCHEMA = schema_of(AttemptRow)
NARROW = (
    *("shard_id", "attempt", "work_key", "reused", "final", "started_at", "finished_at", "worker"),
    *("failure_error_class", "failure_file_changed"),
)
"""Columns that tell where every shard stands; the rest is what came of them."""
_VERSION_KEY, _MARKS_KEY = b"singalong.attempt", b"singalong.started"
_SUM_CHARS = 16
_BATCH = re.compile(r"(\d{8,})\.jsonl")
_SEGMENT = re.compile(r"(\d{8,})-(\d{8,})-([0-9a-f]{16})\.parquet")

Event = AttemptRow | StartedMark


@dataclass(frozen=True)
class Batch:
    """The sound lines of a batch; `damaged` if there were others."""

    number: int
    rows: list[AttemptRow]
    marks: list[StartedMark]
    damaged: bool


@dataclass(frozen=True)
class SegmentName:
    """A segment by its name: batches [first, last], both in it, and the hash of its bytes."""

    first: int
    last: int
    digest: str

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.first:08d}-{self.last:08d}-{self.digest}.parquet"


def batch_file(number: int) -> str:
    """Name of a batch's file."""
    return f"{number:08d}.jsonl"


def batch_number(file: str) -> int | None:
    """The number of a batch by its file's name; None for other files."""
    found = _BATCH.fullmatch(file)
    return int(found[1]) if found else None


def segment_name(file: str) -> SegmentName | None:
    """What a segment's name says; None for other files."""
    found = _SEGMENT.fullmatch(file)
    return SegmentName(int(found[1]), int(found[2]), found[3]) if found else None


def encode_batch(events: Sequence[Event]) -> bytes:
    """A batch: a line that says how many follow, then a line each."""
    head = json.dumps({"schema_version": ATTEMPT_SCHEMA_VERSION, "num_events": len(events)})
    lines = [head, *(f'{{"{_kind(event)}":{event.model_dump_json()}}}' for event in events)]
    return "".join(f"{hash_of(line.encode())} {line}\n" for line in lines).encode()


def read_batch(path: Path, number: int) -> Batch:
    """Read a batch. Raises FileNotFoundError, and UsageError where a newer version wrote it."""
    contents = [_decode(line) for line in path.read_bytes().split(b"\n") if line]
    head = contents[0] if contents else None
    known = isinstance(head, dict) and "num_events" in head
    if isinstance(head, dict) and known:
        refuse_newer("the record of an attempt", head.get("schema_version"), ATTEMPT_SCHEMA_VERSION, file=path)
    events = [event for event in contents if isinstance(event, AttemptRow | StartedMark)]
    whole = isinstance(head, dict) and known and head["num_events"] == len(events) == len(contents) - 1
    rows = [event for event in events if isinstance(event, AttemptRow)]
    marks = [event for event in events if isinstance(event, StartedMark)]
    return Batch(number, rows, marks, damaged=not whole)


def write_segment(folder: Path, batches: Sequence[Batch]) -> Path:
    """Fold batches, rising without a gap, into a segment; returns its path once it is safe on the disk."""
    rows = [row for batch in batches for row in batch.rows]
    ended = {(row.shard_id, row.attempt) for row in rows}
    alone = [mark for batch in batches for mark in batch.marks if (mark.shard_id, mark.attempt) not in ended]
    marks = json.dumps([mark.model_dump(mode="json") for mark in alone])
    table = to_table(AttemptRow, rows).replace_schema_metadata(
        {_VERSION_KEY: str(ATTEMPT_SCHEMA_VERSION), _MARKS_KEY: marks}
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    data = buffer.getvalue().to_pybytes()
    path = folder / SegmentName(batches[0].number, batches[-1].number, hash_of(data)).file
    with atomic_file(path) as temp:
        temp.write_bytes(data)
    return path


class Segment:
    """A segment that was read; its bytes are checked once, and of its columns those are read that are asked for."""

    def __init__(self, path: Path, name: SegmentName) -> None:
        """Raises FileNotFoundError; UsageError where a newer version wrote it; ValueError where it is damaged."""
        self.path, self.name = path, name
        data = path.read_bytes()
        if hash_of(data) != name.digest:
            raise ValueError(f"{path} is damaged")
        file = pq.ParquetFile(pa.BufferReader(data))
        metadata = file.schema_arrow.metadata or {}
        refuse_newer("the record of an attempt", metadata.get(_VERSION_KEY), ATTEMPT_SCHEMA_VERSION, file=path)
        self.marks = [StartedMark.model_validate(mark) for mark in json.loads(metadata.get(_MARKS_KEY, b"[]"))]
        self.narrow = _columns_of(file, NARROW)

    def wide(self, columns: Sequence[str]) -> pa.Table:
        """These columns of its rows, in the order of `narrow`."""
        return _columns_of(pq.ParquetFile(self.path), columns)


class Rows:
    """Attempts that lie in no segment yet."""

    def __init__(self, rows: Sequence[AttemptRow]) -> None:
        table = to_table(AttemptRow, rows)
        schema = pa.schema([field.with_nullable(True) for field in table.schema])  # as segments have it
        self._table = pa.Table.from_arrays(table.columns, schema=schema)
        self.narrow = self._table.select(list(NARROW))

    def wide(self, columns: Sequence[str]) -> pa.Table:
        """These columns of its rows, in the order of `narrow`."""
        return self._table.select(list(columns))


def _columns_of(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Columns by the schema of today; those that a file of yesterday lacks are null."""
    there = set(file.schema_arrow.names)
    table = file.read(columns=[name for name in columns if name in there], use_threads=False)
    fields = [ATTEMPT_SCHEMA.field(name).with_nullable(True) for name in columns]
    arrays = [
        table[field.name].cast(field.type) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _kind(event: Event) -> str:
    return "ended" if isinstance(event, AttemptRow) else "started"


def _decode(line: bytes) -> Event | dict[str, Any] | None:
    """What a line of a batch says; None where it is damaged."""
    digest, _, text = line.partition(b" ")
    if hash_of(text) != digest.decode("ascii", "replace"):
        return None
    try:
        if text.startswith(b'{"ended":'):
            return AttemptRow.model_validate_json(text[len(b'{"ended":') : -1])
        if text.startswith(b'{"started":'):
            return StartedMark.model_validate_json(text[len(b'{"started":') : -1])
        content = json.loads(text)
    except (ValidationError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def hash_of(data: bytes) -> str:
    """The hash in a segment's name, and before each line of a batch."""
    return hashlib.blake2b(data, digest_size=_SUM_CHARS // 2).hexdigest()


def without_inner(names: Iterable[SegmentName]) -> list[SegmentName]:
    """Segments without those whose batches all lie in another one; in order."""
    kept: list[SegmentName] = []
    for name in sorted(names, key=lambda name: (name.first, -name.last, name.digest)):
        if not kept or name.last > kept[-1].last:
            kept.append(name)
    return kept
