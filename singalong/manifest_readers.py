"""The three file formats of a manifest, read into one plain form; what the cells mean is `manifest`'s
business.

Readers never stop at the first thing wrong: what can still be read is, and the rest goes into `problems`.
"""

from __future__ import annotations

import csv
import io
import json
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from singalong.errors import InputError, ManifestError

Cell = str | int | float | None

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
MAX_BYTES = 256 << 20
"""A hundred thousand rows take 5 to 20 MB; what is larger is most likely not a manifest."""
MAX_ROWS = 1_000_000
MAX_COLUMNS = 1000
MAX_CELL_CHARS = 4096
_MAX_PARQUET_BYTES = 1 << 30
"""Unpacked, as the file itself says it; text is held once, however often it is repeated."""
_BATCH_ROWS = 10_000
_QUOTES_HINT = 'A cell that contains the delimiter or a quote must stand in "double quotes".'


@dataclass(frozen=True)
class RawRow:
    """One data row as it stands in the file; empty cells are None.

    Columns in `bad` have been reported already; of a row that is not `readable` nothing more can be said.
    """

    number: int
    line: int | None
    cells: dict[str, Cell] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    readable: bool = True

    def problem(self, text: str, column: str | None = None, **details: Any) -> InputError:
        """An error that names this row, and the line where the format has lines."""
        where = text if self.line is None else f"{text} [line {self.line}]"
        return InputError(where, row=self.number, column=column, **details)


@dataclass
class RawTable:
    """A manifest's columns in order, its rows, and what was wrong with its form."""

    columns: list[str] = field(default_factory=list)
    rows: list[RawRow] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)


def read_raw(path: Path, *, known_columns: frozenset[str]) -> RawTable:
    """Read a manifest by its extension.

    `known_columns` tells the delimiters of a CSV file apart. Raises ManifestError when nothing can be read at
    all.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        expected = f"a file ending in {', '.join(_READERS)}"
        raise _unreadable(path, InputError("unknown kind of manifest", value=path.suffix, expected=expected))
    return reader(path, _content(path), known_columns)


def _content(path: Path) -> bytes:
    """The file, if it is one: a pipe or a device might never end."""
    expected = "a manifest that can be read"
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            what = "it is a directory" if stat.S_ISDIR(facts.st_mode) else "it is a pipe or a device"
            raise _unreadable(path, InputError(what, expected="a regular file"))
        if facts.st_size > MAX_BYTES:
            action = "Split it into several manifests."
            raise _unreadable(
                path, InputError("too large", value=facts.st_size, expected=_at_most(MAX_BYTES), action=action)
            )
        with path.open("rb") as file:
            return file.read(facts.st_size)
    except (OSError, ValueError) as exc:  # ValueError: a zero byte in the name
        text = getattr(exc, "strerror", None) or str(exc)
        raise _unreadable(path, InputError(text, expected=expected)) from exc


def _at_most(num_bytes: int) -> str:
    return f"at most {num_bytes >> 20} MB"


def _too_many_rows(path: Path, count: int) -> ManifestError:
    problem = InputError(
        "too many rows", value=count, expected=f"at most {MAX_ROWS}", action="Split it into several manifests."
    )
    return _unreadable(path, problem)


def _unreadable(path: Path, problem: InputError) -> ManifestError:
    return ManifestError([problem], file=path)


def _read_csv(path: Path, data: bytes, known: frozenset[str]) -> RawTable:
    text = _decode(path, data)
    if not text.strip():
        raise _unreadable(path, InputError("the manifest is empty", expected="a header line, then one line a pair"))
    table = RawTable()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, known), strict=True)
    for line, record in _records(reader, table):
        cells = [value.strip() for value in record]
        if not any(cells):
            continue  # blank lines, and the rows of commas that spreadsheets leave behind
        if not table.columns:
            table.columns = cells
            _check_width(path, table)
            continue
        if len(table.rows) >= MAX_ROWS:
            raise _too_many_rows(path, len(table.rows) + 1)
        aligned = len(cells) == len(table.columns)
        row = RawRow(len(table.rows) + 1, line, readable=aligned)
        if not aligned:
            expected = f"{len(table.columns)}, as in the header"
            table.problems.append(
                row.problem("wrong number of cells", value=len(cells), expected=expected, action=_QUOTES_HINT)
            )
        row.cells.update((name, cell or None) for name, cell in zip(table.columns, cells, strict=False))
        table.rows.append(row)
    return table


def _records(reader: Any, table: RawTable) -> Iterator[tuple[int, list[str]]]:
    """Records with the line each starts on; broken quoting ends the file, the rest cannot be told apart."""
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            row = RawRow(len(table.rows) + 1, line)
            what = "a very long cell, or broken quoting" if "field larger" in str(exc) else "broken quoting"
            table.problems.append(row.problem(f"{what}, nothing after it was read: {exc}", action=_QUOTES_HINT))
            return
        yield line, record


def _delimiter(text: str, known: frozenset[str]) -> str:
    """The delimiter under which the header shows the most known columns; a comma if none does."""
    header = next(line for line in text.splitlines() if line.strip())

    def num_known(delimiter: str) -> int:
        try:
            names = next(csv.reader([header], delimiter=delimiter))
        except csv.Error:
            return 0
        return len(known.intersection(name.strip() for name in names))

    return max(_DELIMITERS, key=num_known)


def _decode(path: Path, data: bytes) -> str:
    save = 'Save it as UTF-8 (in a spreadsheet: "CSV UTF-8").'
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _unreadable(path, InputError("the manifest is UTF-16", expected="UTF-8", action=save))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        seen = data[max(0, exc.start - 20) : exc.start + 20].decode("latin-1")
        problem = InputError(
            f"line {line} is not UTF-8 (byte 0x{data[exc.start]:02x})",
            value=seen,
            expected="UTF-8",
            action=save,
        )
        raise _unreadable(path, problem) from exc
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        problem = InputError(f"line {line} contains a NUL byte", expected="a text file in UTF-8", action=save)
        raise _unreadable(path, problem)
    return text


class _DuplicateKeyError(ValueError):
    """A JSON object that gives one key twice."""


def _read_json_lines(path: Path, data: bytes, _known: frozenset[str]) -> RawTable:
    table, columns = RawTable(), dict[str, None]()
    for line, text in enumerate(_decode(path, data).split("\n"), start=1):
        if not text.strip():
            continue
        if len(table.rows) >= MAX_ROWS:
            raise _too_many_rows(path, len(table.rows) + 1)
        row = RawRow(len(table.rows) + 1, line)
        content = _json_object(row, text, table)
        table.rows.append(row if content is not None else replace(row, readable=False))
        _fill(row, content or {}, table)
        columns.update(dict.fromkeys(content or {}))
        if len(columns) > MAX_COLUMNS:
            break
    table.columns = list(columns)
    _check_width(path, table)
    return table


def _json_object(row: RawRow, text: str, table: RawTable) -> dict[str, Any] | None:
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        problem = row.problem(f"not JSON: {exc}", value=text.strip(), expected="one object a line")
        table.problems.append(problem)
        return None
    if not isinstance(content, dict):
        table.problems.append(row.problem("not an object", value=content, expected='{"clip": …, "song": …}'))
        return None
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _DuplicateKeyError(f"the key {twice!r} stands there twice")
    return content


def _read_parquet(path: Path, data: bytes, _known: frozenset[str]) -> RawTable:
    import pyarrow as pa  # here, so that a CSV manifest does not pay for it

    table = RawTable()
    try:
        for batch in _parquet_batches(path, data, table):
            columns = {name: _plain(batch.column(name)) for name in table.columns}
            for index in range(batch.num_rows):
                row = RawRow(len(table.rows) + 1, None)
                _fill(row, {name: values[index] for name, values in columns.items()}, table)
                table.rows.append(row)
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as exc:
        if isinstance(exc, ManifestError):
            raise
        raise _unreadable(path, InputError(f"not a Parquet file, or damaged: {exc}")) from exc
    return table


def _parquet_batches(path: Path, data: bytes, table: RawTable) -> Iterator[Any]:
    """Its rows, some at a time; text as it is packed, so that one cell repeated a million times takes the room of one.

    Refuses by its footer what is too large, before any of it is unpacked.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer = pq.ParquetFile(pa.BufferReader(data))
    names = footer.schema_arrow.names
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise _unreadable(path, InputError("the column stands there twice", column=twice))
    table.columns = names
    _check_width(path, table)
    facts = footer.metadata
    if facts.num_rows > MAX_ROWS:
        raise _too_many_rows(path, facts.num_rows)
    num_bytes = sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups))
    if not 0 <= num_bytes <= _MAX_PARQUET_BYTES:
        raise _unreadable(path, InputError("too large", value=num_bytes, expected=_at_most(_MAX_PARQUET_BYTES)))
    texts = [field.name for field in footer.schema_arrow if _is_text(field.type)]
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
        batch.validate(full=True)  # Arrow itself believes indices into dictionaries, negative ones too
        yield batch


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _plain(column: Any) -> list[Any]:
    """Values of one column of a batch; equal texts are one object."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    known = [_cut(value) for value in column.dictionary.to_pylist()]
    return [None if index is None else known[index] for index in column.indices.to_pylist()]


def _cut(value: Any) -> Any:
    """A text, not longer than needed to see that it is too long."""
    return value[: MAX_CELL_CHARS + 1] if isinstance(value, str | bytes) else value


def _check_width(path: Path, table: RawTable) -> None:
    if len(table.columns) > MAX_COLUMNS:
        problem = InputError("too many columns", value=len(table.columns), expected=f"at most {MAX_COLUMNS}")
        raise _unreadable(path, problem)


def _fill(row: RawRow, content: dict[str, Any], table: RawTable) -> None:
    """Keep texts and numbers; lists, objects, dates and truth values have no meaning in any column."""
    for name, value in content.items():
        if isinstance(value, str):
            row.cells[name] = value.strip() or None
        elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            row.cells[name] = value
        else:
            row.bad.add(name)
            table.problems.append(row.problem("not a text or a number", name, value=value))


_READERS: dict[str, Callable[[Path, bytes, frozenset[str]], RawTable]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
