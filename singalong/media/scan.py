"""What the packets of a file say about its timing, read without decoding a frame."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from singalong.errors import MediaError
from singalong.media.demux import FALLBACK_FPS, PacketClock, read_packets
from singalong.settings import LimitSettings

STANDARD_RATES = (
    *(Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)),
    *(Fraction(n * 1000, 1001) for n in (15, 24, 30, 48, 60, 120)),
)
_MIN_FPS, _MAX_FPS = Fraction(1), Fraction(480)
_RATE_AGREES = 0.1
"""A stated rate this close to the measured one is kept: dropped frames lower the count, not the rate."""
_RATE_IS_STANDARD = 5e-4
"""Half the distance between 30000/1001 and 30."""


@dataclass
class PacketScan:
    """Times are seconds on the clip's time line; `times_s` are of frames in presentation order.

    `num_packets` counts video packets with those that an edit list cuts off.
    """

    times_s: Sequence[float] = field(default_factory=lambda: array("d"))
    last_duration_s: float = 0.0
    last_keyframe_s: float | None = None
    num_after_keyframe: int = 0
    num_packets: int = 0
    is_cut_short: bool = False
    tick_s: float = 0.0
    audio_start_s: float | None = None
    audio_end_s: float = 0.0

    def note_damage(self) -> None:
        """The file ended with an error."""
        self.is_cut_short = True

    @property
    def audio_duration_s(self) -> float:
        """From the start of the first audio packet to the end of the last."""
        return 0.0 if self.audio_start_s is None else self.audio_end_s - self.audio_start_s


def scan_packets(
    container: InputContainer,
    video: VideoStream,
    audio: AudioStream | None,
    *,
    path: Path,
    limits: LimitSettings,
) -> PacketScan:
    """Read all packets of a freshly opened file to its real end, whatever its header says.

    Packets that an edit list cuts off do not count. Raises MediaError for encrypted video and for one that goes
    on past the limits, as soon as that is seen.
    """
    assert video.time_base is not None
    wanted = (video,) if audio is None else (video, audio)
    for stream in container.streams:
        if stream not in wanted:
            stream.discard = Discard.all
    clock = PacketClock(container, video)
    scan = PacketScan(tick_s=float(video.time_base))
    times = array("d")
    last_s = -1.0
    for packet in read_packets(container, *wanted, on_error=scan.note_damage):
        if packet.stream is audio:
            _note_audio(packet, clock, scan)
            continue
        scan.num_packets += 1
        time_s = clock.push(packet)
        if time_s > limits.max_duration_s:
            raise too_long(path, time_s, limits.max_duration_s)
        if scan.num_packets > limits.max_frames:
            raise _too_many(path, limits.max_frames)
        if packet.is_discard:
            continue
        if not times and packet.has_sidedata("encryption_info"):
            raise MediaError("is encrypted", file=path, expected="a file without copy protection")
        times.append(time_s)
        scan.num_after_keyframe += 1
        if packet.is_keyframe:
            scan.last_keyframe_s, scan.num_after_keyframe = time_s, 1
        if time_s >= last_s:
            last_s, scan.last_duration_s = time_s, float((packet.duration or 0) * video.time_base)
    scan.times_s = array("d", np.sort(np.frombuffer(times)).tobytes()) if times else times
    if scan.last_duration_s <= 0:
        scan.last_duration_s = _usual_step_s(scan.times_s) or float(1 / FALLBACK_FPS)
    return scan


def too_long(path: Path, duration_s: float, max_duration_s: float) -> MediaError:
    """The error for media that lasts longer than the limit."""
    return MediaError(
        "it is too long",
        file=path,
        value=f"{duration_s:.1f} s",
        expected=f"at most {max_duration_s:.1f} s",
        action="Cut it, or raise limits.max_duration_s.",
    )


def _too_many(path: Path, max_frames: int) -> MediaError:
    return MediaError(
        "it has too many frames",
        file=path,
        expected=f"at most {max_frames}",
        action="Cut it, or raise limits.max_frames; each frame takes some 30 bytes of memory while a clip is read.",
    )


def frame_rate(stated: Fraction | None, times_s: Sequence[float]) -> Fraction:
    """Average frames per second: what the container states where its frames bear it out, else measured.

    Containers state nothing, or the resolution of their clock (600, 1000), or the rate of a camera that delivered
    half of it. A measured rate becomes the standard one next to it, if that is near.
    """
    span_s = times_s[-1] - times_s[0] if times_s else 0.0
    is_sane = stated is not None and _MIN_FPS <= stated <= _MAX_FPS
    if span_s <= 0:
        return stated if stated is not None and is_sane else FALLBACK_FPS
    measured = (len(times_s) - 1) / span_s
    if stated is not None and is_sane and abs(float(stated) / measured - 1) <= _RATE_AGREES:
        return stated
    nearest = min(STANDARD_RATES, key=lambda rate: abs(float(rate) / measured - 1))
    if abs(float(nearest) / measured - 1) <= _RATE_IS_STANDARD:
        return nearest
    return min(max(Fraction(measured).limit_denominator(1001), _MIN_FPS), _MAX_FPS)


def is_variable(times_s: Sequence[float], tick_s: float) -> bool:
    """Whether any step between frames differs from the usual one by more than rounding and a little jitter.

    Rounded times (milliseconds in Matroska) put steps one tick apart; a dropped or late frame changes a step by
    half or more.
    """
    usual_s = _usual_step_s(times_s)
    if usual_s is None:
        return False
    tolerance_s = max(min(tick_s, usual_s / 2), usual_s / 10) + 1e-6
    return any(abs(b - a - usual_s) > tolerance_s for a, b in itertools.pairwise(times_s))


def _usual_step_s(times_s: Sequence[float]) -> float | None:
    steps = np.diff(np.asarray(times_s))  # not a list: of a million frames that would be most of the memory
    return float(np.median(steps)) if len(steps) else None


def _note_audio(packet: Packet[Any], clock: PacketClock, scan: PacketScan) -> None:
    if packet.pts is None:
        return
    start_s = float(packet.pts * packet.time_base - clock.origin_s)
    if scan.audio_start_s is None:
        scan.audio_start_s = start_s
    scan.audio_end_s = max(scan.audio_end_s, start_s + float((packet.duration or 0) * packet.time_base))
