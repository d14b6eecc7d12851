"""Faces brought upright and to one size by their landmarks, as face enhancers were trained on them, and back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.frames import U8, Box, YuvFrame, face_region_to_bgr

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

TEMPLATE = (
    np.array([[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]], np.float64)
    / 512
)
"""Where eyes, nose and mouth corners lie in an aligned face, as shares of its side: means over FFHQ, as published with
the GFPGAN and CodeFormer programs (facexlib, `face_restoration_helper.py`)."""

_SOFT_SHARE = 1 / 24
"""Colours coarser than this share of the side stay the frame's: enhancers drift in them from frame to frame."""


def alignment(landmarks: F64, side: int) -> F64:
    """Turn, size and place (2, 3) that bring landmarks (5, 2) nearest to the template, by least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (PAMI 1991), without
    mirroring: in the plane a similarity is a complex factor and an offset.
    """
    seen, wanted = (points @ np.array([1, 1j]) for points in (landmarks, TEMPLATE * side))
    about = seen - seen.mean()
    factor = (np.conj(about) @ (wanted - wanted.mean())) / max(float((np.abs(about) ** 2).sum()), 1e-9)
    offset = wanted.mean() - factor * seen.mean()
    return np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]])


def aligned_face(frame: YuvFrame, box: Box, face_bgr: U8, matrix: F64, side: int) -> U8:
    """The aligned face (side, side, 3) of a frame in which `face_bgr` (h, w, 3) stands at `box`.

    What lies outside the frame is the colour of its edge.
    """
    x1, y1, x2, y2 = region = _seen_by(matrix, side, frame)
    picture = face_region_to_bgr(frame, region)
    left, top, right, bottom = max(box[0], x1), max(box[1], y1), min(box[2], x2), min(box[3], y2)
    if left < right and top < bottom:
        picture[top - y1 : bottom - y1, left - x1 : right - x1] = face_bgr[
            top - box[1] : bottom - box[1], left - box[0] : right - box[0]
        ]
    aligned = cv2.warpAffine(
        picture, _moved(matrix, x1, y1), (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(aligned, np.uint8)


def add_detail(face_bgr: U8, box: Box, before: U8, after: U8, matrix: F64, weight: F32) -> U8:
    """A face (h, w, 3) at `box` with what an enhancer changed of its aligned form from `before` to `after`.

    weight (h, w) in [0, 1]. Only what is finer than a cheek is taken: coarse colours stay those of the face.
    """
    change = after.astype(np.float32) - before
    change -= cv2.GaussianBlur(change, (0, 0), _SOFT_SHARE * len(after))
    height, width = face_bgr.shape[:2]
    moved = cv2.warpAffine(
        change, _moved(matrix, box[0], box[1]), (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(np.clip(face_bgr + moved * weight[..., None] + 0.5, 0, 255).astype(np.uint8))


def _moved(matrix: F64, left: float, top: float) -> F64:
    """The same for pixels counted from a corner; OpenCV counts from their centres, landmarks from their edges."""
    half = np.array([0.5, 0.5])
    offset = matrix[:, 2] + matrix[:, :2] @ (np.array([left, top]) + half) - half
    return np.hstack([matrix[:, :2], offset[:, None]])


def _seen_by(matrix: F64, side: int, frame: YuvFrame) -> Box:
    """The rectangle of the frame that holds the aligned square; at least two pixels of it."""
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64) - matrix[:, 2]
    points = corners @ np.linalg.inv(matrix[:, :2]).T
    (left, top), (right, bottom) = np.floor(points.min(axis=0)) - 1, np.ceil(points.max(axis=0)) + 1
    x1, y1 = int(np.clip(left, 0, frame.width - 2)), int(np.clip(top, 0, frame.height - 2))
    return x1, y1, int(np.clip(right, x1 + 2, frame.width)), int(np.clip(bottom, y1 + 2, frame.height))
