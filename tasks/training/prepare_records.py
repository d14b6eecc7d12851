"""What a prepared dataset says of itself: its identity, a marker for every finished span of a video, the table.

<dataset>/dataset.json                             what it is prepared with; one dataset, one way of preparing
<dataset>/videos/<sha256[:2]>/<sha256>/<span>.json rows of a finished span of a video, with their digest
<dataset>/failures/<hash>.json                     a video, or a span of one, that could not be prepared
<dataset>/prepared.parquet                         all rows of both, folded; one row a candidate sequence
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError

from models import registry
from singalong.config import Settings, default_models_home
from singalong.contracts import Failure, ModelRef, Row
from singalong.durable import make_dirs, write_atomic, write_parquet_atomic
from singalong.errors import ErrorClass, UsageError
from singalong.tables import to_table
from singalong.versions import PREPARE_VERSION
from tasks.analyse import analysis_version
from tasks.training.sequences import FORMAT_VERSION, find_sequence

TABLE_VERSION = 1
_IDENTITY = "dataset.json"


class Reason(StrEnum):
    """Why a candidate is no training sequence."""

    NO_SOUND = "no sound"
    NO_FACE = "no face"
    TOO_SHORT = "too short"
    SMALL_FACE = "small face"
    FEW_FRAMES = "low frame rate"
    LITTLE_VOICE = "little voice"
    LOW_CONFIDENCE = "low confidence"
    WRONG_SOUND = "fits wrong sound as well"
    FAR_OFFSET = "offset too large"
    ANOTHER_SPEAKS = "another face speaks"
    ERROR = "error"


class PreparedRow(Row):
    """One row of prepared.parquet: a candidate, kept or not; or a video that gave none, or failed."""

    source: str = Field(description="the video, relative to the folder it was found in")
    source_sha256: str | None = None
    sequence_id: str | None = Field(default=None, description="folder in sequences/, if kept")
    shot: int | None = None
    track: int | None = None
    start_s: float = Field(default=0.0, description="on the video's time line")
    end_s: float = Field(default=0.0, description="exclusive")
    num_frames: int = Field(default=0, description="at 25 a second")
    box_width_px: int | None = Field(default=None, description="median")
    box_height_px: int | None = Field(default=None, description="median")
    fps: float | None = Field(default=None, description="new frames a second")
    num_windows: int = Field(default=0, description="voiced windows of 5 frames that were scored")
    confidence: float | None = Field(default=None, description="LSE-C against the video's own sound")
    confidence_mismatched: float | None = Field(default=None, description="against wrong sound of the same video")
    distance: float | None = Field(default=None, description="LSE-D")
    offset_frames: int | None = Field(default=None, description="found; a kept sequence's sound is moved by it")
    kept: bool = False
    reason: Reason | None = Field(default=None, description="why it is not kept")
    error_class: ErrorClass | None = None
    error_message: str | None = None
    digest: str | None = Field(default=None, description="of the sequence's files")


class SpanMarker(Row):
    """A finished span of a video: it is not prepared again while this stands."""

    version: str
    span: int
    rows: tuple[PreparedRow, ...]
    digest: str = Field(description="SHA-256 of the rows")


class DatasetIdentity(Row):
    """dataset.json: everything that decides what a video becomes, as JSON by name."""

    format_version: int = FORMAT_VERSION
    settings: dict[str, str]

    @property
    def version(self) -> str:
        """Names this way of preparing."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]


def resolve_settings(settings: Settings, scorer: ModelRef | None) -> Settings:
    """The settings with the least confidence filled in: the scorer's fail threshold, 0 where its card has none.

    The pass threshold would be too strict: what the bundled scorer learnt is drawn, and real, synchronous clips reach
    a third of it. Above the fail threshold chance is shut out by the offset and by the margin over wrong sound.
    """
    if settings.prepare.min_confidence is not None or scorer is None:
        return settings
    card = registry.find_card(scorer.name, default_models_home())
    least = card.thresholds.get("fail_confidence", 0.0)
    return settings.model_copy(update={"prepare": settings.prepare.model_copy(update={"min_confidence": least})})


def identity_of(settings: Settings, *, detector: ModelRef, scorer: ModelRef | None) -> DatasetIdentity:
    """The identity of a dataset prepared with these settings (see `resolve_settings`) and models."""
    values: dict[str, object] = {
        "prepare version": PREPARE_VERSION,
        "analysis": analysis_version(settings.analysis, detector),
        "detector": detector.name,
        "score.scorer": scorer.name if scorer else "none",
        "scorer weights": scorer.weights_sha256 if scorer else "",
    }
    sections = {"analysis": settings.analysis, "prepare": settings.prepare}
    for section, model in sections.items():
        values |= {f"{section}.{key}": value for key, value in model.model_dump(mode="json").items()}
    return DatasetIdentity(settings={name: json.dumps(value) for name, value in values.items()})


def open_dataset(dataset: Path, identity: DatasetIdentity) -> None:
    """Make a dataset, or check that it was made in the same way.

    Raises UsageError that names what differs: sequences of two kinds in one dataset would be hard to tell apart.
    """
    path = dataset / _IDENTITY
    make_dirs(dataset)
    try:
        write_atomic(path, identity.model_dump_json(indent=1).encode(), replace=False)
    except FileExistsError:
        try:
            there = DatasetIdentity.model_validate_json(path.read_bytes())
        except ValidationError as exc:
            raise UsageError(
                "is no dataset of this version of singalong", file=path, action="Take another folder."
            ) from exc
        names = there.settings.keys() | identity.settings.keys()
        differing = sorted(name for name in names if there.settings.get(name) != identity.settings.get(name))
        if differing or there.format_version != identity.format_version:
            changes = (f"{name} was {there.settings.get(name)}, is {identity.settings.get(name)}" for name in differing)
            raise UsageError(
                "this dataset was prepared in another way",
                file=dataset,
                value="; ".join(changes) or "another format",
                expected="the settings and models it was begun with",
                action="Take another folder, or remove this one; faces that were found are remembered all the same.",
            ) from None


def marker_path(dataset: Path, sha256: str, span: int) -> Path:
    """Where the marker of a span lies."""
    return dataset / "videos" / sha256[:2] / sha256 / f"{span:04d}.json"


def write_marker(dataset: Path, sha256: str, *, span: int, version: str, rows: Sequence[PreparedRow]) -> Path:
    """Say that a span is finished."""
    marker = SpanMarker(version=version, span=span, rows=tuple(rows), digest=_digest(rows))
    path = marker_path(dataset, sha256, span)
    write_atomic(path, marker.model_dump_json(exclude_none=True, indent=1).encode())
    return path


def read_marker(path: Path, *, version: str) -> SpanMarker | None:
    """A marker of this version that reads and whose digest is right; else None."""
    try:
        marker = SpanMarker.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return marker if marker.version == version and marker.digest == _digest(marker.rows) else None


def is_finished(dataset: Path, sha256: str, span: int, *, version: str) -> bool:
    """Whether a span's marker stands, and every sequence it names."""
    marker = read_marker(marker_path(dataset, sha256, span), version=version)
    return marker is not None and all(_stands(dataset, row) for row in marker.rows if row.kept)


def _stands(dataset: Path, row: PreparedRow) -> bool:
    facts = find_sequence(dataset, row.sequence_id or "")
    return facts is not None and facts.digest == row.digest


def _digest(rows: Sequence[PreparedRow]) -> str:
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(row.model_dump_json().encode() + b"\n")
    return hashed.hexdigest()


def write_failure(dataset: Path, source: str, span: int | None, failure: Failure) -> None:
    """Keep what became of a video, or of a span of one, that could not be prepared; the next run tries it again."""
    row = PreparedRow(
        source=source, reason=Reason.ERROR, error_class=failure.error_class, error_message=failure.message
    )
    path = _failure_path(dataset, source, span)
    make_dirs(path.parent)
    write_atomic(path, row.model_dump_json(exclude_none=True, indent=1).encode())


def forget_failure(dataset: Path, source: str, span: int | None) -> None:
    """It could be prepared after all."""
    _failure_path(dataset, source, span).unlink(missing_ok=True)


def _failure_path(dataset: Path, source: str, span: int | None) -> Path:
    name = hashlib.sha256(f"{source}\n{span}".encode()).hexdigest()[:32]
    return dataset / "failures" / f"{name}.json"


def all_rows(dataset: Path, *, version: str) -> Iterator[PreparedRow]:
    """Every row of a dataset, in no order."""
    for path in (dataset / "videos").glob("*/*/*.json"):
        marker = read_marker(path, version=version)
        if marker is not None:
            yield from marker.rows
    for path in (dataset / "failures").glob("*.json"):
        yield PreparedRow.model_validate_json(path.read_bytes())


def write_table(dataset: Path, rows: Sequence[PreparedRow]) -> Path:
    """Write prepared.parquet, by video, time and track; its path."""
    path = dataset / "prepared.parquet"
    ordered = sorted(rows, key=lambda row: (row.source, row.start_s, -1 if row.track is None else row.track))
    write_parquet_atomic(to_table(PreparedRow, ordered, metadata={"singalong.prepared": str(TABLE_VERSION)}), path)
    return path
