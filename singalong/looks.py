"""What a person looks like, as a vector: for finding the same person again in another shot of a clip.

A look is made of the pattern of the face, brought into one place and size by its landmarks, and of the colours of
hair, skin and clothes, relative to the face's own brightness. People of one film share camera and clothes, which is
what makes so plain a measure do; it is no proof of who somebody is.

Shape legend: D dimensions of a look.
"""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong import looks_mean
from singalong.linking import NUM_LANDMARKS, Floats

Look = NDArray[np.float32]
"""(D,), of unit length."""

Image = NDArray[np.uint8]

FACE_SIDE_PX = 48
"""Side of the aligned face: faces of 24 pixels are the smallest that are analysed."""

CELL_PX = 8
NUM_DIRECTIONS = 8
"""Gradients are counted by cell and direction, as in Dalal and Triggs, "Histograms of Oriented Gradients for Human
Detection" (CVPR 2005)."""

SHARPNESS_SIDE_PX = 32
"""Detail finer than this shows is no matter of blur but of the picture's size."""

NOISE_DEVIATION = 3.0
"""Brightness levels: a face in the dark has no more than noise, and that is sharp."""

LANDMARKS_AT = np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.60], [0.35, 0.78], [0.65, 0.78]])
"""Where eyes, nose and mouth corners lie in a frontal face's box, as shares of its sides; for detectors that give
none, and where the aligned face has them."""

MIN_SPREAD = 0.1
"""Landmarks on less than this share of a box are none; those of real faces span half of it."""

TEXTURE_WEIGHT = 0.85
"""Share of the pattern of the face in a look; the rest is colour. On real and drawn people 0.8 to 0.9 tell most apart;
more colour lets a shared background make strangers alike."""

GRID = 6
"""Cells of the colour grid to a side; it shows head and shoulders, three faces wide."""

COLOUR_WEIGHTS = np.array([0.6, 1.5, 1.5], np.float32)
"""Of lightness and the two hues: light changes from shot to shot, hues less."""

SHOWN = np.array(
    [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 0.7, 1.0, 1.0, 0.7, 0.0],
        [0.0, 0.7, 1.0, 1.0, 0.7, 0.0],
        [0.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    ],
    np.float32,
)
"""Which cells show hair, face and clothes rather than what is behind."""


def _shared(text: str, step: float) -> NDArray[np.float32]:
    return np.frombuffer(base64.b85decode(text), np.int8).astype(np.float32) * np.float32(step)


TEXTURE_MEAN = _shared(looks_mean.TEXTURE, looks_mean.TEXTURE_STEP)
COLOURS_MEAN = _shared(looks_mean.COLOURS, looks_mean.COLOURS_STEP)
"""What all faces share: without it strangers are alike for having eyes and a mouth."""


def look_of(bgr: Image, box: Floats, landmarks: Floats) -> Look:
    """The look of one face.

    Args:
        bgr: uint8 (h, w, 3); small frames do, a face of some 24 pixels is enough.
        box: (4,) x1, y1, x2, y2 of the face, pixels of `bgr`.
        landmarks: (5,2) as in TRACKS_SCHEMA, pixels of `bgr`; NaN where there are none.
    """
    texture, colours = features(bgr, box, landmarks)
    parts = unit(texture - TEXTURE_MEAN) * np.sqrt(TEXTURE_WEIGHT), unit(colours - COLOURS_MEAN)
    return unit(np.concatenate([parts[0], parts[1] * np.sqrt(1 - TEXTURE_WEIGHT)]))


def features(bgr: Image, box: Floats, landmarks: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pattern (288,) and colours (108,) of a face, each of unit length, before what all faces share is taken away.

    Left and right are counted together: so light from one side and a turned head matter less.
    """
    face = aligned_face(bgr, box, landmarks)
    texture = _texture(face) + _texture(np.ascontiguousarray(face[:, ::-1]))
    return unit(texture), _colours(aligned_face(bgr, box, landmarks, margin=1.0))


def mean_look(looks_ND: NDArray[np.float32], weights_N: Floats) -> Look:
    """The look of several pictures of one face (D,), better ones weighing more."""
    return unit(np.average(looks_ND, axis=0, weights=weights_N).astype(np.float32))


def sharpness_of(bgr: Image, box: Floats, landmarks: Floats) -> float:
    """How sharp a face is for its size, whatever its contrast; arguments as for `look_of`.

    Strength of fine detail (Laplacian) over that of all detail, of the face at 32 pixels a side: about 1, and a quarter
    where it is blurred by a twentieth of its height.
    """
    face = aligned_face(bgr, box, landmarks, side_px=SHARPNESS_SIDE_PX)
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = slice(3, -3)
    fine = cv2.Laplacian(grey, cv2.CV_32F)[inside, inside]
    return float(fine.std() / (grey[inside, inside].std() + NOISE_DEVIATION))


def likeness(left: Look, right: Look) -> float:
    """How alike two looks are, from -1 to 1."""
    return float(np.dot(left, right))


def aligned_face(
    bgr: Image, box: Floats, landmarks: Floats, *, side_px: int = FACE_SIDE_PX, margin: float = 0.0
) -> Image:
    """The face turned upright and scaled to (side_px, side_px, 3), with `margin` of its side shown around it."""
    points = _points(np.asarray(box, np.float64), np.asarray(landmarks, np.float64))
    target = (LANDMARKS_AT + margin) / (1 + 2 * margin) * side_px
    matrix = _similarity(points, target)
    shrink = min(int(1 / max(np.hypot(*matrix[:, 0]), 1e-3)), *bgr.shape[:2])
    if shrink > 1:  # average whole pixels first, or the fine ones would make patterns that are not there
        height, width = (side // shrink for side in bgr.shape[:2])
        cut = bgr[: height * shrink, : width * shrink]
        bgr = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        matrix = _similarity((points + 0.5) / shrink - 0.5, target)
    shown = cv2.warpAffine(bgr, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shown, dtype=np.uint8)


def unit(values: NDArray[np.float32]) -> Look:
    """The vector brought to unit length; zeros stay zeros."""
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), dtype=np.float32)


def _points(box: Floats, landmarks: Floats) -> Floats:
    if landmarks.shape == (NUM_LANDMARKS, 2) and np.isfinite(landmarks).all():
        spread = landmarks.max(axis=0) - landmarks.min(axis=0)
        if spread.max() > MIN_SPREAD * (box[2:] - box[:2]).max():
            return landmarks
    return np.asarray(box[:2] + LANDMARKS_AT * (box[2:] - box[:2]))


def _similarity(points: Floats, target: Floats) -> Floats:
    """Turn, scale and shift (2,3) that bring points to target with the least squares."""
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    left, right = (values @ [1, 1j] for values in (points - mean, target - target_mean))
    turn = np.vdot(left, right) / max(float(np.vdot(left, left).real), 1e-6)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, target_mean - matrix @ mean])


def _texture(face: Image) -> NDArray[np.float32]:
    """How strongly the aligned face is edged in each cell and direction, whatever the light."""
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    place = (np.arctan2(down, across) / np.pi % 1.0) * NUM_DIRECTIONS
    cells = np.empty((NUM_DIRECTIONS, *(FACE_SIDE_PX // CELL_PX,) * 2), np.float32)
    for direction in range(NUM_DIRECTIONS):
        away = np.abs((place - direction + NUM_DIRECTIONS / 2) % NUM_DIRECTIONS - NUM_DIRECTIONS / 2)
        near = strength * np.maximum(1 - away, 0)
        cells[direction] = cv2.resize(near, cells.shape[1:], interpolation=cv2.INTER_AREA)
    around = cv2.GaussianBlur((cells**2).sum(axis=0), (0, 0), 1.0)
    values = np.sqrt(cells / np.sqrt(around + 1.0))
    return unit((values - values.mean(axis=(1, 2), keepdims=True)).ravel())


def _colours(around: Image) -> NDArray[np.float32]:
    """Mean colours on a coarse grid of head and shoulders, against the face's own."""
    lab = cv2.cvtColor(around, cv2.COLOR_BGR2LAB).astype(np.float32)
    grid = np.asarray(cv2.resize(lab, (GRID, GRID), interpolation=cv2.INTER_AREA))
    inside = slice(GRID // 3, GRID - GRID // 3)
    values = (grid - grid[inside, inside].mean(axis=(0, 1))) * COLOUR_WEIGHTS * SHOWN[..., None]
    return unit((values + values[:, ::-1]).ravel())
