"""Following faces by their pictures between two looks of the detector that agree on who is there.

A detection costs 24 ms, this a half. The path between two looks is the picture's own; what it misses of the second
look is shared out over the time between, so that it goes through both. Whatever is not clear is left to the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.linking import Floats, match_boxes
from tasks.held_faces import MIN_DEVIATION, MIN_SCORE, TEMPLATE_PX, HeldFace, patch
from tasks.shots import ShotFrame

RIGID_SHARE = 0.7
"""Upper share of a face's box that is compared: mouth and jaw move while the head does not."""

REACH = 0.28
"""A face is followed this share of that part's sides to each side; further ones are looked for."""

MIN_LIKENESS = 0.85
"""Patterns less alike are looked for. A face half behind a sheet of paper measures up to 0.77, one that speaks and
nods 0.9 to 0.99, one that turns less."""

MAX_DRIFT = 0.08
"""Share of the face's height by which the picture may miss the second look: detections themselves stray by 0.02."""

BLOCK_PX = 8
"""Changes are looked for in blocks of this side: the smallest face that is found, 24 pixels, covers two by two."""

MAX_CHANGE = 24.0
"""Mean brightness levels by which a block of a picture may differ from both looks around it. On real clips of people
who talk this asks for a look or two in a hundred frames more than none would; half of it for six."""

HEAD_MARGIN = 0.3
"""Share of a face's sides around it that moves with it: nobody comes there without hiding the face."""

_KERNEL = np.ones((2, 2), np.uint8)


@dataclass(frozen=True)
class Seen:
    """What the detector found in one frame; faces in pixels of the small picture."""

    frame: ShotFrame
    faces: Sequence[HeldFace]

    @property
    def boxes(self) -> Floats:
        """Boxes of the faces, (N, 4)."""
        return np.array([face.box for face in self.faces]).reshape(-1, 4)


@dataclass(frozen=True)
class _Path:
    """One face in both looks."""

    left: HeldFace
    right: HeldFace
    template: NDArray[np.uint8]
    drift: Floats
    """What the picture misses of the second look, (2,) pixels."""


class Follower:
    """The faces of two looks, followed to the frames between them."""

    def __init__(self, left: Seen, right: Seen, paths: Sequence[_Path]) -> None:
        self._left, self._right, self._paths = left, right, paths
        self._ends = _coarse(left.frame.bgr), _coarse(right.frame.bgr)

    @classmethod
    def between(cls, left: Seen, right: Seen) -> Follower | None:
        """None where the looks differ in who is there, or where a face is not surely the same."""
        faces = (*left.faces, *right.faces)
        pairs = match_boxes(left.boxes, right.boxes)
        if len(left.faces) != len(right.faces) or len(pairs) != len(left.faces):
            return None
        if any(face.score < MIN_SCORE for face in faces):
            return None
        paths = []
        for row, column in sorted(pairs):
            path = _path(left.frame, left.faces[row], right.frame, right.faces[column])
            if path is None:
                return None
            paths.append(path)
        return cls(left, right, paths)

    def at(self, frame: ShotFrame) -> list[HeldFace] | None:
        """The faces, in the order of the first look; None where one is not surely found, or something else came."""
        first_s, last_s = self._left.frame.pts_s, self._right.frame.pts_s
        share = (frame.pts_s - first_s) / max(last_s - first_s, 1e-9)
        faces = []
        for path in self._paths:
            moved = _moved(frame.bgr, path.left.box, path.template)
            if moved is None:
                return None
            faces.append(_between(path, moved + path.drift * share, share))
        return None if _came_and_went(_coarse(frame.bgr), *self._ends, [face.box for face in faces]) else faces


def _path(left_frame: ShotFrame, left: HeldFace, right_frame: ShotFrame, right: HeldFace) -> _Path | None:
    template = patch(left_frame.bgr, _rigid(left.box), 0.0)
    if template.std() < MIN_DEVIATION:
        return None
    moved = _moved(right_frame.bgr, left.box, template)
    if moved is None:
        return None
    drift = _centre(right.box) - _centre(left.box) - moved
    height = left.box[3] - left.box[1]
    return _Path(left, right, template, drift) if np.linalg.norm(drift) <= MAX_DRIFT * height else None


def _moved(bgr: NDArray[np.uint8], box: Floats, template: NDArray[np.uint8]) -> Floats | None:
    """How far (2,) a face has moved from its box, to a fraction of a pixel; None where it is not surely there."""
    scores = cv2.matchTemplate(patch(bgr, _rigid(box), REACH), template, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(scores)
    height, width = scores.shape
    if not MIN_LIKENESS <= best <= 1.01 or not (0 < x < width - 1 and 0 < y < height - 1):
        return None
    around = scores[y - 1 : y + 2, x - 1 : x + 2].astype(np.float64)
    peak = np.array([x + _vertex(around[1]), y + _vertex(around[:, 1])])
    rigid_px = RIGID_SHARE * (box[3] - box[1])
    return np.asarray((peak - (np.array([width, height]) - 1) / 2) * rigid_px / TEMPLATE_PX)


def _vertex(values: Floats) -> float:
    """Where the parabola through three values at -1, 0 and 1 has its vertex; the middle one is the largest."""
    bend = values[0] - 2 * values[1] + values[2]
    return float(0.5 * (values[0] - values[2]) / bend) if bend < -1e-9 else 0.0


def _between(path: _Path, moved: Floats, share: float) -> HeldFace:
    """The face `moved` from the first look, at a share of the way to the second: sizes go from one to the other."""
    left, right = path.left, path.right
    sizes = [np.maximum(face.box[2:] - face.box[:2], 1.0) for face in (left, right)]
    size = np.exp((1 - share) * np.log(sizes[0]) + share * np.log(sizes[1]))
    centre = _centre(left.box) + moved
    spread = (1 - share) * (left.landmarks - _centre(left.box)) + share * (right.landmarks - _centre(right.box))
    box = np.concatenate([centre - size / 2, centre + size / 2])
    return HeldFace(box, centre + spread, min(left.score, right.score))


def _rigid(box: Floats) -> Floats:
    return np.array([box[0], box[1], box[2], box[1] + RIGID_SHARE * (box[3] - box[1])])


def _centre(box: Floats) -> Floats:
    return np.asarray((box[:2] + box[2:]) / 2)


def _coarse(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness at a half of the size."""
    height, width = bgr.shape[:2]
    size = max(width // 2, 1), max(height // 2, 1)
    small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _came_and_went(
    now: NDArray[np.uint8], left: NDArray[np.uint8], right: NDArray[np.uint8], faces: Sequence[Floats]
) -> bool:
    """Whether beside the faces something shows, as large as the smallest one, that neither look can have seen."""
    change = cv2.min(cv2.absdiff(now, left), cv2.absdiff(now, right))
    for box in faces:
        margin = HEAD_MARGIN * (box[2:] - box[:2])
        x1, y1, x2, y2 = (np.concatenate([box[:2] - margin, box[2:] + margin]) / 2).clip(0).astype(int).tolist()
        change[y1:y2, x1:x2] = 0
    height, width = change.shape
    size = max(2 * width // BLOCK_PX, 1), max(2 * height // BLOCK_PX, 1)
    blocks = cv2.resize(change, size, interpolation=cv2.INTER_AREA)
    return float(cv2.erode(blocks, _KERNEL, borderType=cv2.BORDER_CONSTANT, borderValue=0).max()) > MAX_CHANGE
