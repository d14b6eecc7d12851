"""A label that a film bears, once the film is cropped: painted anew where it is cut, and what is left of it removed."""

from __future__ import annotations

import cv2
import numpy as np

from singalong.media.frames import U8, Box, YuvFrame
from singalong.media.reframe import Ints, Size
from singalong.media.titles import LabelPainter

_MARGIN_PX = 8
"""Around a label's box, where scaling and encoding have smeared it."""
_REACH_PX = 16
"""Surroundings from which what the label covered is filled in."""


class Relabel:
    """Keeps the label of a cropped film legible, in one place, and only once."""

    def __init__(self, label: str, shown: Size, picture: Size, canvas: Size, offsets: Ints) -> None:
        """For a film shown as `shown`, scaled to `picture` and cut to `canvas` at `offsets` (n,2)."""
        scale = picture[0] / shown[0]
        x1, y1, x2, y2 = LabelPainter(label, width=shown[0], height=shown[1]).box
        self._old = tuple(round(side * scale) for side in (x1, y1, x2, y2))
        last, first = offsets.max(axis=0), offsets.min(axis=0)
        stays = (last <= self._old[:2]).all() and (self._old[2:] <= first + canvas).all()
        self._painter = None if stays else LabelPainter(label, width=canvas[0], height=canvas[1])

    def paint(self, frame: YuvFrame, offset: Size) -> YuvFrame:
        """A cut, with its label; `offset` is where it was cut from the picture."""
        if self._painter is None:
            return frame
        x1, y1, x2, y2 = (side - offset[axis % 2] for axis, side in enumerate(self._old))
        _fill_in(frame, (x1 - _MARGIN_PX, y1 - _MARGIN_PX, x2 + _MARGIN_PX, y2 + _MARGIN_PX))
        return self._painter.paint(frame)


def _fill_in(frame: YuvFrame, box: Box) -> None:
    """Replace what lies in a box by what is around it, in place; nothing where the box is outside the frame."""
    x1, y1 = (max(0, side) // 2 * 2 for side in box[:2])
    x2, y2 = min(frame.width, box[2]), min(frame.height, box[3])
    if x1 >= x2 or y1 >= y2:
        return
    for plane, shrink in ((frame.y, 1), (frame.u, 2), (frame.v, 2)):
        _fill_in_plane(plane, (x1 // shrink, y1 // shrink, -(-x2 // shrink), -(-y2 // shrink)))


def _fill_in_plane(plane: U8, box: Box) -> None:
    x1, y1, x2, y2 = box
    left, top = max(0, x1 - _REACH_PX), max(0, y1 - _REACH_PX)
    around = plane[top : y2 + _REACH_PX, left : x2 + _REACH_PX]
    mask = np.zeros(around.shape, np.uint8)
    mask[y1 - top : y2 - top, x1 - left : x2 - left] = 255
    around[:] = cv2.inpaint(np.ascontiguousarray(around), mask, 3, cv2.INPAINT_TELEA)
