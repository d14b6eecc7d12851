"""Small pictures for analysis, coloured only where somebody looks at them.

Most frames of a clip are only compared with their neighbours. So what is kept of a frame are its planes, halved as
often as they stay large enough, which costs a thirtieth of scaling and converting it; the detector's picture is made
of them for the few frames that it sees.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

import cv2
from av.video.frame import VideoFrame

from singalong.contracts import ClipFacts
from singalong.media.frames import U8, ColorInfo, planes_to_bgr
from singalong.media.planes import color_of, plane_views, upright


class SmallPlanes:
    """What is kept of one frame: planes (h, w) and twice (h/2, w/2) uint8, as coded, not turned."""

    def __init__(self, y: U8, u: U8, v: U8, color: ColorInfo, *, size: tuple[int, int], facts: ClipFacts) -> None:
        """`size` is width and height of the picture to make, as coded; `facts` say how to turn it."""
        self._y, self._u, self._v, self._color = y, u, v, color
        self._size, self._facts = size, facts

    @classmethod
    def of(cls, frame: VideoFrame, *, size: tuple[int, int], facts: ClipFacts) -> SmallPlanes | None:
        """None for what must be converted otherwise: more than 8 bits, other layouts, HDR, sizes that do not halve."""
        color = color_of(frame)
        if frame.format.name not in ("yuv420p", "yuvj420p") or color.is_hdr:
            return None
        factor = 1
        while max(frame.width, frame.height) >= 2 * factor * max(size):
            factor *= 2
        sides = frame.width, frame.height
        if sides != _coded(facts) or any(side % (2 * factor) for side in sides):
            return None
        color = ColorInfo(color.matrix_for(*sides), color.range)  # a small frame would stand for another by its size
        y, u, v = (cast(U8, plane) for plane in plane_views(frame))
        if factor == 1:
            return cls(y.copy(), u.copy(), v.copy(), color, size=size, facts=facts)
        small = [_shrunk(plane, factor) for plane in (y, u, v)]
        return cls(small[0], small[1], small[2], color, size=size, facts=facts)

    @cached_property
    def bgr(self) -> U8:
        """The picture, upright, BGR uint8 (h, w, 3)."""
        height, width = self._y.shape
        u = cast(U8, cv2.resize(self._u, (width, height), interpolation=cv2.INTER_NEAREST))
        v = cast(U8, cv2.resize(self._v, (width, height), interpolation=cv2.INTER_NEAREST))
        bgr = planes_to_bgr(self._y, u, v, self._color)
        if (width, height) != self._size:
            bgr = cast(U8, cv2.resize(bgr, self._size, interpolation=cv2.INTER_LINEAR))
        return cast(U8, upright(bgr, self._facts))

    def coarse_bgr(self, max_side_px: int) -> U8:
        """The picture with no side longer than this, BGR uint8 (h, w, 3), as coded: not turned."""
        y, u, v = _halved(self._y), self._u, self._v  # now of one size
        while max(u.shape) > max_side_px:
            y, u, v = _halved(y), _halved(u), _halved(v)
        return planes_to_bgr(y, u, v, self._color)


def bgr_of(picture: U8 | SmallPlanes) -> U8:
    """A small picture, upright, BGR uint8 (h, w, 3); made when it is asked for first."""
    return picture.bgr if isinstance(picture, SmallPlanes) else picture


def _coded(facts: ClipFacts) -> tuple[int, int]:
    size = facts.width, facts.height
    return size[::-1] if facts.rotation_deg in (90, 270) else size


def _shrunk(plane: U8, factor: int) -> U8:
    while factor > 1:
        plane, factor = _halved(plane), factor // 2
    return plane


def _halved(plane: U8) -> U8:
    """Means of two by two; an odd last row or column is left out."""
    height, width = (max(side // 2, 1) for side in plane.shape)
    cut = plane[: 2 * height, : 2 * width]
    return cast(U8, cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA))
