"""Write frames as a segment that joins with others of the same settings without re-encoding: H.264, of HDR HEVC."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from singalong.errors import MediaError, UsageError
from singalong.media.codecs import NVENC, Choice, nvenc_options
from singalong.media.frames import ColorInfo, Samples, YuvFrame
from singalong.media.outputs import mapped_errors, open_mp4

SWIFT = "swift"
"""Our own preset: x264's superfast with CAVLC and B-frames in a fixed pattern, HEVC's superfast. Against veryfast at a
constant rate factor lower by one it takes 0.4 of the time for a fifth to a third more bits, at the same SSIM; what it
writes decodes in half the time (bench/NOTES.md)."""
PRESETS = (SWIFT, "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
MAX_GOP_S = 2
_MAX_RATE_PART = 2**31 - 1  # libav's rationals and the MP4 time scale are 32-bit

# Fixed, so that the stream's parameter sets (SPS, PPS) depend on the settings alone, never on the content or the
# length: B-frames without pyramid need exactly one frame of reordering, whatever the preset says.
_X264_PARAMS = (
    "stitchable=1:open-gop=0:bframes=2:b-pyramid=none:threads=1:lookahead-threads=1:sliced-threads=0"
    ":mbtree=0"  # with it the same frames give other bytes from run to run
)


# The same for HDR, as HEVC Main 10: what televisions, phones and browsers show as HDR.
_X265_PARAMS = (
    "log-level=none:pools=none:frame-threads=1:wpp=0:open-gop=0:bframes=2:b-pyramid=0:info=0:repeat-headers=0"
)
_REORDERED = 1
"""Frames of reordering of B-frames without pyramid."""
_HEVC_TAG = "hvc1"
"""Parameter sets in the header alone; Apple's players know no other."""


class _Shape(NamedTuple):
    """What all frames of a segment have in common."""

    width: int
    height: int
    fps: Fraction
    color: ColorInfo
    sample_aspect_ratio: Fraction


class SegmentWriter:
    """Encodes frames to an MP4 segment: a context manager that removes the file if its body fails.

    SDR is written with libx264, 8 bits a sample, HDR with libx265, 10 bits, with the static metadata of `color`.

    Frame n is shown at exactly n / fps. The first frame is a keyframe, groups of pictures are closed and at most 2 s
    long, one thread encodes, and the same frames give the same bytes. Nothing is fsynced.

    Args:
        path: file to write; its folder exists.
        width: in pixels, even.
        height: in pixels, even.
        fps: exact frame rate.
        color: tags to write; the frames' samples are taken as they are.
        deep: whether frames have 10 bits a sample; those that have not are scaled.
        sample_aspect_ratio: width of a pixel over its height.
        crf: the encoder's constant rate factor, 0 (for 8 bits: lossless) to 51.
        preset: the encoder's speed preset, of PRESETS; both encoders have the same names.
        encoder: who encodes 8 bits, see `codecs.choose_encoder`; by default x264, which also steps in where NVENC does
            not open. NVENC knows no `preset`. The attribute `encoder` says who it was.

    Raises UsageError for an unknown preset, MediaError for a frame rate that no file can hold, ResourceError for a
    full disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        color: ColorInfo,
        deep: bool = False,
        sample_aspect_ratio: Fraction = Fraction(1),
        crf: int,
        preset: str,
        encoder: Choice | None = None,
    ) -> None:
        assert width % 2 == height % 2 == 0, (width, height)
        _check(path, fps, preset)
        self.path, self._size, self._deep = path, (height, width), deep
        self._pix_fmt = "yuv420p10le" if deep else "yuv420p"
        self.num_frames = self._num_packets = 0
        self._is_open = True
        keyint = max(1, int(fps * MAX_GOP_S))
        self._shape = _Shape(width, height, fps, color, sample_aspect_ratio)
        self.encoder = encoder if encoder is not None and not deep else Choice("cpu", "as set")
        if self.encoder.is_nvidia:
            try:
                self._open(NVENC, nvenc_options(crf, keyint))
                return
            except av.error.FFmpegError as exc:  # every card has so many sessions and no more
                self.encoder = Choice("cpu", f"NVENC could not be opened: {exc.strerror or exc}")
                with suppress(av.error.FFmpegError):
                    self._container.close()
        with mapped_errors(path):
            self._open(*_encoder(color, keyint, preset, crf, deep=deep))

    def _open(self, name: str, options: dict[str, str]) -> None:
        """Start the file with an encoder."""
        shape, color = self._shape, self._shape.color
        self._container = open_mp4(self.path)
        self._stream = cast(VideoStream, self._container.add_stream(name, rate=shape.fps, options=options))
        context = self._stream.codec_context
        if self._deep:
            context.codec_tag = _HEVC_TAG
        context.width, context.height, context.pix_fmt = shape.width, shape.height, self._pix_fmt
        context.time_base = self._stream.time_base = 1 / shape.fps
        context.sample_aspect_ratio = shape.sample_aspect_ratio
        context.thread_count = 1
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if name == NVENC:
            context.open()  # now, not at the first frame, when it is too late for another

    def write(self, frame: YuvFrame) -> None:
        """Append a frame of the writer's size; its own time does not matter."""
        assert frame.y.shape == self._size, (frame.y.shape, self._size)
        picture = VideoFrame(frame.width, frame.height, self._pix_fmt)
        for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
            plane_samples(plane, deep=self._deep)[:] = _of_depth(samples, deep=self._deep)
        picture.pts, picture.time_base = self.num_frames, 1 / self._stream.codec_context.framerate
        self.num_frames += 1
        self._encode(picture)

    def close(self) -> int:
        """Finish the file; returns the number of frames in it. Closing again changes nothing."""
        if self._is_open:
            assert self.num_frames > 0, "a segment needs at least one frame"
            self._encode(None)
            self._is_open = False
            with mapped_errors(self.path):
                self._container.close()
        return self.num_frames

    def _encode(self, picture: VideoFrame | None) -> None:
        with mapped_errors(self.path):
            for packet in self._stream.encode(picture):
                packet.duration = 1
                if self._deep:  # x265 leaves it undefined where there is one frame alone; else it is the same
                    packet.dts = self._num_packets - _REORDERED
                self._num_packets += 1
                self._container.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if exc_type is None:
                self.close()
        finally:
            if self._is_open:  # the body failed, or closing did: what is there is no segment
                self._is_open = False
                with suppress(av.error.FFmpegError):
                    self._container.close()
                self.path.unlink(missing_ok=True)


def plane_samples(plane: VideoPlane, *, deep: bool = False) -> Samples:
    """A view (height, width) of a plane of libav's, writable: uint8, or uint16 where it is deep."""
    kind = np.uint16 if deep else np.uint8
    rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // np.dtype(kind).itemsize)
    return rows[:, : plane.width]


def _of_depth(samples: Samples, *, deep: bool) -> Samples:
    """Samples of 10 bits, or of 8; a clip may change its depth on the way, a file cannot."""
    if deep == (samples.dtype == np.uint16):
        return samples
    return samples.astype(np.uint16) << 2 if deep else (samples >> 2).astype(np.uint8)


def _encoder(color: ColorInfo, keyint: int, preset: str, crf: int, *, deep: bool) -> tuple[str, dict[str, str]]:
    """Name of the encoder and its own parameters."""
    speed = {"crf": str(crf), "preset": "superfast" if preset == SWIFT else preset}
    if not deep:
        coding = ":cabac=0:b-adapt=0" if preset == SWIFT else ""
        return "libx264", {**speed, "x264-params": f"{_X264_PARAMS}{coding}:keyint={keyint}"}
    params = f"{_X265_PARAMS}:keyint={keyint}"
    if color.light is not None:
        if color.light.mastering:
            params += f":master-display={color.light.mastering}"
        params += f":max-cll={color.light.max_cll},{color.light.max_fall}"
    return "libx265", {**speed, "x265-params": params}


def _check(path: Path, fps: Fraction, preset: str) -> None:
    if preset not in PRESETS:
        raise UsageError(
            "no such x264 preset",
            column="lipsync.preset",
            value=preset,
            expected=f"one of {', '.join(PRESETS)}",
        )
    if not 0 < fps.numerator <= _MAX_RATE_PART or fps.denominator > _MAX_RATE_PART:
        raise MediaError(
            "a frame rate that cannot be written to a file",
            file=path,
            value=str(fps),
            expected="a positive fraction of 32-bit integers, such as 25 or 30000/1001",
        )
