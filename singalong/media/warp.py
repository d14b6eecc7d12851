"""Bending and painting a face at its own resolution: what the warper's fields of 96x96 mean in pixels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.frames import YuvFrame, over_chroma, paste_samples, whole_chroma, yuv_values
from singalong.media.geometry import Box, Part, part_of, to_levels

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_MIN_COVER = 0.004
"""Less than this would change no pixel by a whole level."""
_LEAST_SHIFT_PX = 1 / 64
"""A shorter way changes nothing: pixels are taken from every 32nd of a pixel."""
_MAX_GAIN = 4.0
_LOGIT_LIMIT = 6.0


def apply_warp(face_bgr: U8, flow: F32, patch: F32) -> U8:
    """A face changed as a warper says.

    Args:
        face_bgr: uint8 (h, w, 3), the crop at its native size.
        flow: float32 (n, n, 2), where each point comes from, (x, y), relative to itself, in shares of the crop's
            width and height.
        patch: float32 (4, n, n), BGR and coverage in [0, 1], laid over the bent face.

    Returns:
        uint8 (h, w, 3), a new array. Pixels whose flow and coverage are zero keep their values.
    """
    out, size = face_bgr.copy(), (face_bgr.shape[1], face_bgr.shape[0])
    way = _way(flow, size)
    if way is not None:
        rows, columns = way.part
        out[way.part] = to_levels(_fetched(face_bgr, way.x, way.y, left=columns.start, top=rows.start))
    cover = _cover(patch[3], size)
    if cover is not None:
        colors = cover.enlarged(np.float32(255) * patch[:3].transpose(1, 2, 0))
        under = out[cover.part].astype(np.float32)
        # three equal planes: numpy's arithmetic is slow where it must repeat values itself
        out[cover.part] = to_levels(under + (colors - under) * cv2.merge((cover.share,) * 3))
    return out


def warp_samples(frame: YuvFrame, box: Box, flow: F32, patch: F32) -> None:
    """The same in the samples of a frame of 8 bits, in place: no BGR is made of the face, and none made back.

    Samples whose flow and coverage are zero keep their values. Chroma, of which there is one for four pixels, is taken
    from where they come from on the average.
    """
    x1, y1, x2, y2 = box
    size = (x2 - x1, y2 - y1)
    way, cover = _way(flow, size), _cover(patch[3], size)
    if way is not None:
        _bend_samples(frame, box, way)
    if cover is not None:
        colors = yuv_values(frame, np.ascontiguousarray(np.float32(255) * patch[:3].transpose(1, 2, 0)))
        place = part_of(box, cover.part)
        luma, *chroma = cv2.split(np.ascontiguousarray(cover.enlarged(colors)))
        below = [over_chroma(np.asarray(plane, np.float32), place, edge=cv2.BORDER_REPLICATE) for plane in chroma]
        paste_samples(frame, place, np.asarray(luma, np.float32), np.dstack(below), cover.share)


def _bend_samples(frame: YuvFrame, box: Box, way: _Way) -> None:
    x1, y1, x2, y2 = box
    place = part_of(box, way.part)
    luma = frame.y[y1:y2, x1:x2]
    rows, columns = way.part
    luma[way.part] = to_levels(_fetched(luma, way.x, way.y, left=columns.start, top=rows.start))
    all_left, all_top, all_right, all_bottom = whole_chroma(frame, box)
    left, top, right, bottom = whole_chroma(frame, place)
    way_x, way_y = (over_chroma(shift, place) * np.float32(0.5) for shift in (way.x, way.y))
    for plane in (frame.u, frame.v):
        source = plane[all_top:all_bottom, all_left:all_right]
        plane[top:bottom, left:right] = to_levels(
            _fetched(source, way_x, way_y, left=left - all_left, top=top - all_top)
        )


class _Way(NamedTuple):
    """How far the pixels in a part of a face come, right and down, in pixels: float32 (h, w) each."""

    part: Part
    x: F32
    y: F32


def _way(flow: F32, size: tuple[int, int]) -> _Way | None:
    """The rectangle that moves in a face of a size, width and height; None if nothing does."""
    (width, height), (num_rows, num_columns) = size, flow.shape[:2]
    shift_x, shift_y = flow[..., 0] * np.float32(width), flow[..., 1] * np.float32(height)
    moved = np.maximum(np.abs(shift_x), np.abs(shift_y)) >= _LEAST_SHIFT_PX
    left, top, across, down = cv2.boundingRect(np.asarray(moved, np.uint8))
    if not down:
        return None
    # Each cell shines half a cell beyond its edges.
    x1, x2 = max(0, (left - 1) * width // num_columns), min(width, -(-(left + across + 1) * width // num_columns))
    y1, y2 = max(0, (top - 1) * height // num_rows), min(height, -(-(top + down + 1) * height // num_rows))
    # The flow is smooth, and pixel centres lie half a pixel inside, as resize has it.
    fine_x, fine_y = (np.asarray(cv2.resize(shift, size)[y1:y2, x1:x2], np.float32) for shift in (shift_x, shift_y))
    return _Way(np.s_[y1:y2, x1:x2], fine_x, fine_y)


def _fetched(source: U8, way_x: F32, way_y: F32, *, left: int, top: int) -> F32:
    """Values from so far away, float32 (h, w[, C]), for the pixels of a picture from column `left`, row `top` on.

    In floats, which takes two thirds of the time of whole numbers.
    """
    height, width = way_x.shape
    map_x = np.asarray(way_x + np.arange(left, left + width, dtype=np.float32), np.float32)
    map_y = np.asarray(way_y + np.arange(top, top + height, dtype=np.float32)[:, None], np.float32)
    values = source.astype(np.float32)
    return np.asarray(cv2.remap(values, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)


def hold_still(flow: F32, patch: F32, mask: F32) -> tuple[F32, F32]:
    """The same fields, calmed where a paste mask (h, w) fades: nothing moves where it is 0.

    To scale the flow leaves no seam; to blend the bent face with the clip's would show both where it fades. Paint is
    covered in full to the middle of the fade.
    """
    calm = np.asarray(cv2.resize(mask, flow.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
    patch = patch.copy()
    patch[3] *= np.minimum(1, 2 * calm)
    return flow * calm[..., None], patch


class _Cover(NamedTuple):
    """What a patch covers of a face: pixels, the cells over them, and how much, float32 (h, w) in [0, 1]."""

    part: Part
    cells: Part
    share: F32

    def enlarged(self, fields: F32) -> F32:
        """Fields over the face (n, n, C) at the pixels covered, (h, w, C)."""
        size = self.share.shape[1], self.share.shape[0]
        return np.asarray(cv2.resize(np.ascontiguousarray(fields[self.cells]), size), np.float32)


def _cover(cover: F32, size: tuple[int, int]) -> _Cover | None:
    """The rectangle of a face of a size, width and height, that a patch covers; None if it covers nothing."""
    rows, columns = (np.flatnonzero((cover > _MIN_COVER).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    (width, height), side = size, len(cover)
    # Cells that lie next to the covered ones shine into their edges.
    top, bottom = max(0, rows[0] - 1), min(side, rows[-1] + 2)
    left, right = max(0, columns[0] - 1), min(side, columns[-1] + 2)
    y1, y2, x1, x2 = (
        round(int(edge) * length / side)
        for edge, length in ((top, height), (bottom, height), (left, width), (right, width))
    )
    if y2 <= y1 or x2 <= x1:
        return None
    cells = np.s_[top:bottom, left:right]
    gain = min(_MAX_GAIN, max(1.0, min(height, width) / side))
    share = _sharp_cover(np.ascontiguousarray(cover[cells]), (x2 - x1, y2 - y1), gain=gain)
    return _Cover(np.s_[y1:y2, x1:x2], cells, share)


def _sharp_cover(cover: F32, size: tuple[int, int], *, gain: float) -> F32:
    """Coverage at the face's size, with edges about as wide as the pixels there and not as those of the network.

    Coverage is a probability: its logit is what is smooth, and a logit times `gain` crosses from 0 to 1 faster.
    """
    if gain == 1.0:
        return np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR), np.float32)
    with np.errstate(divide="ignore"):
        logit = np.clip(np.log(cover) - np.log1p(-cover), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    fine = cv2.resize(logit, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-gain * fine)), np.float32)
