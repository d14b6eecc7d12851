"""Bending and painting a face at its own resolution: what the warper's fields of 96x96 mean in pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


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
    height, width = face_bgr.shape[:2]
    size = (width, height)
    # Both fields are smooth, and pixel centres lie half a pixel inside, as resize has it.
    fine = cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR)
    map_x = np.arange(width, dtype=np.float32) + fine[..., 0] * np.float32(width)
    map_y = np.arange(height, dtype=np.float32)[:, None] + fine[..., 1] * np.float32(height)
    bent = cv2.remap(face_bgr, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    painted = cv2.resize(np.ascontiguousarray(patch.transpose(1, 2, 0)), size, interpolation=cv2.INTER_LINEAR)
    cover = painted[..., 3:]
    mixed = bent.astype(np.float32) * (1 - cover) + (255 * painted[..., :3]) * cover
    return np.asarray(mixed + 0.5, np.uint8)
