"""What a clip or a song really is: opened, read to its end and tried, before anything is planned with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import atan2, degrees
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from singalong.contracts import ClipFacts, SongFacts
from singalong.errors import MediaError
from singalong.media.audio_reader import iter_audio, pick_audio_stream
from singalong.media.channels import CancellationMeter
from singalong.media.containers import check_is_file, open_input
from singalong.media.demux import TimedFrame, VideoSource, pick_video_stream
from singalong.media.frames import TRANSFER_HLG, TRANSFER_PQ
from singalong.media.scan import PacketScan, frame_rate, is_variable, scan_packets, too_long
from singalong.media.stills import check_size, is_still, probe_still
from singalong.media.units import samples_to_s
from singalong.settings import LimitSettings

_MAX_TAIL_FRAMES = 1000
"""Decoding more than this, only to see how the file ends, costs more than it tells."""

_STATED_DURATION = ("matroska,webm", "flv", "asf")
"""Formats that state their duration when they are closed, instead of a number of frames."""

_HEIF_BRANDS = ("heic", "heix", "heim", "heis", "mif1", "avif")
"""Pictures in an MP4 coat: libav shows their tiles as if they were videos. (AVIF: where Pillow cannot read it.)"""

_SAR_LIMITS = (Fraction(1, 8), Fraction(8))
"""Pixels longer or wider than this are a broken header."""


@dataclass(frozen=True)
class _Header:
    """What the container states, true or not."""

    stated_fps: Fraction | None
    num_frames: int
    duration_s: float | None
    codec: str
    sample_aspect_ratio: Fraction
    rotate_tag: str


def probe_clip(path: Path, *, sha256: str, limits: LimitSettings, still_fps: int) -> ClipFacts:
    """Facts of a clip or a still image: of what is really in the file, not of what its header says.

    Reads all packets but decodes only the first frame, and the last ones where the header cannot vouch for them.
    Whatever is odd but usable is told in `warnings`. Raises MediaError for what cannot be used: no file, no media,
    no video, nothing that decodes, encrypted, or outside `limits`, which are checked before decoding.
    """
    check_is_file(path)
    if is_still(path):
        return probe_still(path, sha256=sha256, limits=limits, still_fps=still_fps)
    with open_input(path, max_pixels=limits.max_pixels) as container:
        video, notes = pick_video_stream(container, path)
        header = _read_header(container, video, path, limits)
        audio = _audio_stream(container, path)
        scan = scan_packets(container, video, audio, path=path, limits=limits)
    first = _first_frame(path, scan, limits)
    times_s = _decodable_times(path, scan, first, header, limits, notes)
    rotation_deg, is_mirrored = _orientation(first.frame, header.rotate_tag, notes)
    width, height = _upright_size(first.frame, rotation_deg, notes)
    check_size(path, width, height, limits)
    _note_oddities(first.frame, notes)
    ratio = header.sample_aspect_ratio
    return ClipFacts(
        path=str(path),
        sha256=sha256,
        num_bytes=path.stat().st_size,
        is_still=False,
        width=width,
        height=height,
        rotation_deg=rotation_deg,
        is_mirrored=is_mirrored,
        fps=frame_rate(header.stated_fps, times_s),
        num_frames=len(times_s),
        first_frame_s=times_s[0],
        duration_s=times_s[-1] + scan.last_duration_s,
        is_vfr=is_variable(times_s, scan.tick_s),
        codec=header.codec,
        pix_fmt=first.frame.format.name,
        sample_aspect_ratio=1 / ratio if rotation_deg in (90, 270) else ratio,
        has_audio=scan.audio_start_s is not None,
        audio_duration_s=scan.audio_duration_s,
        warnings=tuple(notes),
    )


def probe_song(path: Path, *, sha256: str, limits: LimitSettings) -> SongFacts:
    """Facts of a song's audio, or of a video's, from decoding all of it once.

    `duration_s` runs from time 0 of the file to the last sample, as `audio_reader` reads it. Raises MediaError for
    a file without audio, audio that does not decode, or one that is longer than the limit.
    """
    with open_input(path, max_pixels=limits.max_pixels) as container:
        stream = pick_audio_stream(container, path)
        _check_duration(path, container, limits)
        sample_rate_hz, num_channels = stream.codec_context.sample_rate, stream.codec_context.channels
        codec = stream.codec_context.codec.canonical_name
    _check_sample_rate(path, sample_rate_hz, limits)
    num_samples, meter = 0, CancellationMeter()
    for block in iter_audio(path, sample_rate_hz=sample_rate_hz, num_channels=1, meter=meter):
        num_samples += len(block)
        if num_samples > limits.max_duration_s * sample_rate_hz:
            raise too_long(path, num_samples / sample_rate_hz, limits.max_duration_s)
    return SongFacts(
        path=str(path),
        sha256=sha256,
        num_bytes=path.stat().st_size,
        sample_rate_hz=sample_rate_hz,
        num_channels=num_channels,
        num_samples=num_samples,
        duration_s=samples_to_s(num_samples, sample_rate_hz),
        codec=codec,
        heard_channel=meter.heard_channel,
        warnings=() if meter.heard_channel is None else (_cancelled(meter.heard_channel),),
    )


def _cancelled(heard_channel: int) -> str:
    return f"its channels cancel each other out: lips and scores hear channel {heard_channel} alone"


def _read_header(container: InputContainer, video: VideoStream, path: Path, limits: LimitSettings) -> _Header:
    """What the header states; refuses by it what is too large or too long to be worth decoding."""
    if container.metadata.get("major_brand", "").strip() in _HEIF_BRANDS:
        raise MediaError(
            "is a HEIF picture", file=path, expected="a video or a JPEG or PNG", action="Convert it to JPEG."
        )
    if video.width and video.height:
        check_size(path, video.width, video.height, limits)
    _check_duration(path, container, limits)
    ratio = video.sample_aspect_ratio
    duration: int | None = container.duration
    return _Header(
        stated_fps=video.average_rate,
        num_frames=video.frames,
        duration_s=duration / av.time_base if duration and container.format.name in _STATED_DURATION else None,
        codec=video.codec_context.codec.canonical_name,
        sample_aspect_ratio=ratio if ratio and _SAR_LIMITS[0] <= ratio <= _SAR_LIMITS[1] else Fraction(1),
        rotate_tag=video.metadata.get("rotate", ""),
    )


def _check_duration(path: Path, container: InputContainer, limits: LimitSettings) -> None:
    duration: int | None = container.duration
    if duration is not None and duration / av.time_base > limits.max_duration_s:
        raise too_long(path, duration / av.time_base, limits.max_duration_s)


def _check_sample_rate(path: Path, sample_rate_hz: int, limits: LimitSettings) -> None:
    """A few kilobytes at 1 Hz are hours, and gigabytes at any usual rate."""
    if not limits.min_sample_rate_hz <= sample_rate_hz <= limits.max_sample_rate_hz:
        raise MediaError(
            "its audio has a sample rate that no music has",
            file=path,
            value=f"{sample_rate_hz} Hz",
            expected=f"{limits.min_sample_rate_hz} to {limits.max_sample_rate_hz} Hz",
            action="Get the file again, or change limits.min_sample_rate_hz and limits.max_sample_rate_hz.",
        )


def _audio_stream(container: InputContainer, path: Path) -> AudioStream | None:
    try:
        return pick_audio_stream(container, path)
    except MediaError:
        return None


def _first_frame(path: Path, scan: PacketScan, limits: LimitSettings) -> TimedFrame:
    if not scan.times_s:
        raise MediaError("its video holds no frames", file=path, action="Get the file again.")
    with open_input(path, max_pixels=limits.max_pixels) as container:
        first = VideoSource(container, path, max_pixels=limits.max_pixels).next()
    if first is None:
        raise MediaError(
            "no frame of it can be decoded",
            file=path,
            value=f"{len(scan.times_s)} packets",
            expected=f"video that plays, with frames of at most {limits.max_pixels} pixels",
            action="Get the file again, or convert it to MP4 (H.264).",
        )
    return first


def _decodable_times(
    path: Path, scan: PacketScan, first: TimedFrame, header: _Header, limits: LimitSettings, notes: list[str]
) -> Sequence[float]:
    """Times of the frames without those at either end that do not decode; notes what is missing."""
    half_tick_s = scan.tick_s / 2
    times_s = [time_s for time_s in scan.times_s if time_s >= first.time_s - half_tick_s] or [first.time_s]
    if len(times_s) < len(scan.times_s):
        notes.append(f"{_frames(len(scan.times_s) - len(times_s))} at its start cannot be decoded")
    is_vouched_for = header.num_frames == scan.num_packets and not scan.is_cut_short
    last_s = None if is_vouched_for else _last_decodable_s(path, scan, limits)
    if last_s is not None and last_s < times_s[-1] - half_tick_s:
        num_before = len(times_s)
        times_s = [time_s for time_s in times_s if time_s <= last_s + half_tick_s] or [first.time_s]
        notes.append(f"{_frames(num_before - len(times_s))} at its end cannot be decoded")
    num_found = scan.num_packets - (len(scan.times_s) - len(times_s))
    end_s = max(times_s[-1] + scan.last_duration_s, scan.audio_end_s)
    if num_found < header.num_frames:
        notes.append(f"the header says {_frames(header.num_frames)}, {num_found} found: it is cut short or damaged")
    elif header.duration_s is not None and end_s < header.duration_s - 0.5:
        notes.append(f"the header says {header.duration_s:.2f} s, it ends at {end_s:.2f} s: it is cut short")
    elif scan.is_cut_short:
        notes.append(f"it cannot be read past {end_s:.2f} s: it is cut short or damaged")
    return times_s


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


def _last_decodable_s(path: Path, scan: PacketScan, limits: LimitSettings) -> float | None:
    """The time of the last frame that decodes; None where finding out would take too long."""
    if scan.num_after_keyframe > _MAX_TAIL_FRAMES:
        return None
    most = limits.max_pixels
    with open_input(path, max_pixels=most) as container:
        source = VideoSource(container, path, max_pixels=most)
        frame = None if scan.last_keyframe_s is None else source.seek(scan.last_keyframe_s)
        if frame is not None:
            return _last_s(source, frame)
    if len(scan.times_s) > _MAX_TAIL_FRAMES:
        return None
    with open_input(path, max_pixels=most) as container:
        source = VideoSource(container, path, max_pixels=most)
        return _last_s(source, source.next())


def _last_s(source: VideoSource, frame: TimedFrame | None) -> float | None:
    last_s = None
    while frame is not None:
        last_s, frame = frame.time_s, source.next()
    return last_s


def _orientation(frame: VideoFrame, rotate_tag: str, notes: list[str]) -> tuple[int, bool]:
    """How the frame is made upright: the clockwise turn, and whether it is mirrored left to right after that.

    By its display matrix, else by a tag of old phones. A matrix ((a, b), (c, d)) shows the pixel (x, y) at
    (ax + cy, bx + dy); to mirror is to negate a and c.
    """
    matrix = cast(Mapping[SideDataType, Buffer], frame.side_data).get(SideDataType.DISPLAYMATRIX)
    is_mirrored = False
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
        is_mirrored = bool(a * d - b * c < 0)
        clockwise = round(degrees(atan2(b, -a if is_mirrored else a)))
    else:
        clockwise = int(rotate_tag) if rotate_tag.lstrip("-").isdigit() else 0
    if clockwise % 90:
        notes.append(f"it is to be turned by {clockwise % 360} degrees: the nearest quarter turn is applied")
    return round(clockwise / 90) * 90 % 360, is_mirrored


def _upright_size(frame: VideoFrame, rotation_deg: int, notes: list[str]) -> tuple[int, int]:
    if frame.width % 2 or frame.height % 2:
        notes.append(f"its frames are {frame.width}x{frame.height}: an odd row or column is cut off")
    width, height = frame.width // 2 * 2, frame.height // 2 * 2
    return (height, width) if rotation_deg in (90, 270) else (width, height)


def _note_oddities(frame: VideoFrame, notes: list[str]) -> None:
    if frame.color_trc in (TRANSFER_PQ, TRANSFER_HLG):
        notes.append("it is HDR: its film is HEVC of 10 bits; metadata by scene (Dolby Vision, HDR10+) is lost")
    if frame.interlaced_frame:
        notes.append("it is interlaced: frames are taken as they are")
