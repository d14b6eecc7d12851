"""Frames as they were decoded, planar 4:2:0, and the conversion of a region of them to BGR and back.

Only the face is ever converted; the rest of the frame keeps its bytes. Samples have 8 bits; those of HDR frames, PQ or
HLG, have 10 in uint16, and their BGR is what an SDR screen shows of them (`singalong.media.hdr`).
Legend: y (H, W), u and v (H/2, W/2), uint8 or uint16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.hdr import PRIMARIES_BT2020, HdrLight, from_display, to_display
from singalong.media.hdr import TRANSFER_HLG as TRANSFER_HLG
from singalong.media.hdr import TRANSFER_PQ as TRANSFER_PQ

U8 = NDArray[np.uint8]
Samples = NDArray[Any]
"""uint8, or uint16 with 10 bits in use."""
F32 = NDArray[np.float32]
Box = tuple[int, int, int, int]

# Names of ffmpeg's numbers: libavutil/pixfmt.h, which follows ITU-T H.273.
MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_FCC, MATRIX_BT470BG = 1, 2, 4, 5
MATRIX_SMPTE170M, MATRIX_SMPTE240M, MATRIX_BT2020_NCL, MATRIX_BT2020_CL = 6, 7, 9, 10
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2
PRIMARIES_BT709, PRIMARIES_UNSPECIFIED = 1, 2
TRANSFER_BT709, TRANSFER_UNSPECIFIED, TRANSFER_SRGB = 1, 2, 13

# Weights of red and blue in luma, H.273 table 4. The constant-luminance form of BT.2020 is treated as the
# plain one: it is hardly ever seen, and both directions use the same numbers.
_KR_KB = {
    MATRIX_BT709: (0.2126, 0.0722),
    MATRIX_FCC: (0.30, 0.11),
    MATRIX_BT470BG: (0.299, 0.114),
    MATRIX_SMPTE170M: (0.299, 0.114),
    MATRIX_SMPTE240M: (0.212, 0.087),
    MATRIX_BT2020_NCL: (0.2627, 0.0593),
    MATRIX_BT2020_CL: (0.2627, 0.0593),
}
_HD_SIDE_PX = 720
_DEEP_MAX = 1023
"""Largest 10-bit sample."""


@dataclass(frozen=True)
class ColorInfo:
    """How samples become colours, as ffmpeg's numbers (H.273); 2, and 0 for the range, mean unspecified."""

    matrix: int = MATRIX_UNSPECIFIED
    range: int = RANGE_UNSPECIFIED
    primaries: int = PRIMARIES_UNSPECIFIED
    transfer: int = TRANSFER_UNSPECIFIED
    light: HdrLight | None = None

    @property
    def is_hdr(self) -> bool:
        """Whether the samples mean light far beyond an ordinary screen's: PQ or HLG."""
        return self.transfer in (TRANSFER_PQ, TRANSFER_HLG)

    def matrix_for(self, width: int, height: int) -> int:
        """The matrix in use: the stated one, else BT.601 if the shorter side is below 720, else BT.709.

        The shorter side, because a clip must not change its colours by being turned.
        """
        if self.matrix in _KR_KB:
            return self.matrix
        return MATRIX_SMPTE170M if min(width, height) < _HD_SIDE_PX else MATRIX_BT709

    @property
    def is_full_range(self) -> bool:
        """Whether black is 0 and white 255; unspecified means limited, 16 to 235."""
        return self.range == RANGE_FULL


@dataclass
class YuvFrame:
    """One upright frame: even sides, 4:2:0, planes writable and owned by this frame alone."""

    y: Samples
    u: Samples
    v: Samples
    pts_s: float
    """Presentation time on the clip's time line, seconds."""
    color: ColorInfo

    @property
    def width(self) -> int:
        """Pixels of luma across."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Pixels of luma down."""
        return int(self.y.shape[0])

    @property
    def is_deep(self) -> bool:
        """Whether samples have 10 bits, as those of HDR frames."""
        return self.y.dtype == np.uint16

    @property
    def num_bytes(self) -> int:
        """Memory that the planes take."""
        return int(self.y.nbytes + self.u.nbytes + self.v.nbytes)

    def copy(self) -> YuvFrame:
        """The same frame with planes of its own."""
        return YuvFrame(self.y.copy(), self.u.copy(), self.v.copy(), self.pts_s, self.color)


def face_region_to_bgr(frame: YuvFrame, box: Box) -> U8:
    """The pixels of a box as BGR uint8 (h, w, 3), by the frame's own matrix and range.

    `box` is `(x1, y1, x2, y2)`, exclusive ends, inside the frame and not empty; odd corners are fine. Each
    chroma sample stands for its 2x2 pixels, which `paste_bgr` undoes by averaging.
    """
    ax1, ay1, ax2, ay2 = _aligned(frame, box)
    yuv = _region(frame, (ax1, ay1, ax2, ay2))
    bgr = _hdr_to_bgr(frame, yuv) if frame.is_deep else _sdr_to_bgr(frame, yuv)
    x1, y1, x2, y2 = box
    return cast(U8, np.ascontiguousarray(bgr[y1 - ay1 : y2 - ay1, x1 - ax1 : x2 - ax1]))


def frame_to_bgr(frame: YuvFrame) -> U8:
    """The whole frame as BGR uint8 (H, W, 3)."""
    return face_region_to_bgr(frame, (0, 0, frame.width, frame.height))


def paste_bgr(frame: YuvFrame, box: Box, bgr: U8, alpha: F32) -> None:
    """Blend BGR pixels (h, w, 3) uint8 into a box of the frame, in place, by alpha (h, w) in [0, 1].

    The blend is done on the samples as they are stored: where alpha is 0 the bytes stay exactly as they were,
    where it is 1 they are the new pixel's. A chroma sample takes the mean of its 2x2 pixels, each by its own
    alpha.
    """
    x1, y1, x2, y2 = box
    assert bgr.shape == (y2 - y1, x2 - x1, 3), (bgr.shape, box)
    assert alpha.shape == bgr.shape[:2], (alpha.shape, box)
    ax1, ay1, ax2, ay2 = _aligned(frame, box)
    margins = (y1 - ay1, ay2 - y2, x1 - ax1, ax2 - x2)
    if any(margins):  # pixels added for the sake of chroma must not change
        bgr = cast(U8, cv2.copyMakeBorder(bgr, *margins, borderType=cv2.BORDER_REPLICATE))
        alpha = cast(F32, cv2.copyMakeBorder(alpha, *margins, borderType=cv2.BORDER_CONSTANT, value=0.0))
    alpha = np.asarray(alpha, np.float32)
    if frame.is_deep:
        _paste_hdr(frame, (ax1, ay1, ax2, ay2), bgr, alpha)
        return
    _, to_yuv = _matrices(frame.color.matrix_for(frame.width, frame.height), frame.color.is_full_range)
    new_y, new_u, new_v = cv2.split(cv2.transform(bgr, to_yuv))
    _blend(frame.y[ay1:ay2, ax1:ax2], cast(U8, new_y), alpha)
    half = ((ax2 - ax1) // 2, (ay2 - ay1) // 2)
    weight = cv2.resize(alpha, half, interpolation=cv2.INTER_AREA)
    for plane, new in ((frame.u, new_u), (frame.v, new_v)):
        # old + mean(alpha * new) - mean(alpha) * old: pixels not blended in have no say in the new colour
        weighted = cv2.resize(cv2.multiply(new, alpha, dtype=cv2.CV_32F), half, interpolation=cv2.INTER_AREA)
        old = plane[ay1 // 2 : ay2 // 2, ax1 // 2 : ax2 // 2]
        delta = cv2.subtract(weighted, cv2.multiply(old, weight, dtype=cv2.CV_32F))
        old[:] = cv2.add(old, delta, dtype=cv2.CV_8U)


def bgr_values(frame: YuvFrame, yuv: F32) -> F32:
    """Samples (h, w, 3) as a frame of 8 bits has them, float32, as BGR levels, neither rounded nor cut."""
    to_bgr, _ = _matrices(frame.color.matrix_for(frame.width, frame.height), frame.color.is_full_range)
    return cast(F32, cv2.transform(yuv, to_bgr))


def yuv_values(frame: YuvFrame, bgr: F32) -> F32:
    """BGR levels (h, w, 3), float32, as the samples that a frame of 8 bits has for them, neither rounded nor cut."""
    _, to_yuv = _matrices(frame.color.matrix_for(frame.width, frame.height), frame.color.is_full_range)
    return cast(F32, cv2.transform(bgr, to_yuv))


def whole_chroma(frame: YuvFrame, box: Box) -> Box:
    """The box of chroma samples, as indices of `u` and `v`, that have a share in a box of pixels."""
    x1, y1, x2, y2 = _aligned(frame, box)
    return x1 // 2, y1 // 2, x2 // 2, y2 // 2


def chroma_of(frame: YuvFrame, samples: Box) -> U8:
    """Both planes of chroma, (h, w, 2), in a box of samples."""
    x1, y1, x2, y2 = samples
    return cast(U8, cv2.merge([np.ascontiguousarray(plane[y1:y2, x1:x2]) for plane in (frame.u, frame.v)]))


def over_chroma(field: F32, box: Box, *, edge: int = cv2.BORDER_CONSTANT) -> F32:
    """A field (h, w) over the pixels of a box as means over the chroma samples that have a share in it.

    Beyond the box it is 0, unless `edge` says that it goes on.
    """
    x1, y1, x2, y2 = box
    margins = (y1 % 2, y2 % 2, x1 % 2, x2 % 2)
    if any(margins):
        field = cast(F32, cv2.copyMakeBorder(field, *margins, borderType=edge, value=0.0))
    size = field.shape[1] // 2, field.shape[0] // 2
    return cast(F32, cv2.resize(field, size, interpolation=cv2.INTER_AREA))


def paste_samples(frame: YuvFrame, box: Box, luma: F32, chroma: F32, alpha: F32) -> None:
    """Blend samples into a box of a frame of 8 bits, in place, by alpha (h, w) in [0, 1].

    luma (h, w) is of the box, chroma (h', w', 2) of `whole_chroma`; both float32, as the frame's samples are. Where
    alpha is 0 the bytes stay exactly as they were.
    """
    x1, y1, x2, y2 = box
    _blend(frame.y[y1:y2, x1:x2], luma, np.asarray(alpha, np.float32))
    x1, y1, x2, y2 = whole_chroma(frame, box)
    weight = over_chroma(alpha, box)
    for plane, new in zip((frame.u, frame.v), cv2.split(chroma), strict=True):
        _blend(plane[y1:y2, x1:x2], cast(F32, new), weight)


def _paste_hdr(frame: YuvFrame, box: Box, bgr: U8, alpha: F32) -> None:
    """Add to the samples of an aligned box what new pixels change of the picture on an SDR screen.

    What that picture cannot show (highlights, wide colours, steps finer than 8 bits) stays the clip's own.
    """
    x1, y1, x2, y2 = box
    before = _hdr_to_bgr(frame, _region(frame, box))
    delta = (_bgr_to_hdr(frame, bgr) - _bgr_to_hdr(frame, before)) * alpha[..., None]
    half = ((x2 - x1) // 2, (y2 - y1) // 2)
    coarse = cv2.resize(delta, half, interpolation=cv2.INTER_AREA)
    _add(frame.y[y1:y2, x1:x2], delta[..., 0])
    _add(frame.u[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2], coarse[..., 1])
    _add(frame.v[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2], coarse[..., 2])


def _add(samples: Samples, delta: NDArray[Any]) -> None:
    samples[:] = np.clip(np.rint(samples + delta), 0, _DEEP_MAX).astype(samples.dtype)


def _region(frame: YuvFrame, box: Box) -> Samples:
    """The samples of an aligned box, (h, w, 3)."""
    x1, y1, x2, y2 = box
    planes = (
        frame.y[y1:y2, x1:x2],
        *(_doubled(plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2]) for plane in (frame.u, frame.v)),
    )
    return cast(
        Samples, cv2.merge([np.ascontiguousarray(plane) for plane in planes])
    )  # of views it takes ten times as long


def _doubled(plane: Samples) -> Samples:
    """Each sample four times, two by two."""
    wider, twice = (np.uint32, 0x10001) if plane.dtype == np.uint16 else (np.uint16, 0x101)
    wide: Samples = (plane * wider(twice)).view(plane.dtype)
    return np.repeat(wide, 2, axis=0)


def planes_to_bgr(y: U8, u: U8, v: U8, color: ColorInfo) -> U8:
    """Planes of one size (h, w), of 8 bits, whose matrix `color` states, as BGR uint8 (h, w, 3)."""
    to_bgr, _ = _matrices(color.matrix, color.is_full_range)
    return cast(U8, cv2.transform(cv2.merge((y, u, v)), to_bgr))


def _sdr_to_bgr(frame: YuvFrame, yuv: Samples) -> U8:
    to_bgr, _ = _matrices(frame.color.matrix_for(frame.width, frame.height), frame.color.is_full_range)
    return cast(U8, cv2.transform(yuv, to_bgr))


def _hdr_to_bgr(frame: YuvFrame, yuv: Samples) -> U8:
    color = frame.color
    to_bgr, _ = _matrices(color.matrix_for(frame.width, frame.height), color.is_full_range, bits=10)
    coded = cv2.transform(yuv.astype(np.float32), to_bgr)[..., ::-1] / np.float32(_DEEP_MAX)
    shown = to_display(coded, color.transfer, is_wide=color.primaries == PRIMARIES_BT2020)
    return np.ascontiguousarray((shown * 255 + 0.5).astype(np.uint8)[..., ::-1])


def _bgr_to_hdr(frame: YuvFrame, bgr: U8) -> F32:
    """Samples (h, w, 3) of pixels of an SDR screen, not rounded."""
    color = frame.color
    _, to_yuv = _matrices(color.matrix_for(frame.width, frame.height), color.is_full_range, bits=10)
    coded = from_display(bgr[..., ::-1], color.transfer, is_wide=color.primaries == PRIMARIES_BT2020)
    return cast(F32, cv2.transform(np.ascontiguousarray(coded[..., ::-1]) * np.float32(_DEEP_MAX), to_yuv))


def bgr_to_frame(bgr: U8, *, pts_s: float, color: ColorInfo) -> YuvFrame:
    """A frame of BGR uint8 (H, W, 3) with even sides, by the matrix and range of `color`."""
    height, width = bgr.shape[:2]
    assert height % 2 == 0, height
    assert width % 2 == 0, width
    _, to_yuv = _matrices(color.matrix_for(width, height), color.is_full_range)
    y, u, v = (np.asarray(plane, np.uint8) for plane in cv2.split(cv2.transform(bgr, to_yuv)))
    half = (width // 2, height // 2)
    small_u, small_v = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (u, v))
    return YuvFrame(y, cast(U8, small_u), cast(U8, small_v), pts_s, color)


def _blend(old: U8, new: U8 | F32, alpha: F32) -> None:
    delta = cv2.multiply(cv2.subtract(new, old, dtype=cv2.CV_32F), alpha)
    old[:] = cv2.add(old, delta, dtype=cv2.CV_8U)


def _aligned(frame: YuvFrame, box: Box) -> Box:
    """The box grown to even corners, so that it holds whole chroma samples."""
    x1, y1, x2, y2 = box
    assert 0 <= x1 < x2 <= frame.width, (box, frame.width)
    assert 0 <= y1 < y2 <= frame.height, (box, frame.height)
    return x1 - x1 % 2, y1 - y1 % 2, x2 + x2 % 2, y2 + y2 % 2


@lru_cache(maxsize=16)
def _matrices(matrix: int, is_full_range: bool, *, bits: int = 8) -> tuple[F32, F32]:
    """Affine maps (3, 4) of YUV to BGR and of BGR to YUV, on values of so many bits (H.273, section 8.3)."""
    kr, kb = _KR_KB[matrix]
    luma = np.array([kb, 1 - kr - kb, kr])
    from_bgr = np.stack([luma, (np.eye(3)[0] - luma) / (2 * (1 - kb)), (np.eye(3)[2] - luma) / (2 * (1 - kr))])
    step, largest = 2.0 ** (bits - 8), 2**bits - 1
    scale = np.array([1.0, 1.0, 1.0]) if is_full_range else step * np.array([219.0, 224.0, 224.0]) / largest
    offset = step * np.array([0.0 if is_full_range else 16.0, 128.0, 128.0])
    from_bgr = from_bgr * scale[:, None]
    to_bgr = np.linalg.inv(from_bgr)
    forward = np.hstack([to_bgr, -(to_bgr @ offset)[:, None]])
    backward = np.hstack([from_bgr, offset[:, None]])
    return forward.astype(np.float32), backward.astype(np.float32)
