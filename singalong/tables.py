"""Records to Arrow tables and back, exactly: one column a field, nested records flattened under a prefix.

The schema of a table follows from the record, so a field that is added to a record is stored without anybody
having to think of it, and reading an older file gives the new field its default.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

import pyarrow as pa
from pydantic.fields import FieldInfo

from singalong.contracts import ModelRef, Row

RowT = TypeVar("RowT", bound=Row)

_SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    Fraction: pa.string(),
}


_PLAIN = frozenset({str, int, float, bool, types.NoneType})


@dataclass(frozen=True)
class _Column:
    """Where a column's value lies in a record: field names from the outside in."""

    name: str
    path: tuple[str, ...]
    type: pa.DataType
    nullable: bool


def schema_of(model: type[Row], *, metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """The Arrow schema of a record."""
    return pa.schema(
        [pa.field(column.name, column.type, nullable=column.nullable) for column in _columns(model)],
        metadata=dict(metadata) if metadata else None,
    )


def to_table(model: type[RowT], rows: Sequence[RowT], *, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Records of one kind as a table with one row each."""
    arrays = [pa.array(_column_of(rows, column), column.type) for column in _columns(model)]
    return pa.Table.from_arrays(arrays, schema=schema_of(model, metadata=metadata))


def from_table(model: type[RowT], table: pa.Table) -> list[RowT]:
    """The records of a table that `to_table` made, validated; columns it lacks get the fields' defaults."""
    there = set(table.column_names)
    known: dict[str, str] = {}
    values = {
        column.name: _values(table[column.name], column, known) for column in _columns(model) if column.name in there
    }
    layout, models = _layout(model), dict[tuple[Any, ...], ModelRef]()
    return [_build(layout, values, index, models) for index in range(table.num_rows)]


@cache
def _columns(model: type[Row]) -> tuple[_Column, ...]:
    return tuple(_walk(model, (), nullable=False))


def _walk(model: type[Row], path: tuple[str, ...], *, nullable: bool) -> Iterator[_Column]:
    for name, field in model.model_fields.items():
        kind, optional = _kind(field)
        inner = (*path, name)
        if isinstance(kind, type) and issubclass(kind, Row):
            yield from _walk(kind, inner, nullable=nullable or optional)
        else:
            yield _Column("_".join(inner), inner, _arrow_type(kind), nullable or optional)


def _kind(field: FieldInfo) -> tuple[Any, bool]:
    """The annotation without `None`, and whether it had one."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        assert len(kinds) == 1, annotation
        return kinds[0], True
    return annotation, False


def _arrow_type(kind: Any) -> pa.DataType:
    origin, args = get_origin(kind), get_args(kind)
    if origin is dict:
        return pa.map_(_arrow_type(args[0]), _arrow_type(args[1]))
    if origin is tuple:
        return pa.list_(_arrow_type(args[0]))
    if issubclass(kind, Enum):
        return pa.string()
    return _SCALARS[kind]


def _column_of(rows: Sequence[Any], column: _Column) -> list[Any]:
    """The values of a column as Arrow takes them."""
    values = list(rows)
    for name in column.path:
        values = [None if value is None else getattr(value, name) for value in values]
    return [value if type(value) in _PLAIN else _plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Enum):
        return value.value
    return list(value.items()) if isinstance(value, dict) else value


def _values(column: pa.ChunkedArray, spec: _Column, known: dict[str, str]) -> list[Any]:
    """The values of a column; equal texts are one object, for a plan names each clip and song many times."""
    if pa.types.is_map(spec.type):
        values: list[Any] = column.to_pylist()
        return [None if value is None else dict(value) for value in values]
    if pa.types.is_string(column.type):
        found: list[Any] = []
        for chunk in column.dictionary_encode().iterchunks():
            texts = [known.setdefault(text, text) for text in chunk.dictionary.to_pylist()]
            found += [None if place is None else texts[place] for place in chunk.indices.to_pylist()]
        return found
    plain: list[Any] = column.to_pylist()
    return plain


@dataclass(frozen=True)
class _Part:
    """A field of a record in a table: its name, its column, and the layout of its record if it is one."""

    name: str
    column: str
    optional: bool
    inner: _Layout | None


@dataclass(frozen=True)
class _Layout:
    """The fields of a record; `sign` is the column that has a value wherever the record is there."""

    model: type[Row]
    parts: tuple[_Part, ...]
    sign: str


@cache
def _layout(model: type[Row], prefix: str = "") -> _Layout:
    parts = []
    for name, field in model.model_fields.items():
        kind, optional = _kind(field)
        is_record = isinstance(kind, type) and issubclass(kind, Row)
        inner = _layout(kind, f"{prefix}{name}_") if is_record else None
        parts.append(_Part(name, prefix + name, optional, inner))
    sign = next((part.column for part in parts if not part.optional), "")
    return _Layout(model, tuple(parts), sign)


def _build(
    layout: _Layout, columns: Mapping[str, list[Any]], index: int, models: dict[tuple[Any, ...], ModelRef]
) -> Any:
    content: dict[str, Any] = {}
    for part in layout.parts:
        if part.inner is not None:
            absent = part.optional and not _present(part.inner, columns, index)
            content[part.name] = None if absent else _build(part.inner, columns, index, models)
        elif part.column in columns:
            value = columns[part.column][index]
            if value is not None or part.optional:
                content[part.name] = value
    if layout.model is not ModelRef:
        return layout.model(**content)
    sort = tuple(content.items())  # of models a run has a few, and every pair names one
    if sort not in models:
        models[sort] = ModelRef(**content)
    return models[sort]


def _present(layout: _Layout, columns: Mapping[str, list[Any]], index: int) -> bool:
    """Whether an optional record is there: then the first field that it cannot be without has a value."""
    return columns.get(layout.sign, {index: None})[index] is not None
