"""Bringing the segments of one film to one encoder, where some were made by a GPU's encoder and some by x264.

That happens where a run goes on on another machine, or a card runs out of sessions. Packets of different encoders
cannot follow each other in one stream, so all are encoded once more, at a rate that shows nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.video.frame import VideoFrame

from singalong.media.containers import open_input
from singalong.media.demux import VideoSource
from singalong.media.encode import SWIFT, SegmentWriter, plane_samples
from singalong.media.frames import ColorInfo, YuvFrame
from singalong.media.join import segments_match

_CRF = 14
"""Below the default of 18, so that what is lost the second time is a fraction of what was lost the first."""


@contextmanager
def joinable(segments: Sequence[Path], near: Path, *, fps: Fraction) -> Iterator[list[Path]]:
    """The segments, if they can be joined as they are; else copies, all of one encoder, for the time of the body.

    Copies lie in a folder of their own beside `near`. Deep segments (HDR) are of one encoder always and come back as
    they are. Raises what `SegmentWriter` raises.
    """
    if segments_match(segments) or any(_is_deep(path) for path in segments):
        yield list(segments)
        return
    with tempfile.TemporaryDirectory(dir=near.parent, prefix=".joinable-") as folder:
        yield [_recoded(path, Path(folder) / f"{index:05}.mp4", fps) for index, path in enumerate(segments)]


def _is_deep(path: Path) -> bool:
    with open_input(path) as container:
        context: Any = container.streams.video[0].codec_context
        return context.pix_fmt not in ("yuv420p", "yuvj420p")


def _recoded(path: Path, out: Path, fps: Fraction) -> Path:
    with open_input(path) as container:
        context: Any = container.streams.video[0].codec_context
        color = ColorInfo(context.colorspace, context.color_range, context.color_primaries, context.color_trc)
        with SegmentWriter(
            out,
            width=context.width,
            height=context.height,
            fps=fps,
            color=color,
            sample_aspect_ratio=context.sample_aspect_ratio or Fraction(1),
            crf=_CRF,
            preset=SWIFT,
        ) as writer:
            source = VideoSource(container, path)
            while (timed := source.next()) is not None:
                writer.write(_frame(timed.frame, timed.time_s, color))
    return out


def _frame(picture: VideoFrame, time_s: float, color: ColorInfo) -> YuvFrame:
    y, u, v = (plane_samples(plane) for plane in picture.planes)
    return YuvFrame(y, u, v, time_s, color)
