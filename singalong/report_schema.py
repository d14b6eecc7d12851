"""The tables people read: report.parquet (a row a shard), pairs.parquet and montages.parquet.

Their columns are an interface: other programs select by them. A test freezes names and types, and
REPORT_SCHEMA_VERSION goes up when one changes its meaning or goes away. `tag_*` columns of the manifest
follow the columns named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from singalong.contracts import Row, Status, Verdict
from singalong.errors import ErrorClass
from singalong.reviews import Ruling
from singalong.tables import from_table, schema_of, to_table

REPORT_SCHEMA_VERSION = 1
VERSION_KEY = b"singalong.report"
TAG_PREFIX = "tag_"
_FIRST = (
    *("run_id", "parent_run_id", "pair_id", "shard_id", "work_key", "montage", "position", "row"),
    *("status", "verdict", "error_class", "error_message", "num_attempts"),
)
"""Columns that stand first, as a person who opens the table looks for them first."""


class _Outcome(Row):
    """What shards and pairs have in common, from where they come to what became of them."""

    run_id: str = Field(description="run that reports it")
    parent_run_id: str | None = Field(default=None, description="run that this one makes part of again")
    pair_id: str = Field(description="name of the pair, and of its film")
    row: int = Field(description="1-based data row in the manifest")
    montage: str | None = Field(default=None, description="film of several pairs that it is part of")
    clip: str = Field(description="path of the clip or still")
    song: str = Field(description="path of the song")
    clip_start_s: float | None = Field(
        default=None, description="start of the clip span, seconds on the clip's own time"
    )
    clip_end_s: float | None = Field(default=None, description="end of the clip span, exclusive")
    song_start_s: float | None = Field(
        default=None, description="start of the song span, seconds on the song's own time"
    )
    song_end_s: float | None = Field(default=None, description="end of the song span, exclusive")
    num_frames: int = Field(default=0, description="frames of the output")
    fps: float | None = Field(default=None, description="frames a second of the output")
    width: int | None = Field(default=None, description="of the output, pixels")
    height: int | None = Field(default=None, description="of the output, pixels")
    status: Status = Field(
        description="where it stands: pending, done, failed (retries spent) or quarantined (bad input)"
    )
    verdict: Verdict | None = Field(default=None, description="of what is done: pass, review, fail or not scorable")
    error_class: ErrorClass | None = Field(default=None, description="how a failure is treated, see `singalong.errors`")
    error_message: str | None = Field(default=None, description="what went wrong, and what to do")
    num_attempts: int = Field(default=0, description="tries, of all its shards together")
    face_coverage: float | None = Field(default=None, description="share of frames with a usable face, 0 to 1")
    passed_through: dict[str, int] = Field(
        default_factory=dict, description="frames left as they are, by why: no_face, turned, blurred and so on"
    )
    sync_confidence: float | None = Field(default=None, description="LSE-C, on the scorer's scale; higher is better")
    sync_distance: float | None = Field(default=None, description="LSE-D, on the scorer's scale; lower is better")
    sync_offset_frames: int | None = Field(default=None, description="in 25 fps frames; 0 is in sync")
    confidence_mismatched: float | None = Field(default=None, description="the same lips against wrong audio")
    confidence_untouched: float | None = Field(default=None, description="the clip as it was, against the song")
    num_windows: int | None = Field(default=None, description="windows that were scored")
    voiced_share: float | None = Field(default=None, description="share of frames in which somebody sings")
    rest_motion: float | None = Field(default=None, description="mouth motion while nobody sings")
    generator: str | None = Field(default=None, description="model that made the mouth")
    weights_sha256: str | None = Field(default=None, description="of its weights, hex")
    enhancer: str | None = Field(default=None, description="name and SHA-256 of the face enhancer")
    scorer: str | None = Field(default=None, description="model that scored it; scores of two scorers do not compare")
    detector: str | None = Field(default=None, description="model that found the faces")
    seconds_total: float | None = Field(default=None, description="wall seconds of work")
    peak_rss_mb: float | None = Field(default=None, description="most memory a worker held, MB")
    output: str | None = Field(default=None, description="the film, from the run folder; of a shard its segment's path")
    output_sha256: str | None = Field(default=None, description="of that file, hex")
    rights: str | None = Field(default=None, description="who allowed this use, as the manifest has it")
    created_at: str | None = Field(default=None, description="when the work was done, ISO 8601")
    tags: dict[str, str] = Field(default_factory=dict, description="the manifest's own columns")


class ReportRow(_Outcome):
    """One shard; or one manifest row that could not be planned, which has no shard."""

    shard_id: str | None = Field(default=None, description="name of the shard; none where the row could not be planned")
    work_key: str | None = Field(default=None, description="what the store keeps its result under")
    start_frame: int | None = Field(default=None, description="its first output frame, counted from the pair's start")
    end_frame: int | None = Field(default=None, description="its last output frame, exclusive")
    device: str | None = Field(default=None, description="cpu, or the GPU it was made on")
    node: str | None = Field(default=None, description="machine it was made on")
    seconds: dict[str, float] = Field(default_factory=dict, description="wall seconds by stage")


class PairReportRow(_Outcome):
    """One pair: its shards together, with the score of the whole; `output` is its film, from the run
    folder.
    """

    position: float | None = Field(default=None, description="place in the montage")
    priority: int = Field(default=0, description="as the manifest has it; higher comes first")
    num_shards: int = Field(default=0, description="parts it is made in")
    num_done: int = Field(default=0, description="shards done")
    duration_s: float | None = Field(default=None, description="length of the film, seconds")
    thumbnail: str | None = Field(default=None, description="picture of the film, from the run folder")
    num_takes: int = Field(default=1, description="how often it was made, in this run and in those before it")
    take_run_id: str | None = Field(default=None, description="whose take stands, where there are several")
    confidence_before: float | None = Field(
        default=None, description="`sync_confidence` of the take that stood before this run made the pair again"
    )
    verdict_before: Verdict | None = Field(default=None, description="`verdict` of that take")
    review_ruling: Ruling | None = Field(default=None, description="what a person decided of this film")
    review_reason: str | None = Field(default=None, description="why, in that person's words")
    review_settings: tuple[str, ...] = Field(
        default=(), description="what to make it again with, column=value or section.key=value"
    )
    reviewer: str | None = Field(default=None, description="who decided")
    asked_settings: tuple[str, ...] = Field(
        default=(), description="what it was made again with because a person asked for it"
    )
    asked_by: str | None = Field(default=None, description="who sent the take before back")
    asked_reason: str | None = Field(default=None, description="why, in that person's words")


class TakeRow(Row):
    """One take of a pair that was made more than once."""

    run_id: str = Field(description="run that reports it")
    pair_id: str = Field(description="name of the pair")
    take: int = Field(description="1 is the oldest")
    take_run_id: str = Field(description="run in whose plan it is")
    stands: bool = Field(description="whether it is the one in the films")
    done: bool = Field(description="whether all its shards are done")
    rejected: bool = Field(description="whether a person sent it back")
    verdict: Verdict | None = Field(default=None, description="as in pairs.parquet")
    sync_confidence: float | None = Field(default=None, description="LSE-C; higher is better")
    sync_distance: float | None = Field(default=None, description="LSE-D; lower is better")
    sync_offset_frames: int | None = Field(default=None, description="in 25 fps frames; 0 is in sync")
    scorer: str | None = Field(default=None, description="model that scored it")
    generator: str = Field(description="model that made the mouth")
    weights_sha256: str = Field(description="of its weights, hex")
    work_keys: tuple[str, ...] = Field(description="of its shards: where the store keeps it")


class MontageReportRow(Row):
    """One montage; `output` is its film, from the run folder."""

    run_id: str = Field(description="run that reports it")
    parent_run_id: str | None = Field(default=None, description="run that this one makes part of again")
    montage: str = Field(description="name of the montage, and of its film")
    status: Status = Field(description="done where its film stands and has all its pairs")
    verdict: Verdict | None = Field(default=None, description="the worst of its pairs")
    error_class: ErrorClass | None = Field(default=None, description="of its own failure, or of its first failed pair")
    error_message: str | None = Field(default=None, description="what went wrong, and what to do")
    num_pairs: int = Field(description="pairs it is to be made of")
    num_done: int = Field(description="pairs done")
    missing: tuple[str, ...] = Field(default=(), description="pairs that the film was made without")
    num_frames: int = Field(default=0, description="frames of its pairs together")
    duration_s: float | None = Field(default=None, description="length of the film, seconds")
    sync_confidence_mean: float | None = Field(default=None, description="mean of its pairs")
    sync_confidence_min: float | None = Field(default=None, description="lowest of its pairs")
    output: str | None = Field(default=None, description="the film, from the run folder")
    output_sha256: str | None = Field(default=None, description="of the film, hex")
    thumbnail: str | None = Field(default=None, description="picture of the film, from the run folder")
    rights: str | None = Field(default=None, description="those of its pairs, each once")


RowT = TypeVar("RowT", bound=Row)


def report_schema(model: type[Row], tags: Sequence[str] = ()) -> pa.Schema:
    """Arrow schema of a report table: the columns of its record, then one text column a tag."""
    fields = [field for field in schema_of(model) if field.name != "tags"]
    fields.sort(key=lambda field: _FIRST.index(field.name) if field.name in _FIRST else len(_FIRST))
    fields += [pa.field(TAG_PREFIX + tag, pa.string()) for tag in tags]
    return pa.schema(fields, metadata={VERSION_KEY: str(REPORT_SCHEMA_VERSION)})


def report_table(model: type[RowT], rows: Sequence[RowT]) -> pa.Table:
    """Rows without tags as a table of `report_schema`; for tables of few rows."""
    schema = report_schema(model)
    return to_table(model, rows).select(schema.names).replace_schema_metadata(schema.metadata)


def table_of(
    model: type[Row], columns: Mapping[str, Any], *, num_rows: int, tags: Mapping[str, pa.Array | None]
) -> pa.Table:
    """Columns as a table of `report_schema`.

    Args:
        model: the record of its rows.
        columns: by name an array, or one value for all rows; what is not named gets the record's default. Others than
            the record's do not matter.
        num_rows: of the table.
        tags: by name, in the order of their columns; None: no row has it.
    """
    schema = report_schema(model, list(tags))
    values = {TAG_PREFIX + name: column for name, column in tags.items()}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    given = {**defaults, **columns, **values}
    arrays = [_array(given[field.name], field.type, num_rows) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def rows_of(model: type[RowT], table: pa.Table) -> list[RowT]:
    """The records of a report table, tags and all."""
    names = [name for name in table.column_names if name.startswith(TAG_PREFIX)]
    tags = {name.removeprefix(TAG_PREFIX): table[name].to_pylist() for name in names}
    return [
        row.model_copy(update={"tags": {name: own[n] for name, own in tags.items() if own[n] is not None}})
        if tags
        else row
        for n, row in enumerate(from_table(model, table))
    ]


def _array(value: Any, kind: pa.DataType, num_rows: int) -> pa.Array:
    """A column as the schema has it, of an array or of one value for all rows."""
    if isinstance(value, pa.Array):
        return value if value.type == kind else value.cast(kind)
    if value is None:
        return pa.nulls(num_rows, kind)
    if pa.types.is_map(kind) or pa.types.is_list(kind):
        one = list(value.items()) if isinstance(value, dict) else list(value)
        return pa.array([one], kind).take(pa.array(np.zeros(num_rows, np.int64)))
    return pa.repeat(pa.scalar(value.value if isinstance(value, Enum) else value, kind), num_rows)
