"""ANALYSE: the shots, faces and face tracks of a clip, once for all pairs that use it.

    decode small -> split into shots -> detect faces in some frames -> link into tracks -> Parquet

One pass over the clip in one thread; at most a few dozen small frames are held, whatever the clip's length. The
folder it leaves in the store holds tracks.parquet, looks.parquet, shots.parquet and facts.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from singalong.contracts import ClipFacts, ModelRef, Row
from singalong.linking import Floats, Sample, link_samples
from singalong.looks import Look, mean_look
from singalong.media.codecs import Choice
from singalong.media.decode import ON_CPU, iter_small_frames
from singalong.settings import READ_TIME_SETTINGS, AnalysisSettings
from singalong.store import Store
from singalong.track_filling import fill_track
from singalong.track_table import (
    LOOKS_SCHEMA,
    SHOTS_SCHEMA,
    TRACKS_SCHEMA,
    ShotTable,
    TrackTable,
    looks_table,
    shot_rows,
)
from singalong.usable import READ_MARGIN_S, judged, turn_deg
from singalong.versions import ANALYSIS_VERSION
from tasks.faces import FaceSampler, ShotSamples
from tasks.shots import split_shots
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.detectors import Detector

CACHE_KIND = "analysis"

Item = TypeVar("Item")


class AnalysisFacts(Row):
    """facts.json: what an analysis found, in numbers."""

    algorithm_version: int = ANALYSIS_VERSION
    clip: str
    detector: str
    detector_sha256: str
    settings: AnalysisSettings
    width: int
    height: int
    frame_s: float = Field(description="average time from frame to frame")
    longest_frame_s: float = Field(description="longest time a frame stays on screen")
    num_frames: int = Field(description="source frames that could be decoded")
    num_shots: int
    num_tracks: int
    num_detections: int = Field(description="frames the detector looked at")
    num_face_frames: int = Field(description="source frames with a usable face")
    coverage: float = Field(description="share of source frames with a usable face")
    seconds: dict[str, float] = Field(description="wall seconds: decode, shots, detect, link and write")


@dataclass(frozen=True)
class Analysis:
    """What a span of a clip shows: its rows of tracks.parquet, all shots of the clip, and the facts."""

    tracks: TrackTable
    shots: ShotTable
    facts: AnalysisFacts

    @property
    def looks(self) -> Mapping[int, Look]:
        """What the face of each track of the span looks like, by track number."""
        return self.tracks.looks


def analysis_version(settings: AnalysisSettings, detector: ModelRef) -> str:
    """Names an analysis in the cache: a hash of the algorithm's version, the detector's weights and the settings."""
    values = settings.model_dump(mode="json", exclude=set(READ_TIME_SETTINGS))
    parts = [ANALYSIS_VERSION, detector.architecture, detector.weights_sha256, values]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{ANALYSIS_VERSION}-{digest[:16]}"


def analyse_clip(
    facts: ClipFacts,
    *,
    detector: Detector,
    detector_ref: ModelRef,
    settings: AnalysisSettings,
    store: Store,
    decoder: Choice = ON_CPU,
) -> Path:
    """Analyse a clip unless the store holds that analysis; the folder to give to `load_analysis`.

    A clip without a face is analysed like any other and leaves no tracks. Raises MediaError where nothing of it
    can be decoded.
    """

    def build(folder: Path) -> None:
        _Analyser(facts, detector, detector_ref, settings, decoder).write(folder)

    version = analysis_version(settings, detector_ref)
    return store.commit_cache(CACHE_KIND, facts.sha256, version, build)


def load_analysis(folder: Path, start_s: float, end_s: float, *, settings: AnalysisSettings | None = None) -> Analysis:
    """Read of an analysis what a span [start_s, end_s) of the clip needs, and the frame on screen as it starts.

    `settings` decide which faces are usable; by default those the analysis was made with.
    """
    facts = AnalysisFacts.model_validate_json((folder / "facts.json").read_bytes())
    shots = ShotTable.from_arrow(pq.read_table(folder / "shots.parquet"))
    first_s, last_s = start_s - facts.longest_frame_s - facts.frame_s, end_s + facts.frame_s
    near = (pc.field("pts_s") >= first_s - READ_MARGIN_S) & (pc.field("pts_s") < last_s + READ_MARGIN_S)
    table = TrackTable.from_arrow(
        pq.read_table(folder / "tracks.parquet", filters=near),
        frame_size=(facts.width, facts.height),
        frame_s=facts.frame_s,
    )
    table = judged(table, shots, settings or facts.settings)
    table = table.select((table.pts_s >= first_s) & (table.pts_s < last_s))
    return Analysis(tracks=replace(table, looks=_looks(folder, table)), shots=shots, facts=facts)


def _looks(folder: Path, tracks: TrackTable) -> dict[int, Look]:
    wanted = pc.field("track").isin(np.unique(tracks.track).tolist())
    table = pq.read_table(folder / "looks.parquet", filters=wanted)
    values = (np.asarray(look, np.float32) for look in table.column("look").to_pylist())
    return dict(zip(table.column("track").to_pylist(), values, strict=True))


class _Analyser:
    """One analysis in the making."""

    def __init__(
        self,
        clip: ClipFacts,
        detector: Detector,
        detector_ref: ModelRef,
        settings: AnalysisSettings,
        decoder: Choice = ON_CPU,
    ) -> None:
        self._decoder = decoder
        self._clip, self._detector_ref, self._settings = clip, detector_ref, settings
        self._sampler = FaceSampler(detector, settings)
        self._watch = Stopwatch()
        self._frame_s = float(1 / clip.fps)
        self._longest_frame_s = self._frame_s
        self._last_s = 0.0
        self._shots: list[dict[str, float]] = []
        self._num_tracks = 0
        self._num_face_frames = 0

    def write(self, folder: Path) -> None:
        """Fill the folder."""
        small = iter_small_frames(self._clip, max_side_px=self._settings.detect_side_px, decoder=self._decoder)
        frames = _timed(split_shots(_timed(small, self._watch, "decode")), self._watch, "shots")
        with (
            pq.ParquetWriter(folder / "tracks.parquet", TRACKS_SCHEMA, compression="zstd") as tracks,
            pq.ParquetWriter(folder / "looks.parquet", LOOKS_SCHEMA, compression="zstd") as looks,
        ):
            for shot in _timed(self._sampler.shots(frames), self._watch, "detect"):
                with self._watch.stage("link"):
                    rows = self._rows(shot)
                    if len(rows):
                        tracks.write_table(rows.to_arrow())
                        looks.write_table(looks_table(rows.looks))
        shots = pa.Table.from_pylist(self._shots, schema=SHOTS_SCHEMA)
        pq.write_table(shots, folder / "shots.parquet")
        (folder / "facts.json").write_text(self._facts().model_dump_json(indent=1), encoding="utf-8")

    def _rows(self, shot: ShotSamples) -> TrackTable:
        """The tracks of a shot; also notes the shot."""
        times_s = np.array(shot.frame_times_s)
        self._note_shot(shot.first_frame, times_s)
        size = self._clip.width, self._clip.height
        linked = link_samples(shot.samples, max_gap_s=self._settings.max_gap_s, min_score=self._settings.min_score)
        looked = [sample.frame for sample in shot.samples]
        tracks = [
            fill_track(
                seen, times_s, first_frame=shot.first_frame, looked=looked, settings=self._settings, frame_size=size
            )
            for seen in linked
        ]
        rows = shot_rows(
            tracks, shot=len(self._shots) - 1, first_track=self._num_tracks, frame_size=size, frame_s=self._frame_s
        )
        looks = {number: _look(seen) for number, seen in enumerate(linked, start=self._num_tracks)}
        self._num_tracks += len(tracks)
        usable = judged(rows, ShotTable.from_rows(self._shots[-1:]), self._settings).usable
        self._num_face_frames += len(np.unique(rows.frame[usable]))
        return replace(rows, looks=looks)

    def _note_shot(self, first_frame: int, times_s: Floats) -> None:
        start_s = float(times_s[0])
        if self._shots:
            self._longest_frame_s = max(self._longest_frame_s, start_s - self._last_s)
            self._shots[-1]["end_s"] = start_s
        self._longest_frame_s = max(self._longest_frame_s, *np.diff(times_s), 0.0)
        self._last_s = float(times_s[-1])
        self._shots.append(
            {
                "shot": len(self._shots),
                "start_frame": first_frame,
                "end_frame": first_frame + len(times_s),
                "start_s": start_s,
                "end_s": self._last_s + self._frame_s,
            }
        )

    def _facts(self) -> AnalysisFacts:
        seconds = self._watch.seconds
        # Each stage pulls from the one before, so its time contains theirs.
        own = {
            "decode": seconds["decode"],
            "shots": seconds["shots"] - seconds["decode"],
            "detect": seconds["detect"] - seconds["shots"],
            "link": seconds["link"],
        }
        num_frames = int(self._shots[-1]["end_frame"]) if self._shots else 0
        return AnalysisFacts(
            clip=self._clip.path,
            detector=self._detector_ref.name,
            detector_sha256=self._detector_ref.weights_sha256,
            settings=self._settings,
            width=self._clip.width,
            height=self._clip.height,
            frame_s=self._frame_s,
            longest_frame_s=self._longest_frame_s,
            num_frames=num_frames,
            num_shots=len(self._shots),
            num_tracks=self._num_tracks,
            num_detections=self._sampler.num_detections,
            num_face_frames=self._num_face_frames,
            coverage=self._num_face_frames / num_frames if num_frames else 0.0,
            seconds=own,
        )


def _look(seen: list[tuple[Sample, int]]) -> Look:
    """The look of a track: frontal and sharp pictures of it count most."""
    looks = np.stack([sample.looks[face] for sample, face in seen]).astype(np.float32)
    landmarks = np.stack([sample.landmarks[face] for sample, face in seen])
    sharpness = np.array([sample.sharpness[face] for sample, face in seen])
    return mean_look(looks, (0.05 + np.cos(np.radians(turn_deg(landmarks))) ** 4) * (0.05 + sharpness.clip(0, 1)))


def _timed(items: Iterable[Item], watch: Stopwatch, stage: str) -> Iterator[Item]:
    """The same items; the time spent waiting for each is added to the stage."""
    iterator = iter(items)
    while True:
        with watch.stage(stage):
            item = next(iterator, None)
        if item is None:
            return
        yield item
