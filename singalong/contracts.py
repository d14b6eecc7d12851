"""The records that travel between steps, and from process to process.

Frozen pydantic models that validate once, at the border. Ranges are half-open: `end_frame` and `end_s` are
exclusive. Times are seconds on the clip's or song's own time line, which starts at 0 where its container
starts. Frame rates are exact fractions. Boxes are `(x1, y1, x2, y2)` in pixels of the upright frame,
exclusive ends.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from singalong.errors import ErrorClass


class Row(BaseModel):
    """Base of all records: frozen, no unknown fields, and no NaN: what is not known is None."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


@cache
def _fraction(value: Any) -> Fraction:
    return Fraction(value)


class ManyRow(Row):
    """Base of records of which there may be a million: those that were given the same fields share the list of them."""

    def model_post_init(self, _context: object) -> None:
        """Share it; nothing changes it, for records are frozen."""
        given = self.__pydantic_fields_set__
        object.__setattr__(self, "__pydantic_fields_set__", _FIELDS_GIVEN.setdefault(frozenset(given), given))


_FIELDS_GIVEN: dict[frozenset[str], set[str]] = {}


Rate = Annotated[
    Fraction,
    BeforeValidator(lambda value: value if type(value) is Fraction else _fraction(value)),
    PlainSerializer(lambda value: f"{value.numerator}/{value.denominator}", return_type=str),
]
"""Frames per second as an exact fraction; "30000/1001" in files."""


class Fit(StrEnum):
    """What happens when the song span outlasts the clip span."""

    CUT = "cut"
    LOOP = "loop"
    BOUNCE = "bounce"
    HOLD = "hold"


class Status(StrEnum):
    """Where a shard stands."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Verdict(StrEnum):
    """What the scores say of a finished shard or pair."""

    PASS = "pass"
    REVIEW = "review"
    FAIL = "fail"
    NOT_SCORABLE = "not scorable"


class PairRow(ManyRow):
    """One manifest row, checked: paths are absolute, defaults are filled in, tags are carried along."""

    row: int = Field(description="1-based data row in the manifest; those of several files are numbered through")
    place: str | None = Field(
        default=None, description="where it stands, if not in that row of one file: a file and its row, or a clip"
    )
    pair_id: str
    clip: str
    song: str
    clip_start_s: float | None = None
    clip_end_s: float | None = None
    song_start_s: float | None = None
    song_end_s: float | None = None
    to_song_end: bool = Field(
        default=False, description="sings its song to the end where none is given, in montages too"
    )
    montage: str | None = None
    position: float | None = None
    face: str = "largest"
    fit: Fit = Fit.BOUNCE
    generator: str | None = None
    vocals: str = "auto"
    rights: str | None = None
    priority: int = 0
    tags: dict[str, str] = Field(default_factory=dict)
    overrides: tuple[str, ...] = Field(
        default=(), description="settings of its own, section.key=value: what a person asked for in a review"
    )

    @property
    def is_laid_end_to_end(self) -> bool:
        """Whether its song span follows from the montage: from where the row before ends, as long as its clip."""
        says_nothing = self.song_start_s is None and self.song_end_s is None and not self.to_song_end
        return self.montage is not None and says_nothing


class ClipFacts(Row):
    """What probing a clip or still told us. Width and height are of the upright, even-sized frame we
    output.
    """

    path: str
    sha256: str
    num_bytes: int
    is_still: bool
    width: int
    height: int
    rotation_deg: int = Field(description="clockwise turn that makes the coded frame upright: 0, 90, 180 or 270")
    is_mirrored: bool = Field(default=False, description="whether left and right change places after the turn")
    fps: Rate = Field(description="average frame rate; the configured still rate for a still image")
    num_frames: int = Field(description="frames the container really holds; 1 for a still")
    first_frame_s: float = Field(description="presentation time of the first frame; may be late")
    duration_s: float = Field(description="end of the last frame; infinite for a still is given as 0")
    is_vfr: bool
    codec: str
    pix_fmt: str
    sample_aspect_ratio: Rate = Fraction(1)
    has_audio: bool
    audio_duration_s: float = 0.0
    still_motion: float = Field(default=0.0, description="share of itself that a still drifts and zooms; 0: not")
    file_sha256: str | None = Field(default=None, description="of the file, where `sha256` stands for its motion, too")
    warnings: tuple[str, ...] = ()


class SongFacts(Row):
    """What decoding a song's audio once told us; `duration_s` is exact (samples over rate)."""

    path: str
    sha256: str
    num_bytes: int
    sample_rate_hz: int
    num_channels: int
    num_samples: int
    duration_s: float
    codec: str
    heard_channel: int | None = Field(
        default=None, description="the loudest channel, where all together cancel each other out; None: their mean"
    )
    warnings: tuple[str, ...] = ()


class ModelRef(Row):
    """A model by its registry name; `weights_sha256` is part of every work key."""

    name: str
    architecture: str
    path: str | None = Field(default=None, description="weights file; None for weights made from a fixed seed")
    weights_sha256: str
    trained: bool = True


class PairPlan(ManyRow):
    """A pair with every default resolved: what the output will be, frame by frame."""

    pair_id: str
    row: int
    place: str | None = Field(default=None, description="see `PairRow.place`")
    clip: str
    clip_sha256: str
    clip_file_sha256: str | None = Field(default=None, description="where it differs: see `ClipFacts.file_sha256`")
    song: str
    song_sha256: str
    voice: str = Field(description="audio that drives the lips and the scores: the song, or the row's own stem")
    voice_sha256: str
    finds_voice: bool = Field(
        default=False, description="whether the voice is a mix in which somebody sings here and there"
    )
    voice_channel: int | None = Field(default=None, description="the voice's only channel; None: the mean of all")
    separator_id: str | None = Field(default=None, description="the separator that the voice goes through first")
    clip_start_s: float
    clip_end_s: float
    song_start_s: float
    song_end_s: float
    fps: Rate
    width: int
    height: int
    num_frames: int = Field(description="round(span_s * fps)")
    face: str
    picture_sha256: str | None = Field(default=None, description="content of the picture that `face` names after like:")
    fit: Fit
    generator: ModelRef
    montage: str | None = None
    position: float | None = None
    rights: str | None = None
    priority: int = 0
    tags: dict[str, str] = Field(default_factory=dict)
    overrides: tuple[str, ...] = Field(default=(), description="settings of its own, see `PairRow`")


class ShardPlan(ManyRow):
    """A slice [start_frame, end_frame) of a pair's output frames: the unit of work, retry and commit."""

    shard_id: str
    pair_id: str
    index: int
    start_frame: int
    end_frame: int
    work_key: str

    @property
    def num_frames(self) -> int:
        """Number of output frames."""
        return self.end_frame - self.start_frame


class Plan(Row):
    """One run's plan: immutable, made before any work starts."""

    run_id: str
    parent_run_id: str | None = None
    created_at: str
    algorithm_version: int
    detector: ModelRef
    scorer: ModelRef | None
    enhancer: ModelRef | None = None
    pairs: tuple[PairPlan, ...]
    shards: tuple[ShardPlan, ...]
    problems: tuple[RowProblem, ...] = ()


class RowProblem(Row):
    """A manifest row that cannot be planned, e.g. because its clip is unreadable: it is quarantined, the rest
    runs.
    """

    pair_id: str
    row: int
    place: str | None = Field(default=None, description="see `PairRow.place`")
    clip: str
    song: str
    montage: str | None = None
    error_class: ErrorClass = ErrorClass.INPUT
    error_message: str
    rights: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class Failure(Row):
    """How an attempt failed; actors return this instead of raising."""

    error_class: ErrorClass
    message: str
    traceback: str = ""
    file_changed: bool = Field(
        default=False, description="the file was not the one that was planned: with that one back, it can be done"
    )


class SyncScore(Row):
    """Sync scores of a span by one scorer; None where not scorable."""

    scorer: str | None = None
    num_windows: int = Field(default=0, description="voiced 5-frame windows with a face that were averaged")
    confidence: float | None = Field(default=None, description="LSE-C: median minus minimum of the offset curve")
    distance: float | None = Field(default=None, description="LSE-D: minimum of the offset curve")
    offset_frames: int | None = Field(default=None, description="where the minimum lies, in 25 fps frames")
    confidence_mismatched: float | None = Field(default=None, description="the output against wrong audio")
    confidence_untouched: float | None = Field(default=None, description="the untouched clip against the song")


class ShardResult(Row):
    """What a finished shard left in the store; the content of its commit marker."""

    work_key: str
    segment_sha256: str
    frames_sha256: str
    num_frames: int
    num_face_frames: int = Field(description="frames with a usable face, i.e. that were lip-synced")
    passed_through: dict[str, int] = Field(
        default_factory=dict, description="frames left as they are, by why: no_face, turned, blurred and so on"
    )
    num_voiced_frames: int
    rest_motion: float | None
    score: SyncScore
    device: str
    node: str
    seconds: dict[str, float] = Field(description="wall seconds per stage: decode, generate, paste, encode, score…")
    peak_rss_mb: float
    created_at: str


class Title(Row):
    """What a part of a montage says of itself: a name and, if wanted, how good its sync is."""

    name: str
    note: str = Field(default="", description="second line; none where empty")
    verdict: Verdict | None = Field(default=None, description="shown as a coloured dot before the note")


class StartedMark(Row):
    """That an attempt was about to start; written before it, so that a shard that kills its worker is known."""

    shard_id: str
    attempt: int
    work_key: str
    started_at: str
    worker: str = ""


class AttemptRow(Row):
    """One try at one shard: exactly one of result and failure is set. Written once, never changed."""

    run_id: str
    shard_id: str
    attempt: int
    work_key: str
    reused: bool = Field(default=False, description="the store already held the result; nothing was computed")
    result: ShardResult | None = None
    failure: Failure | None = None
    final: bool = Field(default=True, description="no further try follows; False while a failure is to be retried")
    started_at: str
    finished_at: str
    worker: str = ""

    @model_validator(mode="after")
    def _is_one_outcome(self) -> Self:
        if (self.result is None) == (self.failure is None):
            raise ValueError("an attempt has either a result or a failure")
        if self.result is not None and self.result.work_key != self.work_key:
            raise ValueError(f"the result is that of {self.result.work_key}, not of {self.work_key}")
        return self


Plan.model_rebuild()
