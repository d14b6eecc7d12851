"""Where the face is cut out and how it is laid back: pure functions on boxes and pixels.

Boxes are `(x1, y1, x2, y2)` integers in pixels of the upright frame, exclusive ends.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

NETWORK_SIDE_PX = 96
"""Side of the generator's input and output (the paper's fixed working size)."""

_HARD_EDGE = 1e-4
"""A feather narrower than this share of a box is less than a pixel of any frame."""

Box = tuple[int, int, int, int]
Part = tuple[slice, slice]
"""Rows and columns of a box, each with a beginning and an end."""


def pad_box(box: Box, pads: tuple[int, int, int, int], *, width: int, height: int) -> Box:
    """Grow a box by `pads` (top, bottom, left, right; pixels) and clip it to the frame, as the paper's program does."""
    top, bottom, left, right = pads
    x1, y1, x2, y2 = box
    return max(0, x1 - left), max(0, y1 - top), min(width, x2 + right), min(height, y2 + bottom)


def part_of(box: Box, part: Part) -> Box:
    """The box of some of its rows and columns."""
    rows, columns = part
    x1, y1 = box[:2]
    return x1 + columns.start, y1 + rows.start, x1 + columns.stop, y1 + rows.stop


def network_crop(face_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a face (h, w, 3) to the network's 96x96, bilinear on uint8 as in the paper."""
    side = NETWORK_SIDE_PX
    return np.asarray(cv2.resize(face_bgr, (side, side)), dtype=np.uint8)


def fit_to_box(face_bgr: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Resize a generated 96x96 face to the box it came from, bilinear on uint8 as in the paper; the same if it fits."""
    x1, y1, x2, y2 = box
    if face_bgr.shape[:2] == (y2 - y1, x2 - x1):
        return face_bgr
    return np.asarray(cv2.resize(face_bgr, (x2 - x1, y2 - y1)), dtype=np.uint8)


def to_levels(face: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values rounded to whole levels and cut to 0 to 255: in one pass, where numpy takes three and their memory."""
    return np.asarray(cv2.addWeighted(face, 1.0, face, 0.0, 0.0, dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=64)
def paste_mask(width: int, height: int, *, style: str, feather: float) -> NDArray[np.float32]:
    """Weight of the generated face in each pixel of its box, float32 (height, width) in [0, 1].

    `box` covers the whole box, as the paper pastes it. `lower_face` fades in between 40 % and 50 % of the height:
    the network is shown the rows above 50 % and only repeats them, so the source's own, sharper pixels stay.
    Both fade out towards the other edges over `feather` times the box side; 0 is a hard edge.
    """
    rows = (np.arange(height) + 0.5) / height
    columns = (np.arange(width) + 0.5) / width
    top = _smoothstep((rows - 0.40) / 0.10) if style == "lower_face" else _fade(rows, feather)
    edge_row = top * _fade(1 - rows, feather)
    edge_column = _fade(columns, feather) * _fade(1 - columns, feather)
    mask = np.outer(edge_row.astype(np.float32), edge_column.astype(np.float32))
    mask.setflags(write=False)  # shared by the cache
    return mask


def _fade(distance: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return _smoothstep(distance / width) if width > _HARD_EDGE else np.ones_like(distance)


def _smoothstep(t: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
