"""Detecting faces in some frames of each shot: often enough to follow them, no oftener.

A face that the detector misses is followed by its picture (`tasks/held_faces.py`), as long as it is still to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from singalong.linking import NUM_LANDMARKS, Floats, Sample, samples_between
from singalong.looks import look_of, sharpness_of
from singalong.settings import AnalysisSettings
from tasks.held_faces import HeldFace, HeldFaces
from tasks.shots import ShotFrame

if TYPE_CHECKING:
    from models.detectors import Detector

WEAK_SCORE = 0.6
"""Detections down to this share of `min_score` are kept: they may carry a track on, but start none. Half-hidden real
faces score 0.35 to 0.6, what is no face up to 0.24."""

MAX_WINDOW_FRAMES = 48
"""Frames held between two detections at most, whatever the frame rate: bounds memory."""


@dataclass
class ShotSamples:
    """What was seen of one shot.

    Attributes:
        first_frame: index of its first frame in the clip.
        frame_times_s: presentation time of each of its frames.
        samples: frames in which faces were looked for, in order; the first and the last frame are among them.
    """

    first_frame: int
    frame_times_s: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class FaceSampler:
    """Looks for faces in a stream of shot frames, holding only the frames since the last look.

    Every `detect_every_s` at least, in the first and last frame of each shot, and by bisection in between where
    a face came, went or moved far (`singalong.linking.samples_between`).
    """

    def __init__(self, detector: Detector, settings: AnalysisSettings) -> None:
        self.num_detections = 0
        self._detector = detector
        self._settings = settings
        self._held = HeldFaces(max_age_s=settings.max_gap_s)

    def shots(self, frames: Iterable[ShotFrame]) -> Iterator[ShotSamples]:
        """The shots of a clip, in order, each when its last frame has come."""
        shot: ShotSamples | None = None
        window: list[ShotFrame] = []
        for frame in frames:
            if shot is None or frame.starts_shot:
                if shot is not None:
                    self._look_until_end(shot, window)
                    yield shot
                self._held.forget()
                shot = ShotSamples(first_frame=frame.index, samples=[self._look(frame)])
                self._held.remember(frame, shot.samples[-1])
                window = []
            shot.frame_times_s.append(frame.pts_s)
            window.append(frame)
            if self._is_due(window):
                self._look_until_end(shot, window)
                window = [frame]
        if shot is not None:
            self._look_until_end(shot, window)
            yield shot

    def _is_due(self, window: list[ShotFrame]) -> bool:
        """Whether waiting for one more frame would make the time since the last look too long."""
        if len(window) < 2:
            return False
        step_s = window[-1].pts_s - window[-2].pts_s
        too_late = window[-1].pts_s + step_s - window[0].pts_s > self._settings.detect_every_s + 1e-6
        return too_late or len(window) >= MAX_WINDOW_FRAMES

    def _look_until_end(self, shot: ShotSamples, window: list[ShotFrame]) -> None:
        """Look at the last frame of the window, whose first one was looked at, and in between where needed."""
        if len(window) < 2:
            return
        right = self._look(window[-1])
        start = window[0].index
        between = samples_between(
            shot.samples[-1],
            right,
            lambda index: self._look(window[index - start]),
            min_score=self._settings.min_score,
        )
        shot.samples += [*between, right]
        self._held.remember(window[-1], right)

    def _look(self, frame: ShotFrame) -> Sample:
        self.num_detections += 1
        found = self._detector.detect([frame.bgr])[0]
        keep = found.scores >= WEAK_SCORE * self._settings.min_score
        boxes = found.boxes[keep].astype(np.float64)
        landmarks: Floats = np.full((len(boxes), NUM_LANDMARKS, 2), np.nan)
        if found.landmarks is not None:
            landmarks = found.landmarks[keep].astype(np.float64)
        seen = [HeldFace(*face) for face in zip(boxes, landmarks, found.scores[keep].tolist(), strict=True)]
        return _sample(frame, [*seen, *self._held.missed(frame, boxes)])


def _sample(frame: ShotFrame, faces: list[HeldFace]) -> Sample:
    """The faces of a frame, in pixels of the source, with what their pictures tell."""
    looks = [look_of(frame.bgr, face.box, face.landmarks) for face in faces]
    return Sample(
        frame.index,
        frame.pts_s,
        boxes=np.array([face.box for face in faces]).reshape(-1, 4) / frame.scale,
        scores=np.array([face.score for face in faces]),
        landmarks=np.array([face.landmarks for face in faces]).reshape(-1, NUM_LANDMARKS, 2) / frame.scale,
        sharpness=np.array([sharpness_of(frame.bgr, face.box, face.landmarks) for face in faces]),
        looks=np.stack(looks).astype(np.float16) if looks else np.empty((0, 0), np.float16),
    )
