"""Segments whose frames carry numbers, and what is found in them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from singalong.media.encode import SegmentWriter
from singalong.media.frames import ColorInfo, YuvFrame, bgr_to_frame
from tests.videos import number_in, picture

BT601 = ColorInfo(matrix=6, range=1, primaries=6, transfer=6)
BT709 = ColorInfo(matrix=1, range=1, primaries=1, transfer=1)


@cache
def _numbered_frame(number: int, size: tuple[int, int], color: ColorInfo) -> YuvFrame:
    rgb = picture(number, *size)
    return bgr_to_frame(np.ascontiguousarray(rgb[..., ::-1]), pts_s=0.0, color=color)


def numbered_frame(number: int, size: tuple[int, int] = (128, 96), color: ColorInfo = BT601) -> YuvFrame:
    return _numbered_frame(number % 256, size, color).copy()


def write_segment(
    path: Path,
    numbers: Iterable[int],
    *,
    size: tuple[int, int] = (128, 96),
    fps: Fraction = Fraction(25),
    color: ColorInfo = BT601,
    sample_aspect_ratio: Fraction = Fraction(1),
    crf: int = 20,
    preset: str = "veryfast",
) -> Path:
    writer = SegmentWriter(
        path,
        width=size[0],
        height=size[1],
        fps=fps,
        color=color,
        sample_aspect_ratio=sample_aspect_ratio,
        crf=crf,
        preset=preset,
    )
    with writer:
        for number in numbers:
            writer.write(numbered_frame(number, size, color))
    return path


def frames_of(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def numbers_of(path: Path) -> list[int]:
    return [number_in(frame.to_ndarray(format="gray")) for frame in frames_of(path)]


def pixels_of(path: Path) -> list[bytes]:
    return [frame.to_ndarray().tobytes() for frame in frames_of(path)]


def times_of(path: Path) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in frames_of(path)]


def packets_of(path: Path) -> list[tuple[Fraction, Fraction, bool]]:
    """Presentation time, decoding time and keyframe flag of each video packet."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (packet.pts * packet.time_base, packet.dts * packet.time_base, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.size
        ]


def extradata_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata)
