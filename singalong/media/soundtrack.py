"""The sound of a film kept beside the song: packets as the encoder gave them, for all films that sound the same.

A mass montage has hundreds of clips sing one span of one song. Encoding that span takes most of joining a film, and
gives the same packets each time.

    sound.aac      the packets' bytes, one after the other, without headers of their own
    packets.npy    int64 (n, 4): bytes, presentation time, decoding time and duration of each, in samples
    format.json    sample rate and channels
"""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet

from singalong.media.audio_out import AudioSpan, aac_packets, add_aac_stream, choose_audio_format, iter_spans
from singalong.media.audio_reader import AudioFormat

_SOUND, _PACKETS, _FORMAT = "sound.aac", "packets.npy", "format.json"


def encode_soundtrack(spans: Sequence[AudioSpan], duration: Fraction, folder: Path) -> None:
    """Fill an empty folder with the spans laid end to end, `duration` seconds of them. Raises as `iter_audio` does."""
    audio = choose_audio_format(spans)
    rows = array("q")
    # an MP4 that nothing is ever put into: its encoder is set up as a film's
    with (folder / _SOUND).open("wb") as file, av.open(io.BytesIO(), "w", format="mp4") as nowhere:
        blocks = iter_spans(spans, audio, num_samples_of(duration, audio))
        for packet in aac_packets(add_aac_stream(nowhere, audio), blocks, audio):
            assert packet.pts is not None
            assert packet.dts is not None
            rows.extend((file.write(bytes(packet)), packet.pts, packet.dts, packet.duration or 0))
    np.save(folder / _PACKETS, np.frombuffer(rows, np.int64).reshape(-1, 4))
    (folder / _FORMAT).write_text(json.dumps(asdict(audio)), encoding="utf-8")


def num_samples_of(duration: Fraction, audio: AudioFormat) -> int:
    """Samples of a film's sound, rounded down: the film ends with its last picture."""
    return int(duration * audio.sample_rate_hz)


def soundtrack_format(folder: Path) -> AudioFormat:
    """Rate and channels of what `encode_soundtrack` left."""
    return AudioFormat(**json.loads((folder / _FORMAT).read_text(encoding="utf-8")))


def soundtrack_packets(folder: Path, stream: AudioStream, audio: AudioFormat) -> Iterator[Packet[AudioStream]]:
    """The packets, as `aac_packets` would give them for a stream of `add_aac_stream`; one at a time in memory."""
    with (folder / _SOUND).open("rb") as file:
        for size, pts, dts, duration in map(np.ndarray.tolist, np.load(folder / _PACKETS, mmap_mode="r")):
            packet = cast("Packet[AudioStream]", Packet(file.read(size)))
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, audio.sample_rate_hz), True
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            yield packet
