"""Where the lower face lies in a box: the outline of cheeks, jaw and chin, told from five landmarks.

Lengths are in units of the face: d from eye to eye, e from the middle of the eyes to the middle of the mouth, which an
adult face shows about alike. Turning the head shortens d, nodding shortens e, so the longer of the two is the scale.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.geometry import Box

F32 = NDArray[np.float32]
Landmarks = NDArray[np.float64]

_HALF_WIDTH = 1.0
"""From the midline to the side of the cheeks, in scales. A face is 2.2 d wide (140 mm to 63 mm); 10 % less stays off
hair and background."""
_CHIN = 1.40
"""From the level of the nose tip to where the outline ends, in scales: the chin is at 1.2; a mouth that opens wider
than the clip's moves it down, onto the neck."""
_FAR_SIDE, _NEAR_SIDE = 0.75, 0.15
"""How much narrower the averted side of a turned face is, and how much wider the other, when the nose hides an eye."""
_POWER = 2.4
"""Of the superellipse: a little squarer than an ellipse (2), as jaws are."""
_MIN_SCALE_PX = 4.0
"""Landmarks nearer together than this are no face."""
_GRID = 96
"""The outline is smooth: so many cells across and down are computed, and enlarged."""


def jaw_outline(
    box: Box, landmarks: Landmarks, *, feather_px: float, size: tuple[int, int] | None = None
) -> F32 | None:
    """How much each pixel of a box belongs to the lower face, float32 (h, w) in [0, 1]; None for impossible landmarks.

    1 inside, fading to 0 at the outline over `feather_px`, whatever the pixel's height: above the nose it goes straight
    up, as the paste mask decides there. landmarks (5, 2) are eyes, nose and mouth corners in pixels of the frame, each
    pair from the left of the image. `size`: width and height of the result, if not those of the box.
    """
    eyes, nose, mouth = landmarks[:2].mean(axis=0), landmarks[2], landmarks[3:].mean(axis=0)
    down = mouth - eyes
    length = float(np.linalg.norm(down))
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    scale = max(apart, length)
    if not np.isfinite(scale) or length < _MIN_SCALE_PX or (landmarks[1] - landmarks[0])[0] <= 0:
        return None
    down = down / length
    across = np.array([down[1], -down[0]])
    middle = (eyes + mouth) / 2
    left, right = _sides(float((nose - middle) @ across) / (scale / 2))
    # in units of the outline's half axes, from the nose's level on the midline
    x1, y1, x2, y2 = box
    dx = (_cells(x1, x2) - np.float32(middle[0]))[None]
    dy = (_cells(y1, y2) - np.float32(middle[1]))[:, None]
    u = dx * np.float32(across[0]) + dy * np.float32(across[1])
    v = np.maximum(dx * np.float32(down[0]) + dy * np.float32(down[1]), 0) / np.float32(_CHIN * scale)
    u = np.abs(u) / np.where(u < 0, np.float32(left * scale), np.float32(right * scale))
    radius = (u**_POWER + v**_POWER) ** np.float32(1 / _POWER)
    # one unit of radius is about the shorter half axis long
    width = max(feather_px, 1.0) / (min(left, right) * scale)
    t = np.clip((1 - radius) / np.float32(min(width, 0.6)), 0, 1)
    return np.asarray(cv2.resize(t * t * (3 - 2 * t), size or (x2 - x1, y2 - y1)), np.float32)


def _cells(start: int, end: int) -> F32:
    """Centres of the cells between two pixel edges, float32."""
    num = min(_GRID, end - start)
    return ((np.arange(num) + 0.5) * ((end - start) / num) + start).astype(np.float32)


def _sides(turn: float) -> tuple[float, float]:
    """Half widths to the left and right of the midline, in scales; `turn` is where the nose points, 1 above an eye."""
    turn = float(np.clip(turn, -1, 1))
    far, near = _HALF_WIDTH * (1 - _FAR_SIDE * abs(turn)), _HALF_WIDTH * (1 + _NEAR_SIDE * abs(turn))
    return (near, far) if turn > 0 else (far, near)
