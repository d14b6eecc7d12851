"""Synthetic videos for tests: every frame carries its own number and four corner colours."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
NUM_BITS = 8
CORNERS_RGB = {"top left": (200, 40, 40), "top right": (40, 180, 40), "bottom left": (40, 60, 200)}


def picture(number: int, width: int, height: int) -> U8:
    """RGB (H, W, 3): the number as eight light or dark blocks across the middle, colours in three corners."""
    rgb = np.full((height, width, 3), 110, np.uint8)
    side = min(width, height) // 4
    rgb[:side, :side] = CORNERS_RGB["top left"]
    rgb[:side, width - side :] = CORNERS_RGB["top right"]
    rgb[height - side :, :side] = CORNERS_RGB["bottom left"]
    rows = slice(height * 3 // 8, height * 5 // 8)
    for bit in range(NUM_BITS):
        columns = slice(bit * width // NUM_BITS, (bit + 1) * width // NUM_BITS)
        rgb[rows, columns] = 215 if number >> bit & 1 else 35
    return rgb


def number_in(y: U8) -> int:
    """The number of the frame that this luma plane or grey picture (H, W) shows."""
    height, width = y.shape[:2]
    row = y[height * 7 // 16 : height * 9 // 16]
    centres = [(2 * bit + 1) * width // (2 * NUM_BITS) for bit in range(NUM_BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if row[:, x - 1 : x + 1].mean() > 125)


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (128, 96),
    num_frames: int = 20,
    fps: Fraction = Fraction(25),
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    first_number: int = 0,
    rotation_deg: int = 0,
    is_mirrored: bool = False,
    audio_s: float = 0.0,
    audio_start_s: float = 0.0,
    options: dict[str, str] | None = None,
    color: tuple[int, int, int, int] | None = None,
    num_video_streams: int = 1,
    default_stream: int | None = None,
    sample_aspect_ratio: Fraction | None = None,
    container_format: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video of `picture(0), picture(1), ...`; `size` is of the upright picture.

    `pts` are the presentation times in `time_base` (default 1/fps), `rotation_deg` the clockwise turn a player has
    to make, before it mirrors left to right if `is_mirrored`, `color` the matrix, range, primaries and transfer as
    ffmpeg's numbers. Further video streams are shifted by 100 in their numbers.
    """
    base = time_base or 1 / fps
    ticks = list(range(num_frames)) if pts is None else list(pts)
    with av.open(str(path), "w", format=container_format, container_options=container_options or {}) as out:
        streams = []
        for index in range(num_video_streams):
            stream = out.add_stream(codec, rate=fps, options=options or {})
            width, height = size if rotation_deg % 180 == 0 else size[::-1]
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.codec_context.time_base = base
            stream.time_base = base
            if sample_aspect_ratio:
                stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
            if color:
                context = stream.codec_context
                context.colorspace, context.color_range, context.color_primaries, context.color_trc = color
            if rotation_deg or is_mirrored:
                stream.set_display_rotation(-rotation_deg, hflip=is_mirrored)
            if default_stream is not None:
                stream.disposition = av.stream.Disposition.default if index == default_stream else 0
            streams.append(stream)
        sound = out.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000) if audio_s else None
        for n, tick in enumerate(ticks):
            for index, stream in enumerate(streams):
                upright = picture((first_number + n + 100 * index) % 256, *size)
                mirrored = upright[:, ::-1] if is_mirrored else upright
                coded = np.ascontiguousarray(np.rot90(mirrored, rotation_deg // 90))
                out.mux(stream.encode(_frame(coded, pix_fmt, tick, base, color)))
        for stream in streams:
            out.mux(stream.encode(None))
        if sound is not None:
            _write_tone(out, sound, audio_s, audio_start_s)
    return path


def _frame(rgb: U8, pix_fmt: str, tick: int, base: Fraction, color: tuple[int, int, int, int] | None) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    if not pix_fmt.startswith(("rgb", "bgr", "gbr", "pal", "gray")):
        matrix, full = (color[0], color[1] == 2) if color else (6, pix_fmt.startswith("yuvj"))
        frame = frame.reformat(
            format=pix_fmt,
            dst_colorspace={1: 1, 9: 9}.get(matrix, 5),
            src_color_range=2,
            dst_color_range=2 if full else 1,
        )
        frame.colorspace, frame.color_range = matrix, 2 if full else 1
    elif pix_fmt != "rgb24":
        frame = frame.reformat(format=pix_fmt)
    if color:
        frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = color
    frame.pts, frame.time_base = tick, base
    return frame


def _write_tone(out: av.container.OutputContainer, stream: av.AudioStream, length_s: float, start_s: float) -> None:
    samples = (8000 * np.sin(np.arange(round(length_s * 48000)) * 2 * np.pi * 440 / 48000)).astype(np.int16)
    for first in range(0, len(samples), 960):
        block = samples[first : first + 960]
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
        frame.sample_rate = 48000
        frame.pts, frame.time_base = round(start_s * 48000) + first, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
