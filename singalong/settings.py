"""Settings by section, one for each step: frozen, every key described, unknown keys refused."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlanSettings(Section):
    """How pairs are laid over songs and cut into shards."""

    shard_s: float = Field(default=10.0, gt=0, description="Length of a shard's output, seconds.")
    still_fps: int = Field(default=25, ge=12, le=120, description="Frame rate given to a still image.")
    still_motion: float = Field(
        default=0.0, ge=0, le=0.1, description="Share of itself that a still drifts and zooms; 0: not, 0.02: gently."
    )
    snap_to_beats: bool = Field(
        default=True, description="Montage rows without a song span of their own end on a beat of the song."
    )


class SongSettings(Section):
    """What is done to songs before they are heard."""

    separator: tuple[str, ...] = Field(
        default=(),
        description="Command for `vocals = separate`, a list of arguments; {song}, {folder}, {output} are filled in.",
    )
    separated: str = Field(
        default="**/vocals.*", min_length=1, description="The one file the separator leaves in {folder}; a pattern."
    )
    separator_timeout_s: float = Field(
        default=1400.0, gt=0, description="A separator running longer, or 0.8 of run.shard_timeout_s, is killed."
    )

    @field_validator("separator")
    @classmethod
    def _can_work(cls, separator: tuple[str, ...]) -> tuple[str, ...]:
        text = " ".join(separator)
        if separator and not ("{song}" in text and ("{folder}" in text or "{output}" in text)):
            raise ValueError("expected {song}, and {folder} or {output}, among the arguments")
        return separator

    @field_validator("separated")
    @classmethod
    def _is_below(cls, separated: str) -> str:
        if PurePath(separated).is_absolute() or ".." in PurePath(separated).parts:
            raise ValueError("expected a pattern of files below {folder}, e.g. **/vocals.*")
        return separated


class LimitSettings(Section):
    """What media is refused before anything large is allocated."""

    max_pixels: int = Field(default=8192 * 4320, gt=0, description="Largest frame, width times height.")
    max_duration_s: float = Field(default=6 * 3600.0, gt=0, description="Longest clip or song, seconds.")
    max_frames: int = Field(
        default=4_000_000, gt=0, description="Most frames of a clip: six hours at 120 a second are 2.6 million."
    )
    media_roots: tuple[str, ...] = Field(
        default=(),
        description="Folders or URLs that a manifest's files must lie in, links followed; empty: anywhere. For "
        "whoever runs manifests of others.",
    )
    min_sample_rate_hz: int = Field(
        default=1000, ge=100, description="Lowest sample rate of a song; telephones have 8000."
    )
    max_sample_rate_hz: int = Field(default=1_000_000, gt=0, description="Highest; studios record at up to 768000.")
    probe_timeout_s: float = Field(
        default=120.0, gt=0, description="Longest look into a file, seconds, and five more for every MB of it."
    )
    probe_memory_mb: int = Field(
        default=4096, ge=256, description="Most memory for a look into a file; 17 frames of 8K, 10 bits, are 1.8 GB."
    )
    min_side_px: int = Field(default=32, ge=16, description="Smallest frame side that makes sense.")


READ_TIME_SETTINGS = frozenset({"min_face_px", "max_turn_deg", "max_tilt_deg", "min_sharpness"})
"""Settings of the analysis that apply where it is read: another value needs no new analysis."""


class AnalysisSettings(Section):
    """Shots, faces and tracks of a clip; a change here makes a new analysis, but for READ_TIME_SETTINGS."""

    detector: str = Field(default="centerface", description="Registry name of the face detector.")
    detect_every_s: float = Field(default=0.2, gt=0, description="Longest time between two looks at a face, seconds.")
    follow_s: float = Field(
        default=0.6,
        ge=0,
        description="Longest time in which looks may follow a face by its picture instead of detecting it, seconds; "
        "0 detects it in each.",
    )
    detect_side_px: int = Field(
        default=480,
        ge=64,
        description="Longer side of the frame the detector sees: it finds faces from 24 px there, a twentieth of 480.",
    )
    min_score: float = Field(default=0.5, gt=0, lt=1, description="Detections below this are not faces.")
    max_gap_s: float = Field(default=0.8, ge=0, description="A track survives misses up to this long.")
    min_face_px: int = Field(default=24, gt=0, description="Faces lower than this are not usable.")
    max_turn_deg: float = Field(
        default=40.0,
        gt=0,
        le=90,
        description="Faces turned further to the side are not usable: real profiles measure 52 to 61, and from 40 on "
        "the bundled generator draws lips on cheeks.",
    )
    max_tilt_deg: float = Field(
        default=30.0,
        gt=0,
        le=180,
        description="Faces tilted further to a shoulder are not usable: from 32 on the bundled generator misses the "
        "mouth; it was trained to 20.",
    )
    min_sharpness: float = Field(
        default=0.27,
        ge=0,
        description="Faces more blurred are not usable: real ones measure 0.42 to 1.1, 24 pixels high at least 0.32, "
        "blurred by a twentieth of their height 0.14 to 0.21.",
    )
    smoothing: Literal["zero_phase", "paper"] = Field(
        default="zero_phase", description="How a face's path is smoothed: without lag, or the paper's mean of frames."
    )
    smooth_s: float = Field(
        default=0.4,
        ge=0,
        description="Reach of the zero-phase smoothing to either side, seconds; on real clips longer ones flatten "
        "nods, shorter ones smooth no more than lines do.",
    )
    smooth_window: int = Field(default=5, ge=1, description="Frames in the paper's box smoothing; 1 is off.")


class LipsyncSettings(Section):
    """Generation and paste-back; a change here makes new pixels, so it is part of the work key."""

    generator: str = Field(default="auto", description="Registry name, or auto: the best installed.")
    pads: tuple[int, int, int, int] = Field(
        default=(0, 10, 0, 0), description="Pixels added to the box: top, bottom, left, right (as in the paper)."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 where the device computes it natively, else float32."
    )
    mask: Literal["lower_face", "box"] = Field(
        default="lower_face",
        description="What is pasted back: below the eyes and within the jaw, or the whole box. The paper's paste is "
        "box, feather 0, match_color false and keep_detail false.",
    )
    feather: float = Field(
        default=0.12, ge=0, le=0.5, description="Width of the soft edge of the pasted face, as a share of the box."
    )
    match_color: bool = Field(
        default=True, description="Painted faces get the clip's colours, as measured where they only repeat it."
    )
    keep_detail: bool = Field(
        default=True,
        description="Painted faces get the clip's own detail where they only repeat it; else enlarged as in the paper.",
    )
    enhancer: str = Field(default="none", description="Registry name of a face enhancer (see models add), or none.")
    enhancer_weight: float = Field(
        default=0.7, ge=0, le=1, description="How much of what the enhancer changes shows, in the lower face alone."
    )
    rest: bool = Field(
        default=True,
        description="The bundled generator shuts the mouth where nobody sings for a second: no band moves the lips.",
    )
    label: str = Field(
        default="",
        max_length=60,
        description='Text at the upper left of every film, such as "AI-generated"; none where empty.',
    )
    crf: int = Field(default=18, ge=0, le=40, description="x264 quality of the outputs; lower is better.")
    preset: str = Field(
        default="swift",
        description="x264 speed preset; swift is our own: superfast with CAVLC. At crf 17 veryfast looks the same in a "
        "quarter fewer bits, for two and a half times the time.",
    )


class ScoreSettings(Section):
    """Sync scoring."""

    scorer: str = Field(default="auto", description="Registry name, auto: the best installed, or none.")
    min_windows: int = Field(default=10, ge=1, description="Fewer voiced windows with a face are not scorable.")


class PrepareSettings(Section):
    """Cutting talking videos into training sequences; a change here makes another dataset."""

    max_s: float = Field(default=10.0, ge=2, le=60, description="Longest sequence, seconds; longer tracks are cut.")
    min_s: float = Field(default=1.0, ge=0.84, description="Shortest sequence, seconds; 21 frames at least.")
    span_s: float = Field(default=300.0, ge=60, description="Longer videos are prepared in spans of this length.")
    pads: tuple[int, int, int, int] = Field(
        default=(0, 0, 0, 0), description="Pixels added to the box: top, bottom, left, right (none in the paper)."
    )
    min_face_px: int = Field(default=64, ge=16, description="Lowest face; the networks see 96 pixels.")
    min_fps: float = Field(default=20.0, gt=0, description="New frames a second; fewer make mouths stand still.")
    min_windows: int = Field(default=25, ge=10, description="Fewer voiced windows do not tell the offset.")
    min_confidence: float | None = Field(
        default=None, description="Least sync confidence; default: where the scorer's card says that films fail."
    )
    min_margin: float = Field(default=0.0, description="Confidence must exceed that with wrong audio by this.")
    max_offset_frames: int = Field(
        default=7,
        ge=0,
        le=15,
        description="Largest offset that is corrected, in 25 fps frames; larger ones are guesses.",
    )


class FilmSettings(Section):
    """What montages show beside the pictures, and what every film says of its making."""

    titles: Literal["none", "name", "score"] = Field(
        default="none",
        description="Label on each part: its tag_title, or else its pair_id; score adds its sync scores and verdict.",
    )
    fill: Literal["black", "blur", "crop"] = Field(
        default="black",
        description="What becomes of a part of another shape: it is surrounded by black, or by itself, out of focus; "
        "or it is cropped around the face that sings.",
    )
    credentials: Literal["auto", "none"] = Field(
        default="auto", description="Content credentials (C2PA) in every film; auto: where the library works."
    )
    certificate: str | None = Field(
        default=None,
        description="PEM file of your certificate and its chain; default: one of our own, which proves that a film is "
        "unchanged but not who made it.",
    )
    certificate_key: str | None = Field(default=None, description="PEM file of the certificate's private key.")


class RunSettings(Section):
    """Where and how a run executes; never part of a work key."""

    store: str | None = Field(
        default=None, description="Store of finished work, a folder or an s3:// URL; default: see default_store()."
    )
    cache_dir: str | None = Field(
        default=None,
        description="Where files of a store at a URL are kept on each machine; default: the user's cache directory.",
    )
    cache_gb: float = Field(
        default=50.0,
        gt=0,
        description="Limit, on each machine, for what was fetched from URLs; least recently used goes first. A store "
        "in a folder is not trimmed, but for media from URLs.",
    )
    executor: Literal["ray", "inprocess"] = Field(default="ray", description="inprocess: for tests and debugging.")
    num_actors: int | None = Field(default=None, ge=1, description="Workers; default: one a core, or a GPU share.")
    gpus_per_actor: float = Field(default=0.25, gt=0, le=1, description="Share of a GPU each actor takes.")
    batch_size: int = Field(
        default=8,
        ge=1,
        le=512,
        description="Frames generated at once; on a GPU the number to begin with, which grows while memory is free. "
        "On a CPU 16 are no faster and take 60 MB more.",
    )
    chunk_frames: int = Field(
        default=16,
        ge=5,
        le=1024,
        description="Frames held in memory at once, per actor; more where a GPU's batch has grown beyond it.",
    )
    decoder: Literal["auto", "cpu", "nvidia"] = Field(
        default="auto",
        description="auto: the GPU's own decoder (NVDEC) where it opens and gives the same bits, else the processor.",
    )
    encoder: Literal["auto", "cpu", "nvidia"] = Field(
        default="auto",
        description="auto: the GPU's own encoder (NVENC) where it opens and its pictures are as good as x264's, else "
        "x264; HDR is always x265's.",
    )
    shard_timeout_s: float = Field(default=1800.0, gt=0, description="A shard running longer is killed.")
    ray_address: str | None = Field(default=None, description="An existing Ray cluster; default: a local one.")
    bug_limit: int = Field(default=5, ge=1, description="This many BUG failures stop the run.")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Serve Prometheus metrics on 127.0.0.1 during a run; 0: any port."
    )
    metrics_file: str | None = Field(
        default=None, description="Write metrics there, a *.prom file for node_exporter's textfile collector."
    )
    metrics_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=120,
        description="Label `run` of the metrics; default: the run folder's name.",
    )
    ray_metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Where the run's own Ray serves its metrics; default: it serves none."
    )

    @field_validator("metrics_file")
    @classmethod
    def _is_collected(cls, metrics_file: str | None) -> str | None:
        if metrics_file is not None and not metrics_file.endswith(".prom"):
            raise ValueError("expected a name that ends in .prom; node_exporter reads no other")
        return metrics_file


class StageSettings(Section):
    """What each worker of a stage takes of a Ray cluster."""

    gpus: float | None = Field(
        default=None,
        ge=0,
        description="GPUs, or a share of one; default: run.gpus_per_actor for stages that use it, where there are any.",
    )
    cpus: float = Field(default=1.0, gt=0, description="Cores.")
    memory_gb: float | None = Field(default=None, gt=0, description="Memory set aside for it, GB of 2**30 bytes.")
    num_actors: int | None = Field(
        default=None, ge=1, description="Workers, also of nodes that are yet to come; default: run.num_actors."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels its node must have, as Ray selects them: value, !value, in(a, b)."
    )


class ClusterSettings(Section):
    """What a run takes of an existing Ray cluster; one box alone shares itself out as ever."""

    wait_for_nodes_s: float = Field(
        default=600.0, gt=0, description="With no worker at all, wait this long for nodes: autoscalers take minutes."
    )
    share_code: bool = Field(
        default=True, description="Hand this program's own code to the nodes; without, each must have the same version."
    )
    lipsync: StageSettings = Field(default=StageSettings(), description="Lip-syncing shards.")
    analyse: StageSettings = Field(default=StageSettings(), description="Finding shots and faces.")
    speakers: StageSettings = Field(default=StageSettings(), description="Finding who speaks; scoring training spans.")
    songs: StageSettings = Field(default=StageSettings(), description="Preparing songs.")
    join: StageSettings = Field(default=StageSettings(), description="Joining films, and fitting clips to montages.")
