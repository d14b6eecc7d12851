"""One video stream of a file: which one, and its frames in presentation order on the clip's time line.

Time 0 is where the container starts, so that pictures and sound stay aligned and a late first frame is late.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import av.error
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from singalong.errors import MediaError
from singalong.media.containers import DEFAULT_MAX_PIXELS, decoder_limits, open_input, raise_if_not_the_files_fault

FALLBACK_FPS = Fraction(25)
"""Rate of a stream that says nothing about its timing at all."""

_NOT_MOVING = Disposition.attached_pic | Disposition.timed_thumbnails
_ROUNDING_S = 2e-6  # containers state their start in microseconds
# Formats whose time stamps stay true after a jump. MPEG program streams and AVI guess them anew from wherever
# they land; others are not known well enough to be trusted.
_TRUSTED_AFTER_SEEK = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "flv", "asf", "gif", "nut", "ivf")
_RAW_STREAMS = ("h264", "hevc", "m4v", "mpegvideo", "vc1", "obu", "mjpeg")
_MAX_REORDERED = 17  # no decoder holds back more frames than this (H.264 and HEVC: 16)


class TimedFrame(NamedTuple):
    """A decoded frame and when it appears, seconds on the clip's time line."""

    time_s: float
    frame: VideoFrame


def pick_video_stream(container: InputContainer, path: Path) -> tuple[VideoStream, list[str]]:
    """The stream a player would show, and notes for the report.

    Cover pictures and streams in an unknown codec never count. The first stream marked as default wins, else
    the one libav thinks best. Raises MediaError where nothing is left.
    """
    moving = [s for s in container.streams.video if not s.disposition & _NOT_MOVING]
    known = [s for s in moving if s.codec_context is not None]
    if not known:
        if moving:
            problem = "its video is in an unknown codec"
        else:
            problem = "has no video, only a cover picture" if container.streams.video else "has no video"
        raise MediaError(
            problem,
            file=path,
            value=", ".join(s.type for s in container.streams) or None,
            expected="a file with a video stream",
            action="Check that the right file is named, or convert it to MP4 (H.264).",
        )
    chosen = next((s for s in known if s.disposition & Disposition.default), None)
    if chosen is None:
        best = container.streams.best("video")
        chosen = next((s for s in known if s is best), known[0])
    if len(known) == 1:
        return chosen, []
    ignored = ", ".join(f"stream {s.index} ({s.width}x{s.height})" for s in known if s is not chosen)
    used = f"stream {chosen.index} ({chosen.width}x{chosen.height})"
    return chosen, [f"{len(known)} video streams: using {used}, ignoring {ignored}"]


def origin_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """The container's start on the stream's own clock, seconds: what is time 0 of the clip."""
    assert stream.time_base is not None
    own = None if stream.start_time is None else stream.start_time * stream.time_base
    start_us: int | None = container.start_time
    if start_us is None:
        return own or Fraction(0)
    start = Fraction(start_us, av.time_base)
    # the exact value, where the container only rounds it
    return own if own is not None and abs(own - start) < _ROUNDING_S else start


def is_ordered_only(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the container only knows the order of its frames, not when each is shown: AVI and raw streams.

    What libav fills in there is a guess that swaps neighbours in streams with B-frames.
    """
    return container.format.name in ("avi", *_RAW_STREAMS) or stream.start_time is None


class PacketClock:
    """When the frames that come out of a decoder are shown, seconds on the clip's time line.

    Most containers say so. Where they only have an order, the n-th frame out takes the time of the n-th packet in.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        assert stream.time_base is not None
        self.origin_s = origin_s(container, stream)
        self._time_base = stream.time_base
        self._is_avi, self._is_raw = container.format.name == "avi", container.format.name in _RAW_STREAMS
        self._is_ordered_only = is_ordered_only(container, stream)
        self._step_s = 1 / (stream.average_rate or stream.guessed_rate or FALLBACK_FPS)
        self._num_packets = 0
        self._queue: deque[float] = deque()
        self._known: Iterator[float] | None = None
        self._last_s: float | None = None

    def follow(self, times_s: Iterator[float]) -> None:
        """Take the times of the frames from a list, one after the other, whatever the packets say."""
        self._known = times_s

    def packet_s(self, packet: Packet[VideoStream]) -> float | None:
        """When the packet's frame is shown (in AVI: the frame that comes out in its place); None: unknown."""
        ticks = packet.dts if self._is_avi else packet.pts
        return None if ticks is None or self._is_raw else float(ticks * self._time_base - self.origin_s)

    def push(self, packet: Packet[VideoStream]) -> float:
        """Note a packet on its way into the decoder; returns the time it stands for."""
        time_s = self.packet_s(packet)
        if time_s is None:
            time_s = float(self._num_packets * self._step_s)
        if self._is_ordered_only and self._known is None:
            self._queue.append(time_s)
            if len(self._queue) > _MAX_REORDERED:  # some packets hold no frame of their own
                self._queue.popleft()
        self._num_packets += 1
        return time_s

    def drop(self) -> None:
        """The last packet did not decode, so its time is nobody's."""
        if self._known is not None:
            next(self._known, None)
        elif self._queue:
            self._queue.pop()

    def pop(self, frame: VideoFrame) -> float:
        """The time of a frame just decoded."""
        if self._last_s is None:
            self._last_s = -float(self._step_s)
        time_s = None if self._known is None else next(self._known, None)
        if time_s is None and self._queue:
            time_s = self._queue.popleft()
        if time_s is None and frame.pts is not None and not self._is_ordered_only and self._known is None:
            time_s = float(frame.pts * self._time_base - self.origin_s)
        self._last_s = self._last_s + float(self._step_s) if time_s is None else time_s
        return self._last_s


@dataclass(frozen=True)
class KeyframeIndex:
    """Times of all frames in order, and where among them each keyframe is, by its place in the file."""

    times_s: array[float]
    first_frame: dict[int, int]
    """Byte position of a keyframe's packet to its index in `times_s`."""


def read_keyframe_index(path: Path) -> KeyframeIndex:
    """Read all packets of a file from its start, where alone the times of some formats can be trusted."""
    times_s, keyframes = array("d"), dict[int, float]()
    with open_input(path) as container:
        stream, _ = pick_video_stream(container, path)
        clock = PacketClock(container, stream)
        for packet in read_packets(container, stream):
            time_s = clock.push(packet)
            times_s.append(time_s)
            if packet.is_keyframe and packet.pos is not None:
                # of several frames in one piece of the file, none can be told from the others
                keyframes[packet.pos] = -1.0 if packet.pos in keyframes else time_s
    ordered = array("d", sorted(times_s))
    return KeyframeIndex(ordered, {pos: bisect_left(ordered, s) for pos, s in keyframes.items() if pos >= 0 <= s})


def read_packets(
    container: InputContainer, *streams: VideoStream | AudioStream, on_error: Callable[[], None] = lambda: None
) -> Iterator[Packet[Any]]:
    """All packets of these streams from here to the real end of the file; `on_error` is told of a damaged end."""
    try:
        for packet in container.demux(streams):
            if packet.size > 0:  # an empty packet means "as before", but would end decoding
                yield packet
    except MemoryError:
        raise
    except IndexError:  # PyAV trips over streams that turn up in mid-file, but only once all has been read
        pass
    except av.error.FFmpegError as exc:  # cut short: what was read until here counts
        raise_if_not_the_files_fault(exc, Path(container.name.removeprefix("file:")))
        on_error()


class VideoSource:
    """Decodes one stream forward and can jump back; frames come in presentation order, each with its time.

    Packets and frames that do not decode cleanly are left out and counted in `num_undecodable`; reading goes
    on. Frames before `whole_from_s` may have been left out on the way (see `seek`).
    """

    def __init__(
        self,
        container: InputContainer,
        path: Path,
        *,
        threads: int = 1,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.stream, _ = pick_video_stream(container, path)
        self._is_ordered_only = is_ordered_only(container, self.stream)
        assert self.stream.time_base is not None
        self.tick_s = float(self.stream.time_base)
        self.num_undecodable = 0
        self.whole_from_s: float | None = None
        self._threads = threads
        self._skipped: Literal["NONREF", "DEFAULT"] = "DEFAULT"
        self._container, self._path = container, path
        self._index: KeyframeIndex | None = None
        self._reader = self._frames(is_after_seek=False)
        for other in container.streams:
            if other is not self.stream:
                other.discard = Discard.all
        context = self.stream.codec_context
        context.thread_count = threads
        context.thread_type = "NONE" if threads == 1 else "AUTO"
        if threads != 1:
            av.logging.set_level(None)  # PyAV can wait for a thread that waits to log
        context.options = decoder_limits(max_pixels)  # for every frame: sizes may change in mid-stream

    def next(self) -> TimedFrame | None:
        """The next good frame, or None at the end."""
        return next(self._reader, None)

    def seek(self, time_s: float, *, whole_from_s: float | None = None) -> TimedFrame | None:
        """Jump to a keyframe at or before a time and return its frame, or None where that did not work.

        Where it lands is up to the container: the caller compares the time. After None, only another seek or a
        new source makes sense. `whole_from_s`: frames before that time need not come where no other is decoded from
        them, which saves half of the way in films with many B-frames. H.264 alone says so of each frame.
        """
        assert self.stream.time_base is not None
        if self._container.format.name not in _TRUSTED_AFTER_SEEK:
            if self._is_ordered_only and self.stream.codec_context.has_b_frames:
                return None  # how many frames are shown between a keyframe and the one after it, nobody knows
            self._index = self._index or read_keyframe_index(self._path)
        may_hurry = self._index is None and self._threads == 1 and self.stream.codec_context.name == "h264"
        self.whole_from_s = whole_from_s if may_hurry and not self._is_ordered_only else None
        ticks = (Fraction(time_s) + origin_s(self._container, self.stream)) / self.stream.time_base
        try:
            self._container.seek(ticks.__floor__(), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return None
        self._reader = self._frames(is_after_seek=True)
        return self.next()

    def _frames(self, *, is_after_seek: bool) -> Iterator[TimedFrame]:
        clock = PacketClock(self._container, self.stream)
        packets = read_packets(self._container, self.stream, on_error=self._count_undecodable)
        key_s: float | None = None
        if is_after_seek:
            keyframe = next((packet for packet in packets if packet.is_keyframe), None)
            key_s = None if keyframe is None else self._resync(clock, keyframe)
            if keyframe is None or key_s is None:
                return  # nobody knows where this is
            packets = chain((keyframe,), packets)
        for packet in chain(packets, (None,)):  # None makes the decoder give up what it holds back
            if packet is not None:
                self._hurry(until_s=self.whole_from_s, now_s=clock.push(packet))
            for frame in self._decode(packet, clock):
                time_s = clock.pop(frame)
                if frame.is_corrupt:
                    self.num_undecodable += 1
                # after a jump, frames before the keyframe lean on pictures that were never read
                elif key_s is None or time_s >= key_s:
                    yield TimedFrame(time_s, frame)

    def _hurry(self, *, until_s: float | None, now_s: float) -> None:
        """Have the decoder leave out frames that no other needs, as long as they are not wanted."""
        wanted: Literal["NONREF", "DEFAULT"] = "NONREF" if until_s is not None and now_s < until_s else "DEFAULT"
        if wanted != self._skipped:
            self.stream.codec_context.skip_frame = self._skipped = wanted

    def _resync(self, clock: PacketClock, keyframe: Packet[VideoStream]) -> float | None:
        """Set the clock after a jump; returns the keyframe's time, None where it is unknown."""
        if self._index is None:
            return clock.packet_s(keyframe)
        first = None if keyframe.pos is None else self._index.first_frame.get(keyframe.pos)
        if first is None:
            return None
        clock.follow(islice(self._index.times_s, first, None))
        return self._index.times_s[first]

    def _decode(self, packet: Packet[VideoStream] | None, clock: PacketClock) -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            self._count_undecodable()
            clock.drop()
            return []

    def _count_undecodable(self) -> None:
        self.num_undecodable += 1
