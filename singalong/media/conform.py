"""Bring a film to another canvas and frame rate, so that films of different sizes fit in one montage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from singalong.contracts import Title
from singalong.errors import MediaError
from singalong.media import frames as yuv
from singalong.media.containers import open_input
from singalong.media.demux import VideoSource
from singalong.media.encode import SegmentWriter, plane_samples
from singalong.media.frames import ColorInfo, YuvFrame
from singalong.media.planes import hdr_as_bgr
from singalong.media.reframe import FacePath, Ints, Size, cover_size, crop_offsets
from singalong.media.relabel import Relabel
from singalong.media.titles import TitlePainter

Fill = Literal["black", "blur", "crop"]

CANVAS_COLOR = ColorInfo(
    matrix=yuv.MATRIX_BT709,
    range=yuv.RANGE_LIMITED,
    primaries=yuv.PRIMARIES_BT709,
    transfer=yuv.TRANSFER_BT709,
)
"""Colour of every conformed film: one for all, because joined films share one set of tags."""

_BLACK = (16, 128, 128)
_BLUR_SIZE, _BLUR_LIGHT = (32, 18), 0.55
"""What surrounds a picture is reduced to so many pixels, and to this share of its light."""
_PRIMARIES_BT2020 = 9
_SWS_COLORSPACES = {
    yuv.MATRIX_BT709: Colorspace.ITU709,
    yuv.MATRIX_FCC: Colorspace.FCC,
    yuv.MATRIX_BT470BG: Colorspace.ITU601,
    yuv.MATRIX_SMPTE170M: Colorspace.ITU601,
    yuv.MATRIX_SMPTE240M: Colorspace.SMPTE240M,
    yuv.MATRIX_BT2020_NCL: Colorspace.BT2020,
    yuv.MATRIX_BT2020_CL: Colorspace.BT2020,
}


def conform_video(
    src: Path,
    out: Path,
    *,
    width: int,
    height: int,
    fps: Fraction,
    crf: int,
    preset: str,
    num_frames: int,
    title: Title | None = None,
    fill: Fill = "black",
    face: FacePath | None = None,
    label: str = "",
) -> int:
    """Re-encode one film to a canvas: scaled with its aspect kept, padded or cropped, in BT.709, no sound.

    Args:
        src: a film; pixels that are not square are made square.
        out: written as by `SegmentWriter`, so all conformed films of one canvas join without re-encoding.
        width: of the canvas, even.
        height: of the canvas, even.
        fps: frame rate of the canvas. Frame n shows what is on screen at n / fps of the source.
        crf: x264's constant rate factor.
        preset: x264's speed preset.
        num_frames: frames written, exactly; the last one stands where the source is shorter.
        title: painted over the lower left of the canvas.
        fill: what becomes of a picture of another shape: surrounded by black, or by itself, enlarged, dark and out of
            focus; or cropped, so that it fills the canvas.
        face: where the face is in each frame of the source, around which it is cropped; None: not known.
        label: what the source bears at its upper left, painted again where cropping cuts it off.

    Returns:
        The number of frames.

    Raises MediaError where the source has no pictures that decode, and what `SegmentWriter` raises.
    """
    writer = SegmentWriter(
        out,
        width=width,
        height=height,
        fps=fps,
        color=CANVAS_COLOR,
        sample_aspect_ratio=Fraction(1),
        crf=crf,
        preset=preset,
    )
    with writer, open_input(src) as container:
        source = VideoSource(container, src)
        if fill == "crop":
            pictures = _cropped_frames(source, (width, height), face, label)
        else:
            pictures = _canvas_frames(source, _Canvas(width, height, fill))
        frames = _resample(pictures, fps, num_frames, slack_s=source.tick_s)
        for frame in frames if title is None else _titled(frames, title, width, height, fps):
            writer.write(frame)
        if writer.num_frames == 0:
            raise MediaError("not one of its pictures can be decoded", file=src, expected="a film")
    return writer.num_frames


def shown_size(frame: VideoFrame, sample_aspect_ratio: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels: one side grows, none shrinks."""
    aspect = sample_aspect_ratio or Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def to_standard_color(
    frame: VideoFrame, width: int, height: int, pix_fmt: str, reformatter: VideoReformatter | None = None
) -> VideoFrame:
    """Scale and convert a frame to BT.709 limited YUV, or to BGR, by the frame's own matrix and range.

    HDR (PQ, HLG) becomes what `singalong.media.hdr` shows of it, SDR in BT.2020 colours is converted by swscale; the
    rest keeps its primaries.
    """
    reformatter = reformatter or VideoReformatter()
    is_rgb = pix_fmt == "bgr24"
    color = ColorInfo(matrix=int(frame.colorspace), range=int(frame.color_range))
    if frame.color_trc in (yuv.TRANSFER_PQ, yuv.TRANSFER_HLG):
        frame = hdr_as_bgr(frame, width, height, reformatter)
        if is_rgb:
            return frame
        color = ColorInfo(yuv.MATRIX_BT709, yuv.RANGE_FULL)
    # Only asked for where it is needed: it takes swscale a second or two to prepare.
    is_wide = frame.color_primaries == _PRIMARIES_BT2020
    return reformatter.reformat(
        frame,
        width,
        height,
        pix_fmt,
        src_colorspace=_SWS_COLORSPACES[color.matrix_for(frame.width, frame.height)],
        dst_colorspace=Colorspace.ITU709,
        interpolation=int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT),
        src_color_range=ColorRange.JPEG if color.is_full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG if is_rgb else ColorRange.MPEG,
        dst_color_trc=yuv.TRANSFER_BT709 if is_wide else None,
        dst_color_primaries=yuv.PRIMARIES_BT709 if is_wide else None,
        threads=1,
    )


@dataclass(frozen=True)
class _Canvas:
    width: int
    height: int
    fill: Fill


def _canvas_frames(source: VideoSource, canvas: _Canvas) -> Iterator[YuvFrame]:
    """Every frame of the source on the canvas."""
    reformatter = VideoReformatter()
    aspect = source.stream.sample_aspect_ratio
    while (timed := source.next()) is not None:
        inner = _fit(shown_size(timed.frame, aspect), canvas.width, canvas.height)
        scaled = to_standard_color(timed.frame, *inner, "yuv420p", reformatter)
        yield _pad(scaled, canvas, timed.time_s)


def _cropped_frames(source: VideoSource, canvas: Size, face: FacePath | None, label: str) -> Iterator[YuvFrame]:
    """Every frame of the source, cut to the canvas around the face."""
    reformatter, aspect = VideoReformatter(), source.stream.sample_aspect_ratio
    fps = float(source.stream.average_rate or 25)
    offsets: Ints | None = None
    relabel: Relabel | None = None
    number = 0
    while (timed := source.next()) is not None:
        shown = shown_size(timed.frame, aspect)
        size = cover_size(shown, canvas)
        if offsets is None:
            offsets = crop_offsets(face, size, canvas, fps)
            relabel = Relabel(label, shown, size, canvas, offsets) if label else None
        scaled = to_standard_color(timed.frame, *size, "yuv420p", reformatter)
        x, y = offsets[min(number, len(offsets) - 1)].tolist()
        cut = _cut(scaled, canvas, (x, y), timed.time_s)
        yield cut if relabel is None else relabel.paint(cut, (x, y))
        number += 1


def _cut(picture: VideoFrame, canvas: Size, offset: Size, pts_s: float) -> YuvFrame:
    planes: list[NDArray[np.uint8]] = []
    for plane, shrink in zip(picture.planes, (1, 2, 2), strict=True):
        (x, y), (width, height) = (tuple(side // shrink for side in size) for size in (offset, canvas))
        planes.append(plane_samples(plane)[y : y + height, x : x + width].copy())
    luma, u, v = planes
    return YuvFrame(luma, u, v, pts_s=pts_s, color=CANVAS_COLOR)


def _titled(frames: Iterator[YuvFrame], title: Title, width: int, height: int, fps: Fraction) -> Iterator[YuvFrame]:
    painter = TitlePainter(title, width=width, height=height, fps=fps)
    yield from (painter.paint(frame, index) for index, frame in enumerate(frames))


def _fit(shown: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The largest even size with the aspect of `shown` that fits in the canvas."""
    scale = min(width / shown[0], height / shown[1])
    return tuple(  # type: ignore[return-value]
        min(limit, max(2, 2 * round(side * scale / 2))) for side, limit in zip(shown, (width, height), strict=True)
    )


def _pad(picture: VideoFrame, canvas: _Canvas, pts_s: float) -> YuvFrame:
    # even offsets, so that luma and chroma stay aligned
    left, top = (canvas.width - picture.width) // 4 * 2, (canvas.height - picture.height) // 4 * 2
    planes: list[NDArray[np.uint8]] = []
    for plane, black, shrink in zip(picture.planes, _BLACK, (1, 2, 2), strict=True):
        inner, size = plane_samples(plane), (canvas.width // shrink, canvas.height // shrink)
        if canvas.fill == "blur" and inner.shape != size[::-1]:
            outer = _out_of_focus(inner, size, black)
        else:
            outer = np.full(size[::-1], black, np.uint8)
        y, x = top // shrink, left // shrink
        outer[y : y + plane.height, x : x + plane.width] = inner
        planes.append(outer)
    luma, u, v = planes
    return YuvFrame(luma, u, v, pts_s=pts_s, color=CANVAS_COLOR)


def _out_of_focus(plane: NDArray[np.uint8], size: tuple[int, int], black: int) -> NDArray[np.uint8]:
    """The middle of a plane, enlarged to `size` (width, height), blurred and darkened."""
    height, width = plane.shape
    scale = max(size[0] / width, size[1] / height)
    across, down = min(width, round(size[0] / scale)), min(height, round(size[1] / scale))
    x, y = (width - across) // 2, (height - down) // 2
    tiny = cv2.resize(plane[y : y + down, x : x + across], _BLUR_SIZE, interpolation=cv2.INTER_AREA)
    soft = cv2.resize(cv2.GaussianBlur(tiny, (0, 0), 3.0), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.round(black + _BLUR_LIGHT * (soft.astype(np.float32) - black)), np.uint8)


def _resample(frames: Iterator[YuvFrame], fps: Fraction, num_frames: int, *, slack_s: float) -> Iterator[YuvFrame]:
    """The frame on screen at each n / fps; the last stands until `num_frames` are there.

    A frame that is late by no more than `slack_s`, one tick of its clock, counts as on time.
    """
    shown = next(frames, None)
    if shown is None:
        return
    following = next(frames, None)
    for n in range(num_frames):
        time_s = float(n / fps) + slack_s
        while following is not None and following.pts_s <= time_s:
            shown, following = following, next(frames, None)
        yield shown
