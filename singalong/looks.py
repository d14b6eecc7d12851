"""What a person looks like, as a vector: for finding the same person again in another shot of a clip.

A look is made of the pattern of the face, brought into one place and size by its landmarks, and of the colours of
hair, skin and clothes, relative to the face's own brightness. Faces of one film share camera and clothes, which is
what makes so plain a measure do; it is no proof of who somebody is.

Shape legend: D dimensions of a look.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.linking import NUM_LANDMARKS, Floats

Look = NDArray[np.float32]
"""(D,), of unit length."""

FACE_SIDE_PX = 64
"""Side of the aligned face."""

LANDMARKS_AT = np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.60], [0.35, 0.78], [0.65, 0.78]])
"""Where eyes, nose and mouth corners lie in a frontal face's box, as shares of its sides; for detectors that give
none, and where the aligned face has them."""

TEXTURE_WEIGHT = 0.5
"""Share of the pattern of the face in a look; the rest is colour."""


def look_of(bgr: NDArray[np.uint8], box: Floats, landmarks: Floats) -> Look:
    """The look of one face.

    Args:
        bgr: uint8 (h, w, 3); small frames do, a face of some 24 pixels is enough.
        box: (4,) x1, y1, x2, y2 of the face, pixels of `bgr`.
        landmarks: (5,2) as in TRACKS_SCHEMA, pixels of `bgr`; NaN where there are none.
    """
    points = _points(np.asarray(box, np.float64), np.asarray(landmarks, np.float64))
    texture = _texture(_aligned(bgr, points, FACE_SIDE_PX, 0.0))
    colours = _colours(_aligned(bgr, points, FACE_SIDE_PX, 1.0))
    parts = [texture * np.sqrt(TEXTURE_WEIGHT), colours * np.sqrt(1 - TEXTURE_WEIGHT)]
    return _unit(np.concatenate(parts))


def likeness(left: Look, right: Look) -> float:
    """How alike two looks are, from -1 to 1."""
    return float(np.dot(left, right))


def _points(box: Floats, landmarks: Floats) -> Floats:
    if landmarks.shape == (NUM_LANDMARKS, 2) and np.isfinite(landmarks).all():
        return landmarks
    return box[:2] + LANDMARKS_AT * (box[2:] - box[:2])


def _aligned(bgr: NDArray[np.uint8], points: Floats, side_px: int, margin: float) -> NDArray[np.uint8]:
    """The face turned upright and scaled, with `margin` of its side shown around it."""
    target = (LANDMARKS_AT + margin) / (1 + 2 * margin) * side_px
    matrix, _ = cv2.estimateAffinePartial2D(points, target, method=cv2.LMEDS)
    if matrix is None:
        matrix = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    shown = cv2.warpAffine(bgr, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shown, dtype=np.uint8)


def _texture(face: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of gradients of the aligned face: what is bright beside what is dark, whatever the light."""
    hog = cv2.HOGDescriptor((FACE_SIDE_PX, FACE_SIDE_PX), (16, 16), (16, 16), (8, 8), 8)
    values = np.asarray(hog.compute(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)), np.float32).ravel()
    return _unit(values - values.mean())


def _colours(around: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean colours on a coarse grid of head and shoulders, against the face's own."""
    lab = cv2.cvtColor(around, cv2.COLOR_BGR2LAB).astype(np.float32)
    grid = cv2.resize(lab, (6, 6), interpolation=cv2.INTER_AREA)
    middle = grid[2:4, 2:4].mean(axis=(0, 1))
    return _unit((grid - middle).ravel())


def _unit(values: NDArray[np.float32]) -> Look:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), dtype=np.float32)
