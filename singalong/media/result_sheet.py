"""Pictures of a result beside its source: whole frames, and the faces enlarged, one row a moment."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from singalong.media.frames import U8, Box
from singalong.media.lettering import BGR, TextLine
from singalong.media.time_strip import INK, PAGE, SIDE_PX, SOFT

_GAP = 12
_LANDSCAPE_PX, _PORTRAIT_PX = 300, 420
"""Height of a row; a portrait picture needs more of it."""
_MAX_WIDTH_PX = 760
_FACE_ROOM = 1.5
"""Side of what is enlarged over the longer side of the face's box: chin and cheeks are to be seen, too."""


@dataclass(frozen=True)
class Moment:
    """A frame of the clip and what became of it, BGR (h, w, 3) of the same size, and the face's box in both.

    `pixel_aspect` is how much wider than high their pixels are shown.
    """

    caption: str
    source: U8
    result: U8
    box: Box
    pixel_aspect: float = 1.0


def draw_moments(title: str, subtitle: str, moments: list[Moment]) -> U8:
    """All moments below each other, BGR uint8 (h, w, 3)."""
    rows = [(_captioned(moment.caption), _row(moment)) for moment in moments]
    width = max(row.shape[1] for _, row in rows) + 2 * SIDE_PX
    parts = [_lines([(title, 26, 700, INK), (subtitle, 17, 500, SOFT)], width)]
    for caption, row in rows:
        parts.append(_lines([(caption, 17, 600, INK)], width))
        block = np.full((row.shape[0], width, 3), PAGE, np.uint8)
        block[:, SIDE_PX : SIDE_PX + row.shape[1]] = row
        parts.append(block)
    parts.append(np.full((SIDE_PX, width, 3), PAGE, np.uint8))
    return np.vstack(parts)


def _captioned(caption: str) -> str:
    return f"{caption}: the clip, the result, and both faces"


def _lines(lines: list[tuple[str, int, int, BGR]], width: int) -> U8:
    drawn = [
        (TextLine(text, size_px=size, weight=weight, room_px=width - 2 * SIDE_PX), color)
        for text, size, weight, color in lines
    ]
    block = np.full((16 + sum(line.height for line, _ in drawn) + 6, width, 3), PAGE, np.uint8)
    y = 16
    for line, color in drawn:
        line.draw(block, SIDE_PX, y, color)
        y += line.height
    return block


def _row(moment: Moment) -> U8:
    height, width = moment.source.shape[:2]
    aspect = width * moment.pixel_aspect / height
    row_px = _LANDSCAPE_PX if aspect >= 1 else _PORTRAIT_PX
    shown = (max(1, min(round(row_px * aspect), _MAX_WIDTH_PX)), row_px)
    if shown[0] == _MAX_WIDTH_PX:
        shown = _MAX_WIDTH_PX, max(1, round(_MAX_WIDTH_PX / aspect))
    whole = [_fitted(picture, shown, row_px) for picture in (moment.source, moment.result)]
    faces = [_face(picture, moment.box, moment.pixel_aspect, row_px) for picture in (moment.source, moment.result)]
    gap = np.full((row_px, _GAP, 3), PAGE, np.uint8)
    return np.hstack([whole[0], gap, whole[1], gap, gap, faces[0], gap, faces[1]])


def _fitted(picture: U8, size: tuple[int, int], height: int) -> U8:
    scaled = _resized(picture, size)
    below = height - scaled.shape[0]
    return np.asarray(cv2.copyMakeBorder(scaled, 0, below, 0, 0, cv2.BORDER_CONSTANT, value=PAGE), np.uint8)


def _face(picture: U8, box: Box, pixel_aspect: float, side_px: int) -> U8:
    """The face and its surroundings as a square; what lies outside the picture is repeated from its edge."""
    x1, y1, x2, y2 = box
    half_y = max(_FACE_ROOM * max((x2 - x1) * pixel_aspect, y2 - y1) / 2, 4.0)
    half_x = half_y / pixel_aspect
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    scale_x, scale_y = side_px / (2 * half_x), side_px / (2 * half_y)
    move = np.array(
        [[scale_x, 0, -(centre_x - half_x) * scale_x], [0, scale_y, -(centre_y - half_y) * scale_y]], np.float64
    )
    cut = cv2.warpAffine(picture, move, (side_px, side_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _resized(picture: U8, size: tuple[int, int]) -> U8:
    shrinks = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
