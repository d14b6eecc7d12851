"""Detecting faces in some frames of each shot: often enough to follow them, no oftener.

Between detections faces are followed by their pictures (`tasks/following.py`), and so is one that the detector misses
(`tasks/held_faces.py`), as long as it is still to be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from singalong.linking import NUM_LANDMARKS, Floats, Looks, Sample, samples_between
from singalong.looks import look_of, sharpness_of
from singalong.settings import AnalysisSettings
from tasks.following import Follower, Seen
from tasks.held_faces import HeldFace, HeldFaces
from tasks.shots import ShotFrame

if TYPE_CHECKING:
    from models.detectors import Detector

WEAK_SCORE = 0.6
"""Detections down to this share of `min_score` are kept: they may carry a track on, but start none. Half-hidden real
faces score 0.35 to 0.6, what is no face up to 0.24."""

MAX_WINDOW_FRAMES = 48
"""Frames held between two detections at most, whatever the frame rate: bounds memory."""

_ROUNDING_S = 1e-6


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
    """Looks for faces in a stream of shot frames, holding only the frames since the last detection.

    Every `detect_every_s` at least, in the first and last frame of each shot, and by bisection in between where
    a face came, went or moved far (`singalong.linking.samples_between`). A look is the detector's, but for those less
    than `follow_s` from it on both sides where faces can surely be followed by their pictures.
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
        """Whether waiting for one more frame would make the time since the last detection too long."""
        if len(window) < 2:
            return False
        step_s = window[-1].pts_s - window[-2].pts_s
        longest_s = max(self._settings.detect_every_s, self._settings.follow_s)
        too_late = window[-1].pts_s + step_s - window[0].pts_s > longest_s + _ROUNDING_S
        return too_late or len(window) >= MAX_WINDOW_FRAMES

    def _look_until_end(self, shot: ShotSamples, window: list[ShotFrame]) -> None:
        """Look at the last frame of the window, whose first one was looked at, and in between as often as needed."""
        if len(window) < 2:
            return
        before, last = shot.samples[-1], self._detect(window[-1])
        follower = Follower.between(Seen(window[0], _small_faces(before, window[0].scale)), last)
        for frame in _stops(window, self._settings.detect_every_s):
            faces = None if follower is None else follower.at(frame)
            self._add(shot, window, self._look(frame) if faces is None else _sample(frame, faces, looks=before.looks))
        self._add(shot, window, self._completed(last))

    def _add(self, shot: ShotSamples, window: list[ShotFrame], sample: Sample) -> None:
        """The next sample of the shot, and those between it and the last one where something happened there."""
        start = window[0].index
        shot.samples += samples_between(
            shot.samples[-1],
            sample,
            lambda index: self._look(window[index - start]),
            min_score=self._settings.min_score,
        )
        shot.samples.append(sample)
        if sample.by_detector:
            self._held.remember(window[sample.frame - start], sample)

    def _look(self, frame: ShotFrame) -> Sample:
        return self._completed(self._detect(frame))

    def _detect(self, frame: ShotFrame) -> Seen:
        self.num_detections += 1
        found = self._detector.detect([frame.bgr])[0]
        keep = found.scores >= WEAK_SCORE * self._settings.min_score
        boxes = found.boxes[keep].astype(np.float64)
        landmarks: Floats = np.full((len(boxes), NUM_LANDMARKS, 2), np.nan)
        if found.landmarks is not None:
            landmarks = found.landmarks[keep].astype(np.float64)
        faces = zip(boxes, landmarks, found.scores[keep].tolist(), strict=True)
        return Seen(frame, [HeldFace(*face) for face in faces])

    def _completed(self, seen: Seen) -> Sample:
        """What was detected, and what is still to be seen though it was not."""
        return _sample(seen.frame, [*seen.faces, *self._held.missed(seen.frame, seen.boxes)])


def _stops(window: list[ShotFrame], every_s: float) -> Iterator[ShotFrame]:
    """Frames within the window to look at, so that no two looks are further apart than asked, if frames allow."""
    last_s = window[0].pts_s
    for frame, after in pairwise(window[1:]):
        if after.pts_s - last_s > every_s + _ROUNDING_S:
            yield frame
            last_s = frame.pts_s


def _small_faces(sample: Sample, scale: float) -> list[HeldFace]:
    """The faces of a sample in pixels of its small frame."""
    faces = zip(sample.boxes * scale, sample.landmarks * scale, sample.scores.tolist(), strict=True)
    return [HeldFace(*face) for face in faces]


def _sample(frame: ShotFrame, faces: list[HeldFace], *, looks: Looks | None = None) -> Sample:
    """The faces of a frame, in pixels of the source, with what their pictures tell.

    Faces that were followed have the `looks` of before.
    """
    by_detector = looks is None
    if looks is None:
        found = [look_of(frame.bgr, face.box, face.landmarks) for face in faces]
        looks = np.stack(found).astype(np.float16) if found else np.empty((0, 0), np.float16)
    return Sample(
        frame.index,
        frame.pts_s,
        boxes=np.array([face.box for face in faces]).reshape(-1, 4) / frame.scale,
        scores=np.array([face.score for face in faces]),
        landmarks=np.array([face.landmarks for face in faces]).reshape(-1, NUM_LANDMARKS, 2) / frame.scale,
        sharpness=np.array([sharpness_of(frame.bgr, face.box, face.landmarks) for face in faces]),
        looks=looks,
        by_detector=by_detector,
    )
