"""Join segments of one encoder into a film: packets are copied, never re-encoded; the songs become one AAC track."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from singalong.durable import atomic_file, sha256_of
from singalong.errors import BugError, MediaError
from singalong.media.audio_out import AudioSpan, aac_packets, add_aac_stream, choose_audio_format, iter_spans
from singalong.media.containers import open_input
from singalong.media.outputs import writing_mp4
from singalong.media.soundtrack import num_samples_of, soundtrack_format, soundtrack_packets

AnyPacket: TypeAlias = "Packet[VideoStream] | Packet[AudioStream]"

METADATA_KEYS = frozenset(
    {
        "title",
        "artist",
        "album_artist",
        "album",
        "composer",
        "date",
        "comment",
        "genre",
        "copyright",
        "grouping",
    }
    | {"description", "synopsis", "keywords", "lyrics"}
)
"""Tags that an MP4 file keeps."""
_HEADERS_KEPT = 512
"""Headers of segments in memory: each is asked for three times, and opening a segment takes 10 ms."""


@dataclass(frozen=True)
class JoinFacts:
    """What the finished film holds: frames counted by reading it back, length num_frames / fps.

    `unsealed_sha256` is of the film before it was sealed.
    """

    num_frames: int
    duration_s: float
    sha256: str
    unsealed_sha256: str


@dataclass(frozen=True)
class _Header:
    """What must be the same in all segments for their packets to be decoded as one stream."""

    extradata: bytes
    width: int
    height: int
    reorder_frames: int
    """How many places before it is shown a frame is decoded at most."""


def segments_match(segments: Sequence[Path]) -> bool:
    """Whether the segments can be joined without re-encoding: same encoder settings, size, colour and shape."""
    return len({_read_header(path)[0] for path in segments}) <= 1


def join_segments(
    segments: Sequence[Path],
    out: Path,
    *,
    fps: Fraction,
    audio: Sequence[AudioSpan],
    metadata: Mapping[str, str],
    seal: Callable[[Path], object] | None = None,
    kept_sound: Callable[[Fraction], Path] | None = None,
) -> JoinFacts:
    """Concatenate segments into an MP4 film without touching their pictures, with the songs from time 0 on.

    Args:
        segments: films or segments written by `SegmentWriter` with the same settings; their own sound is ignored.
        out: replaced as a whole at the end; on any error it stays as it was.
        fps: rate of the segments; frame n of the film is shown at n / fps.
        audio: spans laid end to end from time 0, decoded once and encoded as one AAC track of exactly the film's
            length (silence where they are shorter); none for a film without sound.
        metadata: container tags, of METADATA_KEYS.
        seal: puts something into the written film, or another in its place, before it gets its name.
        kept_sound: gives the folder that `encode_soundtrack` made of `audio` for a film of so many seconds, where that
            is kept; its packets are those that encoding it again would give.

    The same input gives the same bytes, up to the seal. Memory does not grow with the film. Raises MediaError for a
    segment that is unreadable, of another rate or of other encoder settings, or a song without sound.
    """
    assert segments, "a film needs at least one segment"
    assert metadata.keys() <= METADATA_KEYS, metadata.keys() - METADATA_KEYS
    num_frames = _check_segments(segments)
    with atomic_file(out) as temporary:
        sound = partial(_audio_packets, spans=audio, duration=num_frames / fps, kept=kept_sound) if audio else None
        _write_film(segments, temporary, fps=fps, sound=sound, metadata=metadata)
        unsealed = digest = sha256_of(temporary)
        if seal is not None:
            seal(temporary)
            digest = sha256_of(temporary)
        _verify(temporary, num_frames, fps)
    duration_s = float(num_frames / fps)
    return JoinFacts(num_frames=num_frames, duration_s=duration_s, sha256=digest, unsealed_sha256=unsealed)


def _write_film(
    segments: Sequence[Path],
    path: Path,
    *,
    fps: Fraction,
    sound: Callable[[OutputContainer], Iterator[AnyPacket]] | None,
    metadata: Mapping[str, str],
) -> None:
    # The film's length is written in ticks of the movie time scale; the default, 1 ms, is hardly ever exact.
    options = {"movflags": "+faststart", "movie_timescale": str(_timescale(fps))}
    with writing_mp4(path, options) as container:
        container.metadata.update(metadata)
        with open_input(segments[0]) as first:
            template = first.streams.video[0]
            video = container.add_stream_from_template(template)
            video.codec_context.codec_tag = template.codec_context.codec_tag  # else HEVC gets one Apple does not play
        video.time_base = 1 / fps
        tracks: list[Iterator[AnyPacket]] = [_video_packets(segments, video, fps)]
        if sound is not None:
            tracks.append(sound(container))
        container.start_encoding()
        for packet in heapq.merge(*tracks, key=_decode_time_s):
            container.mux(packet)


def _timescale(fps: Fraction) -> int:
    """Ticks a second, such that a frame lasts a whole number of them; at least 10000, as in the track itself."""
    ticks = fps.numerator
    while ticks < 10_000:
        ticks *= 2
    return ticks


def _decode_time_s(packet: AnyPacket) -> float:
    """Good for the order of packets alone; exact fractions took a third of a millisecond a frame."""
    base = packet.time_base
    assert packet.dts is not None
    return packet.dts * base.numerator / base.denominator


def _audio_packets(
    container: OutputContainer,
    *,
    spans: Sequence[AudioSpan],
    duration: Fraction,
    kept: Callable[[Fraction], Path] | None,
) -> Iterator[AnyPacket]:
    if kept is None:
        audio = choose_audio_format(spans)
        blocks = iter_spans(spans, audio, num_samples_of(duration, audio))
        return aac_packets(add_aac_stream(container, audio), blocks, audio)
    folder = kept(duration)
    audio = soundtrack_format(folder)
    return soundtrack_packets(folder, add_aac_stream(container, audio), audio)


def _video_packets(segments: Sequence[Path], video: VideoStream, fps: Fraction) -> Iterator[AnyPacket]:
    """All packets in decoding order, with the times they have in the film, in units of frames."""
    first_frame = 0
    for path in segments:
        with open_input(path, only_packets=True) as container:
            stream = container.streams.video[0]
            reorder = _read_header(path)[0].reorder_frames
            frames: list[int] = []
            for packet in container.demux(stream):
                if packet.pts is None or not packet.size:
                    continue
                frame = _frame_number(packet, stream, fps, path)
                decode_index = first_frame + len(frames) - reorder
                frames.append(frame)
                packet.stream, packet.time_base = video, 1 / fps
                packet.pts, packet.dts, packet.duration = first_frame + frame, decode_index, 1
                yield packet
        if sorted(frames) != list(range(len(frames))):
            raise MediaError("its frames are not one by one in time", file=path, expected=f"a segment at {fps} fps")
        first_frame += len(frames)


def _frame_number(packet: Packet[VideoStream], stream: VideoStream, fps: Fraction, path: Path) -> int:
    base = stream.time_base
    assert packet.pts is not None
    assert base is not None
    # in whole numbers: fractions would take longer than all else that is done with a packet
    ticks = (packet.pts - (stream.start_time or 0)) * base.numerator * fps.numerator
    ticks_a_frame = base.denominator * fps.denominator
    number = (2 * ticks + ticks_a_frame) // (2 * ticks_a_frame)
    if 10 * abs(ticks - number * ticks_a_frame) > ticks_a_frame:
        raise MediaError(
            "has another frame rate than the film",
            file=path,
            value=f"{float(stream.average_rate or 0):.6g} fps",
            expected=f"{float(fps):.6g} fps",
            action="Conform it first (conform_video).",
        )
    return number


def _check_segments(segments: Sequence[Path]) -> int:
    """Number of frames of all segments, by their headers; MediaError where they do not fit together."""
    first, num_frames = _read_header(segments[0])
    for path in segments[1:]:
        header, num = _read_header(path)
        if header != first:
            raise MediaError(
                f"was encoded otherwise than {segments[0].name}, so the two cannot be joined as they are",
                file=path,
                value=f"{header.width}x{header.height}",
                expected=f"{first.width}x{first.height}, same encoder settings and colour tags",
                action="Conform both to one size first (conform_video).",
            )
        num_frames += num
    return num_frames


def _read_header(path: Path) -> tuple[_Header, int]:
    """What must be the same in all segments, and its number of frames; a file that was read already is not opened."""
    facts = path.stat() if path.is_file() else None  # who opens what is no file says what is wrong
    return _header_of(path, *((0, 0, 0) if facts is None else (facts.st_ino, facts.st_size, facts.st_mtime_ns)))


@lru_cache(_HEADERS_KEPT)
def _header_of(path: Path, *_identity: int) -> tuple[_Header, int]:
    with open_input(path) as container:  # to the first picture: containers alone do not know how far it is reordered
        if not container.streams.video:
            raise MediaError("has no pictures", file=path, expected="a segment with a video track")
        stream = container.streams.video[0]
        context = stream.codec_context
        header = _Header(bytes(context.extradata or b""), context.width, context.height, context.reorder_depth)
        return header, stream.frames


def _verify(path: Path, num_frames: int, fps: Fraction) -> None:
    """Read the film back: every frame there, one by one at n / fps."""
    seen = 0
    with open_input(path, only_packets=True) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                _frame_number(packet, stream, fps, path)
                seen += 1
    if seen != num_frames:
        raise BugError(
            "the joined film has the wrong number of frames", file=path, value=seen, expected=f"{num_frames}"
        )
