"""One video stream of a file: which one, and its frames in presentation order on the clip's time line.

Time 0 is where the container starts, so that pictures and sound stay aligned and a late first frame is late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from singalong.errors import MediaError

FALLBACK_FPS = Fraction(25)
"""Rate of a stream that says nothing about its timing at all."""

_NOT_MOVING = Disposition.attached_pic | Disposition.timed_thumbnails
_ROUNDING_S = 2e-6  # containers state their start in microseconds
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


class PacketClock:
    """When the frames that come out of a decoder are shown, seconds on the clip's time line.

    Most containers say so. AVI and raw streams only have an order (what libav fills in for AVI is a guess
    that swaps neighbours in streams with B-frames): there, the n-th frame out takes the time of the n-th
    packet in.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        assert stream.time_base is not None
        self._is_avi = container.format.name == "avi"
        self._is_ordered_only = self._is_avi or stream.start_time is None
        self._time_base, self.origin_s = stream.time_base, origin_s(container, stream)
        self._step_s = 1 / (stream.average_rate or stream.guessed_rate or FALLBACK_FPS)
        self._num_packets = 0
        self._queue: deque[float] = deque()
        self._last_s: float | None = None

    def packet_s(self, packet: Packet[VideoStream]) -> float | None:
        """When the packet's frame is shown (in AVI: the frame that comes out in its place); None: unknown."""
        ticks = packet.dts if self._is_avi else packet.pts
        return None if ticks is None else float(ticks * self._time_base - self.origin_s)

    def push(self, packet: Packet[VideoStream]) -> float:
        """Note a packet on its way into the decoder; returns the time it stands for."""
        time_s = self.packet_s(packet)
        if time_s is None:
            time_s = float(self._num_packets * self._step_s)
        if self._is_ordered_only:
            self._queue.append(time_s)
            if len(self._queue) > _MAX_REORDERED:  # some packets hold no frame of their own
                self._queue.popleft()
        self._num_packets += 1
        return time_s

    def drop(self) -> None:
        """The last packet did not decode, so its time is nobody's."""
        if self._queue:
            self._queue.pop()

    def pop(self, frame: VideoFrame) -> float:
        """The time of a frame just decoded."""
        if self._queue:
            time_s = self._queue.popleft()
        elif frame.pts is not None and not self._is_ordered_only:
            time_s = float(frame.pts * self._time_base - self.origin_s)
        else:
            time_s = 0.0 if self._last_s is None else self._last_s + float(self._step_s)
        self._last_s = time_s
        return time_s


class VideoSource:
    """Decodes one stream forward and can jump back; frames come in presentation order, each with its time.

    Packets and frames that do not decode cleanly are left out and counted in `num_undecodable`; reading goes
    on.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        threads: int = 1,
        max_pixels: int | None = None,
    ) -> None:
        assert stream.time_base is not None
        self.stream = stream
        self.num_undecodable = 0
        self.tick_s = float(stream.time_base)
        self._container = container
        self._reader = self._frames(is_after_seek=False)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "NONE" if threads == 1 else "AUTO"
        if max_pixels is not None:
            context.options = {"max_pixels": str(max_pixels)}

    def next(self) -> TimedFrame | None:
        """The next good frame, or None at the end."""
        return next(self._reader, None)

    def seek(self, time_s: float) -> TimedFrame | None:
        """Jump to a keyframe at or before a time and return its frame, or None where that did not work.

        Where it lands is up to the container: the caller compares the time. After None, only another seek or
        a new source makes sense.
        """
        assert self.stream.time_base is not None
        ticks = (Fraction(time_s) + origin_s(self._container, self.stream)) / self.stream.time_base
        try:
            self._container.seek(ticks.__floor__(), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            return None
        self._reader = self._frames(is_after_seek=True)
        return self.next()

    def _frames(self, *, is_after_seek: bool) -> Iterator[TimedFrame]:
        clock = PacketClock(self._container, self.stream)
        key_s: float | None = None
        for packet in self._packets():
            if packet is not None:
                if is_after_seek and key_s is None:
                    if not packet.is_keyframe:
                        continue
                    key_s = clock.packet_s(packet)
                    if key_s is None:
                        return  # without times nobody knows where this is
                clock.push(packet)
            for frame in self._decode(packet, clock):
                time_s = clock.pop(frame)
                if frame.is_corrupt:
                    self.num_undecodable += 1
                # after a jump, frames before the keyframe lean on pictures that were never read
                elif key_s is None or time_s >= key_s:
                    yield TimedFrame(time_s, frame)

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The packets from here on, then None, which makes the decoder give up what it holds back."""
        try:
            for packet in self._container.demux(self.stream):
                if packet.size > 0:  # an empty packet means "as before", but would end decoding
                    yield packet
        except MemoryError:
            raise
        except av.error.FFmpegError:  # cut short or damaged: what was read until here counts
            self.num_undecodable += 1
        yield None

    def _decode(self, packet: Packet[VideoStream] | None, clock: PacketClock) -> list[VideoFrame]:
        try:
            return self.stream.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            self.num_undecodable += 1
            clock.drop()
            return []
