"""HDR frames and clips of a known picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.encode import SegmentWriter
from singalong.media.frames import ColorInfo, YuvFrame
from singalong.media.hdr import HdrLight, from_display

PQ, HLG = 16, 18
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
LIGHT = HdrLight(MASTERING, 1000, 400)
KR, KB = 0.2627, 0.0593  # BT.2020


def pq_color(light: HdrLight | None = None) -> ColorInfo:
    return ColorInfo(9, 1, 9, PQ, light)


def hdr_frame(bgr: NDArray[np.uint8], *, transfer: int = PQ, light: HdrLight | None = None) -> YuvFrame:
    """A frame that shows the picture (H, W, 3) on an SDR screen; the formulas of BT.2020, written out."""
    coded = from_display(bgr[..., ::-1], transfer, is_wide=True).astype(np.float64)
    red, green, blue = np.moveaxis(coded, 2, 0)
    luma = KR * red + (1 - KR - KB) * green + KB * blue
    chroma = ((blue - luma) / (2 * (1 - KB)), (red - luma) / (2 * (1 - KR)))
    half = (bgr.shape[1] // 2, bgr.shape[0] // 2)
    u, v = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) * 896 + 512 for plane in chroma)
    y, u, v = (np.rint(plane).astype(np.uint16) for plane in (luma * 876 + 64, u, v))
    return YuvFrame(y, u, v, 0.0, ColorInfo(9, 1, 9, transfer, light))


def write_hdr(path: Path, frames: Sequence[YuvFrame], *, crf: int = 4) -> Path:
    first = frames[0]
    with SegmentWriter(
        path,
        width=first.width,
        height=first.height,
        fps=Fraction(25),
        color=first.color,
        deep=True,
        crf=crf,
        preset="ultrafast",
    ) as writer:
        for frame in frames:
            writer.write(frame)
    return path
