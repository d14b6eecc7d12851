"""Reading a clip: any moments of it as planes, or all of it, small, for analysis.

Which frame is shown at a time is decided by presentation times alone, so variable frame rate, a late first frame,
B-frames and dropped frames come out right. Everything here runs in the calling thread, one frame after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av.error
import cv2
from av.codec.hwaccel import HWAccel
from av.video.reformatter import VideoReformatter

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media.codecs import NVDEC_CODECS, Choice, hardware
from singalong.media.containers import DEFAULT_MAX_PIXELS, map_av_error, open_input
from singalong.media.demux import TimedFrame, VideoSource
from singalong.media.frames import U8, YuvFrame, frame_to_bgr
from singalong.media.planes import PlaneMaker, small_bgr
from singalong.media.small import SmallPlanes, bgr_of
from singalong.media.still_motion import moved_frame, moved_picture, path_times_s
from singalong.media.stills import load_still

ON_CPU = Choice("cpu", "nothing else was asked for")

_REACH_S = 2.0
"""A wanted frame this far ahead is reached by reading on; keyframes are seldom closer than that."""

_WHOLE_S = 0.25
"""This long before a wanted time, and three frames at least, nothing is left out: the frame shown then is among them,
but for clips that stand still, where the way is gone again."""

_STEPS_BACK_S = (0.0, 1.0, 5.0, 25.0)
"""How much earlier than wanted to try, where a container does not land at or before the wanted time."""


def time_tolerance_s(tick_s: float, facts: ClipFacts) -> float:
    """How far after a wanted time a frame may start and still be the one: one tick of the stream's clock.

    Containers round presentation times to ticks. Where a tick is most of a frame, as in AVI, a quarter of a frame.
    """
    return min(tick_s, float(1 / facts.fps) / 4)


class ClipReader:
    """Random access to the frames of one clip or still, by time.

    A context manager. Holds two decoded frames between calls, and the frames of one chunk within a call.

    Attributes:
        num_undecodable: packets and frames so far that did not decode; the last good frame stood in for them.
    """

    def __init__(self, facts: ClipFacts, *, threads: int = 1, decoder: Choice = ON_CPU) -> None:
        """`decoder` says who decodes, where the clip's codec allows a choice."""
        self._facts, self._threads, self._decoder = facts, threads, decoder
        self._path = Path(facts.path)
        self._stack = ExitStack()
        self._maker = PlaneMaker(facts)
        self._still: YuvFrame | None = None
        self._source: VideoSource | None = None
        self._tolerance_s = 0.0
        self._current: TimedFrame | None = None
        self._ahead: TimedFrame | None = None
        self._first_s: float | None = None
        self._num_undecodable_before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the reader opens it again when it is asked for more."""
        if self._source is not None:
            self._num_undecodable_before += self._source.num_undecodable
        self._source = self._current = self._ahead = None
        self._stack.close()

    @property
    def num_undecodable(self) -> int:
        """Packets and frames so far that did not decode; read twice, they count twice."""
        return self._num_undecodable_before + (self._source.num_undecodable if self._source else 0)

    def read_chunk(self, times_s: Sequence[float]) -> list[YuvFrame]:
        """The frames shown at these times, one for each, in the order given.

        A time gets the last frame that starts at or before it (give or take `time_tolerance_s`), a time before the
        first frame gets the first, one after the last the last. Times may come in any order and repeat; every frame
        returned has planes of its own. Reading is fastest where a chunk begins shortly after the one before it ended;
        a chunk of descending times costs one jump. A still that moves goes round its path (see `still_motion`), and
        the frame's time is that on the path. Raises MediaError where the clip cannot be opened or nothing of it
        decodes.
        """
        if self._facts.is_still:
            return [self._still_frame(time_s) for time_s in times_s]
        frames: dict[float, YuvFrame] = {}
        made: tuple[TimedFrame, YuvFrame] | None = None
        try:
            for time_s in sorted(set(times_s)):
                shown = self._move_to(time_s)
                if made is None or made[0] is not shown:
                    made = shown, self._maker.make(shown)
                frames[time_s] = made[1]
        except av.error.FFmpegError as exc:
            raise map_av_error(exc, self._path, problem="cannot be decoded") from exc
        return _unshared([frames[time_s] for time_s in times_s])

    def _still_frame(self, time_s: float) -> YuvFrame:
        if self._still is None:
            self._still = load_still(self._path)
        share = self._facts.still_motion
        return moved_frame(self._still, share, time_s) if share else self._still.copy()

    def _move_to(self, time_s: float) -> TimedFrame:
        current = self._current
        if current is None or not self._is_in_reach(current, time_s):
            current = self._read_on(self._jump(time_s, hurries=True), time_s)
            if self._may_miss_frames_after(current):
                current = self._read_on(self._jump(time_s), time_s)
        return self._read_on(current, time_s)

    def _read_on(self, current: TimedFrame, time_s: float) -> TimedFrame:
        """From a frame to the one that is shown at a time."""
        while self._ahead is not None and self._ahead.time_s <= time_s + self._tolerance_s:
            current, self._ahead = self._ahead, self._next()
        self._current = current
        return current

    def _is_in_reach(self, current: TimedFrame, time_s: float) -> bool:
        """Whether the frame shown at a time is found by reading on from here."""
        if time_s + self._tolerance_s < current.time_s:
            return current.time_s == self._first_s
        return self._ahead is None or time_s - current.time_s <= _REACH_S

    def _may_miss_frames_after(self, current: TimedFrame) -> bool:
        """Whether frames were left out on the way that may be shown later than this one: where it is shown long."""
        whole_from_s = None if self._source is None else self._source.whole_from_s
        return whole_from_s is not None and current.time_s < whole_from_s

    def _jump(self, time_s: float, *, hurries: bool = False) -> TimedFrame:
        """Go to a keyframe at or before a time; `hurries`: leave out frames on the way that no other needs."""
        whole_from_s = min(time_s, self._facts.duration_s) - max(_WHOLE_S, float(3 / self._facts.fps))
        for back_s in _STEPS_BACK_S:
            target_s = min(time_s, self._facts.duration_s) - back_s
            if target_s <= self._facts.first_frame_s + _REACH_S:
                break
            landed = self._opened().seek(target_s, whole_from_s=whole_from_s if hurries else None)
            if landed is not None and landed.time_s <= time_s + self._tolerance_s:
                self._ahead = self._next()
                return landed
        return self._rewind()

    def _rewind(self) -> TimedFrame:
        """Go to the very first frame: by seeking where that is known to work, else by opening the file anew."""
        first = None
        if self._source is not None and self._first_s is not None:
            first = self._source.seek(self._first_s)
        if first is None or first.time_s != self._first_s:
            self.close()
            first = self._opened().next()
        if first is None:
            raise MediaError(
                "no frame of it can be decoded", file=self._path, action="Get the file again, or convert it to MP4."
            )
        self._first_s = first.time_s
        self._ahead = self._next()
        return first

    def _next(self) -> TimedFrame | None:
        return self._opened().next()

    def _opened(self) -> VideoSource:
        if self._source is None:
            most = _max_pixels(self._facts)
            hwaccel = _hardware(self._facts, self._decoder)
            container = self._stack.enter_context(open_input(self._path, max_pixels=most, hwaccel=hwaccel))
            self._source = VideoSource(container, self._path, threads=self._threads, max_pixels=most)
            self._tolerance_s = time_tolerance_s(self._source.tick_s, self._facts)
        return self._source


@dataclass(frozen=True)
class SmallFrame:
    """A frame for analysis, `scale` times the size of the clip's frames."""

    pts_s: float
    picture: U8 | SmallPlanes
    scale: float

    @property
    def bgr(self) -> U8:
        """The picture, upright, BGR uint8 (h, w, 3); made when it is asked for first."""
        return bgr_of(self.picture)


def iter_small_frames(facts: ClipFacts, *, max_side_px: int, decoder: Choice = ON_CPU) -> Iterator[SmallFrame]:
    """Every decodable frame of a clip in order, no side longer than `max_side_px`, never enlarged.

    `scale` turns the clip's pixels into these: x_small = x * scale. A still gives its one frame, one that moves those
    of one round. Holds one frame at a time. Raises MediaError where the clip cannot be opened or nothing of it decodes.
    """
    scale = min(1.0, max_side_px / max(facts.width, facts.height))
    path = Path(facts.path)
    width, height = max(1, round(facts.width * scale)), max(1, round(facts.height * scale))
    if facts.is_still:
        bgr = cv2.resize(frame_to_bgr(load_still(path)), (width, height), interpolation=cv2.INTER_AREA)
        yield from _small_stills(facts, cast(U8, bgr), scale)
        return
    if facts.rotation_deg in (90, 270):
        width, height = height, width
    reformatter, num_frames = VideoReformatter(), 0
    most = _max_pixels(facts)
    with open_input(path, max_pixels=most, hwaccel=_hardware(facts, decoder)) as container:
        source = VideoSource(container, path, max_pixels=most)
        while (timed := source.next()) is not None:
            num_frames += 1
            picture: U8 | SmallPlanes | None = SmallPlanes.of(timed.frame, size=(width, height), facts=facts)
            if picture is None:
                picture = small_bgr(timed.frame, reformatter, width=width, height=height, facts=facts)
            yield SmallFrame(timed.time_s, picture, scale)
    if num_frames == 0:
        raise MediaError("no frame of it can be decoded", file=path, action="Get the file again.")


def _hardware(facts: ClipFacts, decoder: Choice) -> HWAccel | None:
    return hardware(decoder) if facts.codec in NVDEC_CODECS else None


def _max_pixels(facts: ClipFacts) -> int:
    """The largest frame to decode: what was probed within the limits of its run may be larger than usual."""
    return max(DEFAULT_MAX_PIXELS, (facts.width + 1) * (facts.height + 1))  # odd sides were cut to even ones


def _small_stills(facts: ClipFacts, bgr: U8, scale: float) -> Iterator[SmallFrame]:
    if not facts.still_motion:
        yield SmallFrame(0.0, bgr, scale)
        return
    for time_s in path_times_s(facts.fps):
        yield SmallFrame(time_s, moved_picture(bgr, facts.still_motion, time_s), scale)


def _unshared(frames: list[YuvFrame]) -> list[YuvFrame]:
    """The same frames, with a copy in place of each that was there before."""
    seen: set[int] = set()
    own = []
    for frame in frames:
        own.append(frame.copy() if id(frame) in seen else frame)
        seen.add(id(frame))
    return own
