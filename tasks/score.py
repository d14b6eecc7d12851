"""SCORE any talking video: do its lips follow its sound, or another one?

    probe -> analyse (shots, faces) -> 25 frames a second, face crops -> embeddings -> offset, confidence,
    distance

Frames stream in small chunks and sound is read from the store's cache, so length costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from models.scorers import Scorer
from singalong.config import Settings
from singalong.contracts import ClipFacts, ModelRef, Row, SyncScore
from singalong.errors import MediaError
from singalong.face_choice import SPEAKER, check_speaker, picture_of
from singalong.media.decode import ClipReader
from singalong.media.frames import YuvFrame, face_region_to_bgr
from singalong.media.units import SCORE_FPS
from singalong.scoring import WINDOW_STEPS
from singalong.store import Store
from singalong.tracks import ChosenFace
from tasks.analyse import analyse_clip, load_analysis
from tasks.clues import Where, choose_usable_face, clues_of, likeness_version, speakers_version
from tasks.likeness import find_likeness
from tasks.prepare_song import load_song, prepare_song
from tasks.probe_media import at_hand, clip_facts, local_clip, picture_facts
from tasks.shard_score import ShardScorer
from tasks.speakers import find_speakers

if TYPE_CHECKING:
    from models.detectors import Detector

_CHUNK_BYTES = 32 * 1024 * 1024
"""Decoded frames held at once."""
_MAX_CHUNK_FRAMES = 16


class VideoScore(Row):
    """What scoring one video gave; the numbers in `score` are None where `reason` says why."""

    video: str
    audio: str = Field(description="file whose sound was heard: the video itself, or another")
    face: str = Field(description="which face was scored, as in a manifest")
    score: SyncScore
    duration_s: float
    face_coverage: float = Field(description="share of the video, at 25 fps, in which the face is seen")
    voiced_share: float = Field(description="share of the video in which there is a voice, or other loud sound")
    reason: str | None = Field(default=None, description="why there is no number")


def score_video(
    path: str | Path,
    *,
    scorer: Scorer,
    detector: Detector,
    detector_ref: ModelRef,
    store: Store,
    settings: Settings,
    scorer_ref: ModelRef | None = None,
    audio: str | Path | None = None,
    face: str = "largest",
) -> VideoScore:
    """Score a video against its own sound, or against `audio` from its start.

    Args:
        path: a video that shows somebody talking or singing, or its URL in an object store.
        scorer: see `models.scorers.load_scorer`.
        detector: finds the faces, unless the store holds their analysis.
        detector_ref: which detector that is.
        store: keeps the analysis and the prepared sound for the next time.
        settings: sections limits, analysis and score are used.
        audio: any file with sound, or its URL; its time 0 is heard at the video's time 0.
        scorer_ref: which scorer that is; only `speaker` needs to know.
        face: `largest`, `index:N`, `at:X,Y@T`, `speaker` (by the video's own sound) or `like:IMAGE`, as in a manifest;
            the picture is looked for from the current folder, or at its URL.

    Raises MediaError for a still, or a file that cannot be read or has no sound; NoFaceError where no usable face is
    found; InputError where it cannot be told who speaks. Too little voice or face is no error: the score's numbers
    are None then, and `reason` says why.
    """
    clip, heard = clip_facts(str(path), settings=settings, store=store), str(audio or path)
    _check(clip, audio)
    num_steps = int(clip.duration_s * SCORE_FPS)
    with at_hand(str(path), store) as file, at_hand(heard, store) as sound:
        voice = load_song(prepare_song(sound, sha256=store.file_sha256(heard), store=store, checks_channels=True))
        here = clip.model_copy(update={"path": str(file)})
        finder = _ClueFinder(here, settings, store, detector, detector_ref, scorer, scorer_ref)
        shard = ShardScorer(
            scorer,
            voice,
            song_start_s=0.0,
            start_frame=0,
            end_frame=num_steps,
            fps=Fraction(SCORE_FPS),
            min_windows=settings.score.min_windows,
        )
        num_seen = _push_frames(shard, here, _chosen_face(face, finder), num_steps)
    result = shard.finish()
    num_voiced = int(result.voiced.sum())
    return VideoScore(
        video=str(path),
        audio=heard,
        face=face,
        score=result.score,
        duration_s=clip.duration_s,
        face_coverage=num_seen / max(1, num_steps),
        voiced_share=num_voiced / max(1, num_steps),
        reason=_reason(result.score, num_voiced, num_seen, settings.score.min_windows),
    )


def _check(clip: ClipFacts, audio: str | Path | None) -> None:
    if clip.is_still:
        raise MediaError("a still picture has no lips that move", file=clip.path, expected="a video")
    if audio is None and not clip.has_audio:
        raise MediaError(
            "has no sound to compare its lips with",
            file=clip.path,
            expected="a video with sound",
            action="Give the sound as a file of its own with --audio.",
        )


@dataclass(frozen=True)
class _ClueFinder:
    """What it takes to find out more of a clip's people than where they are."""

    clip: ClipFacts
    settings: Settings
    store: Store
    detector: Detector
    detector_ref: ModelRef
    scorer: Scorer
    scorer_ref: ModelRef | None

    @cached_property
    def analysis(self) -> Path:
        """Cache folder of where the faces are."""
        settings = self.settings.analysis
        return analyse_clip(
            self.clip, detector=self.detector, detector_ref=self.detector_ref, settings=settings, store=self.store
        )

    def speakers(self, face: str) -> Path | None:
        """Cache folder of who speaks; None where that is not asked for."""
        if face != SPEAKER:
            return None
        check_speaker(face, self.clip, self.scorer_ref)
        assert self.scorer_ref is not None
        return find_speakers(
            self.clip,
            analysis=self.analysis,
            version=speakers_version(self.settings.analysis, self.detector_ref, self.scorer_ref),
            scorer=self.scorer,
            scorer_ref=self.scorer_ref,
            store=self.store,
        )

    def likeness(self, face: str) -> Path | None:
        """Cache folder of what the face in a picture looks like; None where none is named."""
        picture = picture_of(face)
        if picture is None:
            return None
        return find_likeness(
            local_clip(picture_facts(picture, settings=self.settings, store=self.store), self.store),
            version=likeness_version(self.settings.analysis, self.detector_ref),
            detector=self.detector,
            settings=self.settings.analysis,
            store=self.store,
        )


def _chosen_face(face: str, finder: _ClueFinder) -> ChosenFace:
    clip, end_s = finder.clip, finder.clip.duration_s
    found = load_analysis(finder.analysis, 0.0, end_s, settings=finder.settings.analysis)
    speakers, likeness = finder.speakers(face), finder.likeness(face)
    where = Where(clip.path)
    clues = clues_of(found, start_s=0.0, end_s=end_s, speakers=speakers, likeness=likeness, where=where)
    return choose_usable_face(
        face,
        found,
        clues,
        (0.0, end_s),
        where,
        nowhere="no usable face in the whole video",
        action="If there is one, loosen analysis.min_face_px, max_turn_deg, max_tilt_deg, min_sharpness or min_score.",
    )


def _push_frames(shard: ShardScorer, clip: ClipFacts, face: ChosenFace, num_steps: int) -> int:
    """Show the scorer what is on screen at every 25th of a second; the number of steps that show the face."""
    num_seen, shot = 0, -1
    for step, frame in enumerate(_frames(clip, num_steps)):
        box = None if frame is None else face.box_at(frame.pts_s)
        if frame is None or box is None:
            continue
        row_shot = int(face.shot[face.rows_at([frame.pts_s])[0]])
        if row_shot != shot:
            shard.cut()
            shot = row_shot
        shard.push(step, box, partial(face_region_to_bgr, frame), width=frame.width, height=frame.height)
        num_seen += 1
    return num_seen


def _frames(clip: ClipFacts, num_steps: int) -> Iterator[YuvFrame | None]:
    """The frame nearest to each step; None before the first frame is due."""
    half_frame_s = float(1 / clip.fps) / 2
    times_s = np.arange(num_steps) / SCORE_FPS + half_frame_s  # the frame last shown then is the nearest one
    size = max(1, min(_MAX_CHUNK_FRAMES, _CHUNK_BYTES // (clip.width * clip.height * 3 // 2)))
    with ClipReader(clip) as reader:
        for start in range(0, num_steps, size):
            chunk_s = times_s[start : start + size]
            for time_s, frame in zip(chunk_s, reader.read_chunk(chunk_s.tolist()), strict=True):
                # a first frame still to come; time stamps may be rounded by a tick
                yield frame if frame.pts_s <= time_s + half_frame_s / 2 else None


def _reason(score: SyncScore, num_voiced: int, num_seen: int, min_windows: int) -> str | None:
    if score.confidence is not None:
        return None
    if num_voiced == 0:
        return "there is no voice in its sound"
    if score.num_windows < min_windows:
        return (
            f"only {score.num_windows} windows of {WINDOW_STEPS} frames show the face while there is a voice, "
            f"at least {min_windows} are needed: the face is seen for {num_seen / SCORE_FPS:.1f} s, "
            f"there is a voice for {num_voiced / SCORE_FPS:.1f} s"
        )
    return "it is too short to move its sound by 0.6 s to either side"
