"""Bending and painting a face at its own resolution: what the warper's fields of 96x96 mean in pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.geometry import to_levels

_MIN_COVER = 0.004
"""Less than this would change no pixel by a whole level."""
_LEAST_SHIFT_PX = 1 / 64
"""A shorter way changes nothing: pixels are taken from every 32nd of a pixel."""
_MAX_GAIN = 4.0
_LOGIT_LIMIT = 6.0


def apply_warp(face_bgr: NDArray[np.uint8], flow: NDArray[np.float32], patch: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A face changed as a warper says.

    Args:
        face_bgr: uint8 (h, w, 3), the crop at its native size.
        flow: float32 (n, n, 2), where each point comes from, (x, y), relative to itself, in shares of the crop's
            width and height.
        patch: float32 (4, n, n), BGR and coverage in [0, 1], laid over the bent face.

    Returns:
        uint8 (h, w, 3), a new array. Pixels whose flow and coverage are zero keep their values.
    """
    out = face_bgr.copy()
    _bend(out, face_bgr, flow)
    _paint(out, patch)
    return out


def _bend(out: NDArray[np.uint8], face_bgr: NDArray[np.uint8], flow: NDArray[np.float32]) -> None:
    """Write the bent face into a copy of it, touching only the rectangle that moves."""
    (height, width), (num_rows, num_columns) = face_bgr.shape[:2], flow.shape[:2]
    shift_x, shift_y = flow[..., 0] * np.float32(width), flow[..., 1] * np.float32(height)
    moved = np.maximum(np.abs(shift_x), np.abs(shift_y)) >= _LEAST_SHIFT_PX
    left, top, across, down = cv2.boundingRect(np.asarray(moved, np.uint8))
    if not down:
        return
    # Each cell shines half a cell beyond its edges.
    x1, x2 = max(0, (left - 1) * width // num_columns), min(width, -(-(left + across + 1) * width // num_columns))
    y1, y2 = max(0, (top - 1) * height // num_rows), min(height, -(-(top + down + 1) * height // num_rows))
    # The flow is smooth, and pixel centres lie half a pixel inside, as resize has it.
    fine_x, fine_y = (cv2.resize(shift, (width, height))[y1:y2, x1:x2] for shift in (shift_x, shift_y))
    map_x = fine_x + np.arange(x1, x2, dtype=np.float32)
    map_y = fine_y + np.arange(y1, y2, dtype=np.float32)[:, None]
    # In floats, which takes two thirds of the time of whole numbers.
    source = face_bgr.astype(np.float32)
    bent = cv2.remap(source, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    out[y1:y2, x1:x2] = to_levels(np.asarray(bent, np.float32))


def hold_still(
    flow: NDArray[np.float32], patch: NDArray[np.float32], mask: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same fields, calmed where a paste mask (h, w) fades: nothing moves where it is 0.

    To scale the flow leaves no seam; to blend the bent face with the clip's would show both where it fades. Paint is
    covered in full to the middle of the fade.
    """
    calm = np.asarray(cv2.resize(mask, flow.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)
    patch = patch.copy()
    patch[3] *= np.minimum(1, 2 * calm)
    return flow * calm[..., None], patch


def _paint(face_bgr: NDArray[np.uint8], patch: NDArray[np.float32]) -> None:
    """Lay the patch over a face, in place, touching only the rectangle that it covers."""
    rows, columns = (np.flatnonzero((patch[3] > _MIN_COVER).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return
    (height, width), side = face_bgr.shape[:2], patch.shape[1]
    # Cells that lie next to the covered ones shine into their edges.
    top, bottom = max(0, rows[0] - 1), min(side, rows[-1] + 2)
    left, right = max(0, columns[0] - 1), min(side, columns[-1] + 2)
    y1, y2, x1, x2 = (
        round(int(edge) * size / side)
        for edge, size in ((top, height), (bottom, height), (left, width), (right, width))
    )
    if y2 <= y1 or x2 <= x1:
        return
    fields = np.ascontiguousarray(patch[:, top:bottom, left:right].transpose(1, 2, 0))
    size = (x2 - x1, y2 - y1)
    color = cv2.resize(fields[..., :3], size, interpolation=cv2.INTER_LINEAR)
    cover = _sharp_cover(fields[..., 3], size, gain=min(_MAX_GAIN, max(1.0, min(height, width) / side)))
    under = face_bgr[y1:y2, x1:x2].astype(np.float32)
    # three equal planes: numpy's arithmetic is slow where it must repeat values itself
    cover_all = cv2.merge((cover, cover, cover))
    face_bgr[y1:y2, x1:x2] = to_levels(under + (np.float32(255) * color - under) * cover_all)


def _sharp_cover(cover: NDArray[np.float32], size: tuple[int, int], *, gain: float) -> NDArray[np.float32]:
    """Coverage at the face's size, with edges about as wide as the pixels there and not as those of the network.

    Coverage is a probability: its logit is what is smooth, and a logit times `gain` crosses from 0 to 1 faster.
    """
    if gain == 1.0:
        return np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR), np.float32)
    with np.errstate(divide="ignore"):
        logit = np.clip(np.log(cover) - np.log1p(-cover), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    fine = cv2.resize(logit, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-gain * fine)), np.float32)
