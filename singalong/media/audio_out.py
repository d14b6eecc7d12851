"""The sound of a film: spans of songs, cut to the sample, laid end to end and encoded once as AAC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags as CodecFlags
from av.container import OutputContainer
from av.packet import Packet

from singalong.media.audio_reader import AudioFormat, iter_audio, read_audio_format
from singalong.media.channels import Samples
from singalong.media.units import s_to_samples

AAC_BIT_RATE = 192_000
_AAC_RATES_HZ = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
_DEFAULT_RATE_HZ = 48_000
_LAYOUTS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class AudioSpan:
    """The span [start_s, end_s) of a song, in seconds from the start of its file."""

    path: Path
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        assert 0 <= self.start_s < self.end_s, self


def choose_audio_format(spans: Sequence[AudioSpan]) -> AudioFormat:
    """Rate and channels of the track: those of the songs where they agree and AAC has them, else 48 kHz.

    Mono only if all songs are; more than two channels become stereo.
    """
    formats = {read_audio_format(path) for path in {span.path for span in spans}}
    rates_hz = {audio.sample_rate_hz for audio in formats}
    rate_hz = rates_hz.pop() if len(rates_hz) == 1 and rates_hz <= _AAC_RATES_HZ else _DEFAULT_RATE_HZ
    return AudioFormat(rate_hz, min(2, max(audio.num_channels for audio in formats)))


def iter_spans(spans: Sequence[AudioSpan], audio: AudioFormat, num_samples: int) -> Iterator[Samples]:
    """The spans end to end, float32 blocks (n, num_channels) of exactly `num_samples` in all.

    Each border lies at the rounded sum of the lengths before it, so rounding never adds up. Where a song ends
    before its span, and after the last span, there is silence. Songs are decoded from their beginning, because
    seeking in compressed audio is not exact; spans that follow each other in one song share one pass.
    """
    cursor: _Cursor | None = None
    end_s = Fraction(0)
    done = 0
    for span in spans:
        end_s += Fraction(span.end_s) - Fraction(span.start_s)
        wanted = min(round(end_s * audio.sample_rate_hz), num_samples) - done
        start = s_to_samples(span.start_s, audio.sample_rate_hz)
        if cursor is None or cursor.path != span.path or cursor.position > start:
            cursor = _Cursor(span.path, audio)
        cursor.skip(start - cursor.position)
        yield from cursor.take(wanted)
        done += wanted
    yield from _silence(num_samples - done, audio.num_channels)


class _Cursor:
    """A place in a song that only moves forward."""

    def __init__(self, path: Path, audio: AudioFormat) -> None:
        self.path, self.position = path, 0
        self._num_channels = audio.num_channels
        self._blocks = iter_audio(path, sample_rate_hz=audio.sample_rate_hz, num_channels=audio.num_channels)
        self._rest: Samples = np.zeros((0, audio.num_channels), np.float32)

    def skip(self, num_samples: int) -> None:
        for _ in self._read(num_samples):
            pass

    def take(self, num_samples: int) -> Iterator[Samples]:
        """Exactly so many samples; silence after the song's end."""
        taken = 0
        for block in self._read(num_samples):
            taken += len(block)
            yield block
        yield from _silence(num_samples - taken, self._num_channels)

    def _read(self, num_samples: int) -> Iterator[Samples]:
        while num_samples > 0:
            if len(self._rest) == 0:
                block = next(self._blocks, None)
                if block is None:
                    return
                self._rest = block
            part, self._rest = self._rest[:num_samples], self._rest[num_samples:]
            self.position += len(part)
            num_samples -= len(part)
            yield part


def _silence(num_samples: int, num_channels: int) -> Iterator[Samples]:
    while num_samples > 0:
        num = min(num_samples, 1 << 15)
        yield np.zeros((num, num_channels), np.float32)
        num_samples -= num


def add_aac_stream(container: OutputContainer, audio: AudioFormat) -> AudioStream:
    """An AAC-LC track for the container, its encoder open: 192 kb/s, or what fits at low sample rates."""
    stream = container.add_stream("aac", rate=audio.sample_rate_hz)
    context = stream.codec_context
    context.layout = _LAYOUTS[audio.num_channels]
    # AAC allows 6144 bits per channel and frame of 1024 samples (ISO/IEC 14496-3, 4.5.3.3)
    context.bit_rate = min(AAC_BIT_RATE, 6 * audio.sample_rate_hz * audio.num_channels)
    context.time_base = Fraction(1, audio.sample_rate_hz)
    context.flags |= CodecFlags.bitexact  # no version of libav in the bytes
    context.open()
    return stream


def aac_packets(stream: AudioStream, blocks: Iterator[Samples], audio: AudioFormat) -> Iterator[Packet[AudioStream]]:
    """Encode blocks (n, num_channels) as they come; the first packet's time is negative: the codec's priming."""
    position = 0
    for block in _in_frames(blocks, stream.codec_context.frame_size):
        frame = AudioFrame.from_ndarray(
            np.ascontiguousarray(block.T), format="fltp", layout=_LAYOUTS[audio.num_channels]
        )
        frame.sample_rate = audio.sample_rate_hz
        frame.pts, frame.time_base = position, Fraction(1, audio.sample_rate_hz)
        position += len(block)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _in_frames(blocks: Iterator[Samples], size: int) -> Iterator[Samples]:
    """The same samples in blocks of `size`; only the last is shorter."""
    rest: Samples | None = None
    for block in blocks:
        rest = block if rest is None else np.concatenate([rest, block])
        whole = len(rest) // size * size
        yield from (rest[first : first + size] for first in range(0, whole, size))
        rest = rest[whole:]
    if rest is not None and len(rest):
        yield rest
