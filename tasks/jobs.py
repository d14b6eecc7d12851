"""What a worker can be asked to do, and what it answers: small frozen records that cross process borders.

Frames never do: a job names files and spans, an outcome names what was committed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from singalong.config import Settings
from singalong.contracts import (
    ClipFacts,
    Failure,
    ModelRef,
    PairPlan,
    Rate,
    Row,
    ShardPlan,
    ShardResult,
    Title,
)


class WorkerSpec(Row):
    """All a worker needs to know before its first job; the same for every worker of a run."""

    settings: Settings
    store: str
    detector: ModelRef
    scorer: ModelRef | None
    enhancer: ModelRef | None = None
    device: str | None = Field(default=None, description="torch device; None: the GPU if the worker has one")
    files: tuple[str, ...] = Field(default=(), description="files of the run that every node of a cluster must see")


class LogPlace(Row):
    """Where a worker tells of a try: a file that all see, or one of the driver's machine that others see at a URL."""

    path: str
    host: str = Field(default="", description="the machine that has the file, where others do not")
    url: str | None = Field(default=None, description="where workers on other machines send theirs at the end")


class LoggedRow(Row):
    """Base of all jobs."""

    log: LogPlace | None = Field(default=None, description="None: nobody asked")


class AnalyseJob(LoggedRow):
    """Find shots, faces and tracks of one clip."""

    kind: Literal["analyse"] = "analyse"
    clip: ClipFacts


class SongJob(LoggedRow):
    """Prepare the mel spectrogram and the voice activity of one song or stem."""

    kind: Literal["song"] = "song"
    path: str
    sha256: str
    finds_voice: bool = Field(default=False, description="whether it is a mix in which the voice is to be found")
    channel: int | None = Field(default=None, description="the only channel heard; None: the mean of all")
    separates: bool = Field(default=False, description="whether the separator that is set comes first")


class SpeakersJob(LoggedRow):
    """Judge who of the people in each shot of a clip speaks; `analysis` is the cache folder of the clip's analysis."""

    kind: Literal["speakers"] = "speakers"
    clip: ClipFacts
    analysis: str


class LikenessJob(LoggedRow):
    """Find what the largest face of a picture looks like."""

    kind: Literal["likeness"] = "likeness"
    image: ClipFacts


class LipsyncJob(LoggedRow):
    """Make one shard: the clip's frames with the mouth of the song, encoded and scored.

    `analysis` and `song` are the cache folders made for the pair's clip and voice; `speakers` and `likeness` those
    made where the pair's face is the speaker, or is to be like a picture.
    """

    kind: Literal["lipsync"] = "lipsync"
    pair: PairPlan
    shard: ShardPlan
    clip: ClipFacts
    analysis: str
    song: str
    speakers: str | None = None
    likeness: str | None = None
    batch_size: int


class SpanOfSong(Row):
    """A span of a song, as the audio of a film; `sha256` is what the song held when it was planned."""

    path: str
    start_s: float
    end_s: float
    sha256: str | None = None


class Signing(Row):
    """What films are signed with; PEM files."""

    certificate: str
    private_key: str | None = Field(default=None, description="None: our own, in one file with its certificate")
    certificate_id: str = Field(description="changes whenever films are to be signed anew")


class SourceFile(Row):
    """A file that a film was made of, as its content credentials name it."""

    role: str = Field(description="clip or song")
    title: str
    sha256: str
    rights: str | None = None


class Credentials(Row):
    """What a film's content credentials tell of its making."""

    signing: Signing
    sources: tuple[SourceFile, ...]
    models: tuple[ModelRef, ...]
    rights: str | None = None


class JoinJob(LoggedRow):
    """Join finished segments and the untouched song into one film, and make its thumbnail."""

    kind: Literal["join"] = "join"
    name: str = Field(description="pair_id or montage name")
    segments: tuple[str, ...]
    audio: tuple[SpanOfSong, ...]
    keeps_sound: bool = Field(default=False, description="other films sound the same: it is encoded once for all")
    output: str
    thumbnail: str
    fps: Rate
    metadata: dict[str, str]
    credentials: Credentials | None = None


class CropGuide(Row):
    """What is known of a pair's film that is to be cropped: where its face is, and what it bears."""

    tables: tuple[str, ...] = Field(description="frames tables of its shards, in order")
    content_ids: tuple[str, ...] = Field(description="of the tables; change whenever they do")
    shots: str | None = Field(
        default=None, description="shots.parquet of the clip's analysis; None: it is no longer there"
    )
    width: int = Field(description="of the pair's frames, in whose pixels the boxes are")
    height: int
    label: str = Field(default="", description="painted again where cropping cuts it off")


class ConformJob(LoggedRow):
    """Bring one finished pair to a montage's common size and frame rate, under its title if it has one."""

    kind: Literal["conform"] = "conform"
    source: str
    source_sha256: str
    width: int
    height: int
    fps: Rate
    num_frames: int
    crf: int
    preset: str
    title: Title | None = None
    fill: Literal["black", "blur", "crop"] = "black"
    crop: CropGuide | None = Field(default=None, description="if it is to be cropped")


class SurveyJob(LoggedRow):
    """Look at a talking video before it is cut into training sequences: what it is, where its faces are."""

    kind: Literal["survey"] = "survey"
    path: str
    dataset: str
    version: str = Field(description="of the dataset: names settings and models")


class SequencesJob(LoggedRow):
    """Cut a span of a talking video into training sequences; `analysis` is the folder its survey left."""

    kind: Literal["sequences"] = "sequences"
    clip: ClipFacts
    source: str = Field(description="path for the records, relative to the folder of videos")
    analysis: str
    dataset: str
    version: str
    span: int
    start_s: float
    end_s: float


Job = Annotated[
    AnalyseJob | SongJob | SpeakersJob | LikenessJob | LipsyncJob | JoinJob | ConformJob | SurveyJob | SequencesJob,
    Field(discriminator="kind"),
]


class Survey(Row):
    """What surveying a video found, and which of its spans are not in the dataset yet."""

    clip: ClipFacts
    analysis: str
    spans: tuple[int, ...]


class FilmFacts(Row):
    """A finished film on disk."""

    path: str
    sha256: str
    num_frames: int
    duration_s: float
    num_bytes: int | None = Field(default=None, description="of a film that was put at a URL")
    content_sha256: str | None = Field(
        default=None, description="without content credentials, whose signature is another each time; None: no record"
    )

    @property
    def content_id(self) -> str:
        """Hash that stays when the same film is made again."""
        return self.content_sha256 or self.sha256


class Segment(Row):
    """A piece of film that can be joined as it is; `content_id` changes whenever its bytes do."""

    path: str
    content_id: str


class Outcome(Row):
    """A worker's answer: exactly one of the results, or a failure. Workers return rows and never raise."""

    failure: Failure | None = None
    shard: ShardResult | None = None
    film: FilmFacts | None = None
    folder: str | None = Field(default=None, description="cache folder that was filled")
    survey: Survey | None = None
    node_lost: bool = Field(default=False, description="whether it failed because its whole node went away")
    seconds: float = 0.0
    worker: str = ""
    traffic: dict[tuple[str, str], float] = Field(default={}, description="see `singalong.traffic`")

    @property
    def ok(self) -> bool:
        """Whether the job was done."""
        return self.failure is None
