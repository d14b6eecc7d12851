"""Any file's audio as float32 blocks on the container's time line, decoded once, in bounded memory.

Sample 0 of what comes out is time 0 of the container: a track that starts late is preceded by silence, one
that starts early is trimmed, and a hole in the middle (lost packets) is filled, so that a time in seconds
means the same place in the pictures and in the sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from singalong.errors import MediaError
from singalong.media.channels import CancellationMeter, Samples, mix, only_channel
from singalong.media.containers import open_input, raise_if_not_the_files_fault
from singalong.media.demux import read_packets

_BLOCK_SAMPLES = 1 << 15
"""Decoders deliver about a thousand samples at a time; gathering them keeps the cost per call small."""

_MIN_GAP_S = 0.1
"""Smaller steps of the time stamps are jitter: containers round them, by up to 10 ms in real songs."""
_MAX_GAP_S = 60.0
"""Larger steps inside a stream are a broken clock, not a hole worth filling with silence."""
_MAX_START_S = 6 * 3600.0

# Sample formats of libav: dtype, value of digital silence, divisor to full scale 1.0.
_FORMATS: dict[str, tuple[str, float, float]] = {
    "u8": ("u1", 128.0, 128.0),
    "s16": ("i2", 0.0, 2.0**15),
    "s32": ("i4", 0.0, 2.0**31),
    "s64": ("i8", 0.0, 2.0**63),
    "flt": ("f4", 0.0, 1.0),
    "dbl": ("f8", 0.0, 1.0),
}


@dataclass(frozen=True)
class AudioFormat:
    """What the header says of the audio track that will be read."""

    sample_rate_hz: int
    num_channels: int


def read_audio_format(path: Path) -> AudioFormat:
    """Sample rate and channel count of the track `iter_audio` reads; MediaError where there is none."""
    with open_input(path) as container:
        stream = pick_audio_stream(container, path)
        return AudioFormat(stream.codec_context.sample_rate, stream.codec_context.channels)


def pick_audio_stream(container: InputContainer, path: Path) -> AudioStream:
    """The audio track a player would choose: the one marked as default, else the first with a known codec.

    Raises MediaError where the file has none.
    """
    tracks = container.streams.audio
    known = [s for s in tracks if s.codec_context is not None and s.codec_context.sample_rate > 0]
    if not known:
        problem = "its audio is in an unknown codec" if tracks else "has no audio"
        raise MediaError(problem, file=path, expected="a file with an audio track")
    return next((s for s in known if s.disposition & Disposition.default), known[0])


def iter_audio(
    path: Path,
    *,
    sample_rate_hz: int,
    num_channels: int,
    channel: int | None = None,
    meter: CancellationMeter | None = None,
) -> Iterator[Samples]:
    """Decode a file's audio track from its first to its last sample.

    Args:
        path: any file `open_input` takes.
        sample_rate_hz: rate wanted; other rates are resampled with soxr's HQ recipe, as librosa's loader does.
            The length is then ceil(n * wanted / given).
        num_channels: 1 averages all channels, 2 mixes down (ITU-R BS.775) or doubles a mono track.
        channel: the only one to hear, from 0, in the file's order; where it is missing there is silence.
        meter: is shown all channels.

    Yields:
        float32 blocks (n, num_channels), n > 0, as they are: never rescaled, never clipped.

    Raises MediaError where there is no audio track, nothing of it decodes, or it holds infinities or NaN.
    Damaged packets in the middle become silence; the rest is still read.
    """
    assert num_channels in (1, 2)
    converter = _RateConverter(sample_rate_hz, num_channels)
    num_out = 0
    with open_input(path) as container:
        stream = pick_audio_stream(container, path)
        _read_only(container, stream)
        for layout, block in _gather(_timed_blocks(container, stream, path)):
            if not np.isfinite(block).all():
                raise MediaError(
                    "its audio holds samples that are not numbers (NaN or infinite)",
                    file=path,
                    expected="finite samples",
                    action="Export the song again from where it was made.",
                )
            if meter is not None:
                meter.add(block)
            heard = block if channel is None else only_channel(block, channel)
            for out in converter.push(mix(heard, layout.speakers, num_channels), layout.sample_rate_hz):
                num_out += len(out)
                yield out
    for out in converter.finish():
        num_out += len(out)
        yield out
    if num_out == 0:
        raise MediaError(
            "nothing of its audio can be decoded", file=path, expected="audio that plays", action="Get it again."
        )


class _Layout(NamedTuple):
    """What may change in mid-stream."""

    sample_rate_hz: int
    speakers: tuple[str, ...]


def _read_only(container: InputContainer, stream: AudioStream) -> None:
    """Let the demuxer skip the pictures: on a large video that is most of the bytes."""
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    stream.codec_context.thread_count = 1


def _timed_blocks(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[tuple[_Layout, Samples]]:
    """Decoded blocks (n, channels), silence put in where the time stamps say that something is missing."""
    clock = _Clock(_start_s(container, stream))
    for frame in _frames(container, stream, path):
        layout = _Layout(frame.sample_rate, tuple(channel.name for channel in frame.layout.channels))
        missing = clock.num_missing(frame, path)
        for first in range(0, missing, _BLOCK_SAMPLES):
            yield layout, np.zeros((min(_BLOCK_SAMPLES, missing - first), len(layout.speakers)), np.float32)
        block = _to_float(frame)[max(-missing, 0) :]
        clock.advance(missing + frame.samples, layout.sample_rate_hz)
        if len(block):
            yield layout, block


def _frames(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    for packet in _packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as exc:  # a damaged packet: the clock fills the hole
            raise_if_not_the_files_fault(exc, path)
            continue
        yield from (frame for frame in frames if frame.samples > 0 and frame.sample_rate > 0)


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream] | None]:
    """All packets, then None, which makes the decoder give up what it holds back."""
    yield from read_packets(container, stream)
    yield None


def _start_s(container: InputContainer, stream: AudioStream) -> float | None:
    start_us: int | None = container.start_time
    if start_us is not None:
        return start_us / av.time_base
    if stream.start_time is not None and stream.time_base is not None:
        return float(stream.start_time * stream.time_base)
    return None


class _Clock:
    """Compares the time stamps of a track with the samples counted so far."""

    def __init__(self, start_s: float | None) -> None:
        self._start_s = start_s
        self._base_s = 0.0  # where the current rate began
        self._count = 0  # samples at the current rate since then
        self._rate_hz = 0

    def num_missing(self, frame: AudioFrame, path: Path) -> int:
        """Samples of silence due before this frame; negative: samples of it that lie before time 0."""
        if frame.pts is None or frame.time_base is None:
            return 0
        time_s = float(frame.pts * frame.time_base)
        if self._start_s is None:
            self._start_s = time_s
        gap_s = time_s - self._start_s - self._now_s
        if self._now_s == 0.0:  # nothing yet
            if abs(gap_s) > _MAX_START_S:
                raise MediaError("its audio starts hours away from its pictures", file=path, value=f"{gap_s:.0f} s")
            return max(round(gap_s * frame.sample_rate), -frame.samples)
        return round(gap_s * frame.sample_rate) if _MIN_GAP_S < gap_s < _MAX_GAP_S else 0

    def advance(self, num_samples: int, rate_hz: int) -> None:
        if rate_hz != self._rate_hz:
            self._base_s, self._count, self._rate_hz = self._now_s, 0, rate_hz
        self._count += num_samples

    @property
    def _now_s(self) -> float:
        return self._base_s + (self._count / self._rate_hz if self._rate_hz else 0.0)


def _to_float(frame: AudioFrame) -> Samples:
    """A decoded frame of any sample format as float32 (n, channels), integers scaled to [-1, 1)."""
    dtype, zero, full_scale = _FORMATS[frame.format.name.removesuffix("p")]
    num_channels = len(frame.layout.channels)
    if frame.format.is_planar:
        raw = np.stack([np.frombuffer(memoryview(plane), dtype, frame.samples) for plane in frame.planes], axis=1)
    else:
        raw = np.frombuffer(memoryview(frame.planes[0]), dtype, frame.samples * num_channels)
        raw = raw.reshape(-1, num_channels)
    if full_scale == 1.0:
        return raw.astype(np.float32)
    return ((raw.astype(np.float64) - zero) / full_scale).astype(np.float32)


def _gather(blocks: Iterator[tuple[_Layout, Samples]]) -> Iterator[tuple[_Layout, Samples]]:
    """The same samples in fewer, larger blocks; a block never spans a change of layout."""
    held: list[Samples] = []
    num_held, held_layout = 0, None
    for layout, block in blocks:
        if held_layout is not None and (layout != held_layout or num_held >= _BLOCK_SAMPLES):
            yield held_layout, np.concatenate(held)
            held, num_held = [], 0
        held.append(block)
        num_held, held_layout = num_held + len(block), layout
    if held_layout is not None:
        yield held_layout, np.concatenate(held)


class _RateConverter:
    """Streaming soxr HQ to one output rate; starts anew where the input rate changes in mid-stream."""

    def __init__(self, out_rate_hz: int, num_channels: int) -> None:
        self._out_rate_hz, self._num_channels = out_rate_hz, num_channels
        self._stream: soxr.ResampleStream | None = None
        self._in_rate_hz = self._num_in = self._num_out = 0

    def push(self, block: Samples, rate_hz: int) -> Iterator[Samples]:
        if rate_hz != self._in_rate_hz:
            yield from self.finish()
            self._in_rate_hz = rate_hz
            if rate_hz != self._out_rate_hz:
                self._stream = soxr.ResampleStream(rate_hz, self._out_rate_hz, self._num_channels, "float32", "HQ")
        if self._stream is None:
            yield block
            return
        out = self._stream.resample_chunk(np.ascontiguousarray(block))
        self._num_in, self._num_out = self._num_in + len(block), self._num_out + len(out)
        if len(out):
            yield out

    def finish(self) -> Iterator[Samples]:
        if self._stream is None:
            return
        out = self._stream.resample_chunk(np.zeros((0, self._num_channels), np.float32), last=True)
        # librosa's loader, which the paper's code uses, makes ceil(n * ratio) samples; soxr may round down
        wanted = -(-self._num_in * self._out_rate_hz // self._in_rate_hz) - self._num_out
        out = np.pad(out[:wanted], ((0, max(0, wanted - len(out))), (0, 0)))
        self._stream, self._num_in, self._num_out = None, 0, 0
        if len(out):
            yield out
