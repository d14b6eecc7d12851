"""A small picture of a film, for reports."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame

from singalong.durable import write_atomic
from singalong.errors import MediaError
from singalong.media.conform import shown_size, to_standard_color
from singalong.media.containers import open_input
from singalong.media.demux import VideoSource

_JPEG_QUALITY = 85


def write_thumbnail(video: Path, at_s: float, out_jpg: Path, max_side_px: int = 320) -> None:
    """Write the frame shown at `at_s` as a JPEG, its longer side at most `max_side_px`; never enlarged.

    Pixels are made square. A time after the end shows the last frame. Raises MediaError where nothing
    decodes.
    """
    with open_input(video) as container:
        source = VideoSource(container, video)
        frame = _frame_at(source, at_s)
        if frame is None:
            raise MediaError("not one of its pictures can be decoded", file=video, expected="a video")
        width, height = shown_size(frame, source.stream.sample_aspect_ratio)
        scale = min(1.0, max_side_px / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = to_standard_color(frame, *size, "bgr24").to_ndarray()
    ok, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert ok
    write_atomic(out_jpg, jpeg.tobytes())


def _frame_at(source: VideoSource, at_s: float) -> VideoFrame | None:
    """The last frame shown at or before a time; the first if there is none."""
    timed = source.seek(at_s) if at_s > 0 else source.next()
    while timed is not None:
        following = source.next()
        if following is None or following.time_s > at_s:
            return timed.frame
        timed = following
    return None
