"""A decoded libav frame, of whatever pixel format and turn, as upright, even-sized 4:2:0 planes: 8-bit, HDR 10-bit."""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from singalong.contracts import ClipFacts
from singalong.media.demux import TimedFrame
from singalong.media.frames import (
    MATRIX_BT709,
    MATRIX_BT2020_CL,
    MATRIX_BT2020_NCL,
    RANGE_FULL,
    RANGE_LIMITED,
    RANGE_UNSPECIFIED,
    U8,
    ColorInfo,
    Samples,
    YuvFrame,
)
from singalong.media.hdr import PRIMARIES_BT2020, light_of, to_display

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_PLANAR = ("yuv420p", "yuvj420p")
_DEEP = "yuv420p10le"
_SEMIPLANAR = ("nv12", "nv21")
_GREY = ("gray", "ya", "mono")
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


def color_of(frame: VideoFrame) -> ColorInfo:
    """How the samples that `to_planes` makes of a frame become colours.

    YUV keeps its matrix and range. RGB becomes limited range by BT.709, or by BT.601 where the shorter side is
    below 720. Grey without a stated range is full range, as in libav. HDR keeps its static metadata.
    """
    primaries, transfer = frame.color_primaries, frame.color_trc
    light = light_of(frame.side_data) if ColorInfo(transfer=transfer).is_hdr else None
    if _is_rgb(frame):
        matrix = ColorInfo().matrix_for(frame.width, frame.height)
        return ColorInfo(matrix, RANGE_LIMITED, primaries, transfer, light)
    name, sample_range = frame.format.name, frame.color_range
    if name.startswith("yuvj") or (name.startswith(_GREY) and sample_range == RANGE_UNSPECIFIED):
        sample_range = RANGE_FULL
    return ColorInfo(frame.colorspace, sample_range, primaries, transfer, light)


class PlaneMaker:
    """Turns the decoded frames of one clip into `YuvFrame`s of the size that its facts promise."""

    def __init__(self, facts: ClipFacts) -> None:
        self._facts = facts
        is_sideways = facts.rotation_deg in (90, 270)
        self._coded = (facts.height, facts.width) if is_sideways else (facts.width, facts.height)
        self._reformatter = VideoReformatter()

    def make(self, timed: TimedFrame) -> YuvFrame:
        """Planes of their own; bit-exact copies where the source is 8-bit 4:2:0 already, or 10-bit and HDR.

        SDR of more than 8 bits is rounded to 8: players of 10-bit SDR are rare. A frame whose size changes midway
        is scaled to the size of the others.
        """
        width, height = self._coded
        frame = timed.frame
        color = color_of(frame)
        wanted = (_DEEP,) if color.is_hdr else _PLANAR + _SEMIPLANAR
        if (frame.width // 2 * 2, frame.height // 2 * 2) != self._coded:
            frame = self._convert(frame, color, width, height, wanted[0])
        elif frame.format.name not in wanted:
            frame = self._convert(frame, color, frame.width, frame.height, wanted[0])
        y, u, v = plane_views(frame)
        # the odd row or column goes before the turn, so that chroma stays where it was
        y, u, v = y[:height, :width], u[: height // 2, : width // 2], v[: height // 2, : width // 2]
        return YuvFrame(self._upright(y), self._upright(u), self._upright(v), timed.time_s, color)

    def _convert(self, frame: VideoFrame, color: ColorInfo, width: int, height: int, pix_fmt: str) -> VideoFrame:
        source_matrix = target_matrix = Colorspace.ITU709  # equal, whatever it is: the samples keep their meaning
        source_range = target_range = ColorRange.JPEG if color.is_full_range else ColorRange.MPEG
        if frame.format.name.startswith(_GREY):  # swscale takes all grey for full range
            source_range = target_range = ColorRange.JPEG
        if _is_rgb(frame):
            source_range = ColorRange.JPEG
            target_matrix = _swscale_matrix(color.matrix)
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=pix_fmt,
            src_colorspace=source_matrix,
            dst_colorspace=target_matrix,
            src_color_range=source_range,
            dst_color_range=target_range,
            interpolation=_SCALING,
            threads=1,
        )

    def _upright(self, plane: Samples) -> Samples:
        turned = upright(plane, self._facts)
        return np.array(turned) if turned is plane else turned


def small_bgr(frame: VideoFrame, reformatter: VideoReformatter, *, width: int, height: int, facts: ClipFacts) -> U8:
    """A frame scaled to `width` x `height` (as coded), then turned upright, as BGR uint8 (h, w, 3)."""
    color = color_of(frame)
    matrix = color.matrix_for(frame.width, frame.height)
    small = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="bgr24",
        src_colorspace=Colorspace.ITU709 if _is_rgb(frame) else _swscale_matrix(matrix),
        src_color_range=ColorRange.JPEG if color.is_full_range or _is_rgb(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )
    bgr = np.array(_view(small.planes[0], channels=3))
    if color.is_hdr:  # detectors know faces as they look on an ordinary screen
        bgr = _shown(bgr[..., ::-1], 255, color)
    return upright(bgr, facts)


def hdr_as_bgr(frame: VideoFrame, width: int, height: int, reformatter: VideoReformatter) -> VideoFrame:
    """An HDR frame scaled to a size, as an SDR screen shows it: full-range BGR of BT.709, 8 bits."""
    color = color_of(frame)
    coded = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgb48le",
        src_colorspace=Colorspace.ITU709
        if _is_rgb(frame)
        else _swscale_matrix(color.matrix_for(frame.width, frame.height)),
        src_color_range=ColorRange.JPEG if color.is_full_range or _is_rgb(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        threads=1,
    )
    return VideoFrame.from_ndarray(_shown(coded.to_ndarray(), 65535, color), "bgr24")


def _shown(rgb: Samples, white: int, color: ColorInfo) -> U8:
    """Coded R'G'B' (h, w, 3) of HDR as BGR of an SDR screen."""
    coded = np.asarray(rgb, np.float32) * np.float32(1 / white)
    shown = to_display(coded, color.transfer, is_wide=color.primaries == PRIMARIES_BT2020)
    return np.ascontiguousarray((shown * 255 + 0.5).astype(np.uint8)[..., ::-1])


def upright(pixels: Samples, facts: ClipFacts) -> Samples:
    """Turned and mirrored as the clip's display matrix says; the array given, where it says nothing."""
    turn = _TURNS.get(facts.rotation_deg)
    if turn is not None:
        pixels = np.asarray(cv2.rotate(pixels, turn))
    return np.asarray(cv2.flip(pixels, 1)) if facts.is_mirrored else pixels


def _is_rgb(frame: VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _swscale_matrix(matrix: int) -> Colorspace:
    if matrix in (MATRIX_BT2020_NCL, MATRIX_BT2020_CL):
        return Colorspace.BT2020
    return Colorspace.ITU709 if matrix == MATRIX_BT709 else Colorspace.ITU601


def plane_views(frame: VideoFrame) -> tuple[Samples, Samples, Samples]:
    """Views of the planes of a planar or semi-planar 4:2:0 frame."""
    planes = frame.planes
    if frame.format.name in _SEMIPLANAR:
        chroma = _view(planes[1], channels=2)
        first, second = chroma[..., 0], chroma[..., 1]
        return _view(planes[0]), *((first, second) if frame.format.name == "nv12" else (second, first))
    kind = np.uint16 if frame.format.name == _DEEP else np.uint8
    y, u, v = (_view(plane, kind=kind) for plane in planes)
    return y, u, v


def _view(plane: VideoPlane, *, channels: int = 1, kind: type[np.uint8] | type[np.uint16] = np.uint8) -> Samples:
    """The samples of a plane without its padding; a negative line size means that rows are stored bottom up."""
    stride = abs(plane.line_size) // np.dtype(kind).itemsize
    rows = np.frombuffer(memoryview(plane), kind).reshape(-1, stride)[:: 1 if plane.line_size > 0 else -1]
    rows = rows[:, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(len(rows), plane.width, channels)
