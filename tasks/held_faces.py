"""Following a face that the detector misses by its picture, as long as it is still to be seen.

Detectors miss a face now and then: in a blink, a turn, a flash. Something before the face makes them miss it, too. The
picture tells the two apart: where the face's own pattern is still there it is followed, where not it is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.linking import Floats, Sample, match_boxes
from tasks.shots import ShotFrame

TEMPLATE_PX = 32
"""Height of a face's picture when it is looked for: coarse enough that a blink or a word does not matter."""

MIN_CORRELATION = 0.8
"""A pattern this much like the face's is the face. Measured on real clips 0.2 s later: 0.78 to 0.98 (19 of 20); of
other people in its place 0.19 to 0.63, of a face behind a sheet of paper up to 0.77."""

MIN_SCORE = 0.82
"""Detections surer than this show the whole face; half-hidden real ones score 0.35 to 0.8, and their picture is half a
hand's."""

REACH = 0.5
"""A face is looked for this share of its sides around its last place; at most 0.8 s are between."""

MIN_DEVIATION = 4.0
"""Brightness levels: a flat picture is found everywhere."""


@dataclass(frozen=True)
class HeldFace:
    """One face in pixels of the small frame: box (4,), landmarks (5,2), score; 0 where it was not detected."""

    box: Floats
    landmarks: Floats
    score: float


@dataclass(frozen=True)
class _Picture:
    """A face as it was detected last."""

    pts_s: float
    face: HeldFace
    template: NDArray[np.uint8]


class HeldFaces:
    """The faces of one shot as they were last detected."""

    def __init__(self, *, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._pictures: list[_Picture] = []

    def forget(self) -> None:
        """A shot begins: nobody is known."""
        self._pictures = []

    def remember(self, frame: ShotFrame, sample: Sample) -> None:
        """Keep the faces detected in a frame, and for a while those that were not. Frames come in order of time."""
        boxes = sample.boxes * frame.scale
        seen = [
            _picture(frame, HeldFace(box, landmarks * frame.scale, score))
            for box, landmarks, score in zip(boxes, sample.landmarks, sample.scores.tolist(), strict=True)
            if score >= MIN_SCORE
        ]
        kept = [
            picture
            for picture in self._unmatched(boxes[sample.scores >= MIN_SCORE])
            if frame.pts_s - picture.pts_s <= self._max_age_s
        ]
        self._pictures = [*seen, *kept]

    def missed(self, frame: ShotFrame, found: Floats) -> list[HeldFace]:
        """Faces remembered that are to be seen in a frame but were not found there, `found` (N,4)."""
        faces = []
        for picture in self._unmatched(found):
            moved = _find(frame.bgr, picture)
            if moved is not None and 0 <= frame.pts_s - picture.pts_s <= self._max_age_s:
                faces.append(HeldFace(picture.face.box + np.tile(moved, 2), picture.face.landmarks + moved, 0.0))
        return faces

    def _unmatched(self, found: Floats) -> list[_Picture]:
        if not self._pictures:
            return []
        boxes = np.stack([picture.face.box for picture in self._pictures])
        matched = {row for row, _ in match_boxes(boxes, found)}
        return [picture for row, picture in enumerate(self._pictures) if row not in matched]


def _picture(frame: ShotFrame, face: HeldFace) -> _Picture:
    return _Picture(frame.pts_s, face, patch(frame.bgr, face.box, 0.0))


def _find(bgr: NDArray[np.uint8], picture: _Picture) -> Floats | None:
    """How far (2,) a face has moved, in pixels; None where it is not to be seen."""
    if picture.template.std() < MIN_DEVIATION:
        return None
    around = patch(bgr, picture.face.box, REACH)
    scores = cv2.matchTemplate(around, picture.template, cv2.TM_CCOEFF_NORMED)
    _, best, _, place = cv2.minMaxLoc(scores)
    if not MIN_CORRELATION <= best <= 1.01:
        return None
    centre = (np.array(scores.shape[::-1]) - 1) / 2
    height = picture.face.box[3] - picture.face.box[1]
    return np.asarray((np.array(place) - centre) * height / TEMPLATE_PX)


def patch(bgr: NDArray[np.uint8], box: Floats, margin: float) -> NDArray[np.uint8]:
    """The box with `margin` of its sides around it, TEMPLATE_PX for the box's height, grey; edges are repeated."""
    width, height = box[2:] - box[:2]
    scale = TEMPLATE_PX / max(float(height), 1.0)
    size = np.maximum(np.rint(np.array([width, height]) * scale * (1 + 2 * margin)), 3).astype(int)
    corner = box[:2] - margin * np.array([width, height])
    blur_px = 0.4 / scale if scale < 0.8 else 0.0
    first, cut = _cut(bgr, corner, corner + size / scale, round(4 * blur_px) + 2)
    soft = cv2.GaussianBlur(cut, (0, 0), blur_px) if blur_px else cut
    corner = corner - first
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    shown = cv2.warpAffine(soft, matrix, tuple(size.tolist()), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY), np.uint8)


def _cut(
    bgr: NDArray[np.uint8], corner: Floats, end: Floats, margin_px: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """What of the picture lies between two corners and around them, at least a pixel, and where it begins (2,)."""
    limits = np.array(bgr.shape[1::-1])
    first = np.clip(np.floor(corner).astype(np.int64) - margin_px, 0, limits - 1)
    last = np.clip(np.ceil(end).astype(np.int64) + margin_px, first + 1, limits)
    return first, bgr[first[1] : last[1], first[0] : last[0]]
