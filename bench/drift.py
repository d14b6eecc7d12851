"""How far lips and sound drift apart in a finished film, measured from its pictures and its sound.

A song of bursts at known times is prepared as any song, and every frame is as bright as the sound that a generator
would be given for it. Segments, joining and sound are the real ones; then the film is decoded by libav alone, and each
flash is compared with its burst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import level_db, mel_steps_of
from singalong.media.audio_out import AudioSpan
from singalong.media.encode import SegmentWriter
from singalong.media.frames import ColorInfo, YuvFrame
from singalong.media.join import join_segments
from singalong.media.units import num_output_frames
from singalong.plan import cut_into_shards
from singalong.store import Store
from tasks.prepare_song import load_song, prepare_song

RATE_HZ = 44100
SPACING_S, BURST_S = 5.03, 0.3
SHARD_S = 10
_FLOOR_DB = -70.0
_WIDTH, _HEIGHT = 64, 48
CODECS = {"wav": "pcm_s16le", "mp3": "libmp3lame", "m4a": "aac"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """Milliseconds by which the flashes come before (negative) or after their bursts."""

    worst_ms: float
    first_minute_ms: float
    last_minute_ms: float
    num_frames: int
    expected_frames: int


def burst_times(duration_s: float) -> Floats:
    """Centres of the bursts, seconds; their distance is no multiple of any frame."""
    return np.arange(1.0, duration_s - 1, SPACING_S)


def write_burst_song(path: Path, duration_s: float) -> Path:
    """A song of bursts, in the codec that its name says; written in pieces."""
    times_s = burst_times(duration_s)
    options = {"b": "0", "q": "4"} if path.suffix == ".mp3" else {}  # a variable bit rate, as many songs have
    with av.open(str(path), "w") as out:
        stream = out.add_stream(CODECS[path.suffix[1:]], rate=RATE_HZ, options=options)
        context = stream.codec_context
        context.layout, context.format = "mono", "s16" if path.suffix == ".wav" else "fltp"
        for first in range(0, round(duration_s * RATE_HZ), RATE_HZ):
            count = min(RATE_HZ, round(duration_s * RATE_HZ) - first)
            samples = _bursts((first + np.arange(count)) / RATE_HZ, times_s)
            is_pcm = context.format.name == "s16"
            data = np.round(samples * 32767).astype(np.int16) if is_pcm else samples.astype(np.float32)
            frame = av.AudioFrame.from_ndarray(data[None], format=context.format.name, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, first, Fraction(1, RATE_HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _bursts(at_s: Floats, times_s: Floats) -> Floats:
    nearest = times_s[np.clip(np.round((at_s - times_s[0]) / SPACING_S).astype(int), 0, len(times_s) - 1)]
    offset = (at_s - nearest) / BURST_S
    level = np.where(np.abs(offset) < 0.5, np.cos(np.pi * offset) ** 2, 0.0)
    return level * (0.4 * np.sin(2 * np.pi * 700 * at_s) + 0.2 * np.sin(2 * np.pi * 1500 * at_s))


def make_film(song: Path, folder: Path, *, fps: Fraction, start_s: float, end_s: float, sha256: str) -> Path:
    """A film of this span of the song, whose frames are as bright as what its lips would hear."""
    prepared = load_song(prepare_song(song, sha256=sha256, store=Store(folder / "store")))
    num_frames = num_output_frames(end_s - start_s, fps)
    steps = mel_steps_of(fps, num_frames, start_s)
    heard = level_db(np.asarray(prepared.mel))[np.minimum(steps, prepared.mel.shape[1] - 1)]
    brightness = np.clip(1 - heard / _FLOOR_DB, 0, 1)
    segments = []
    for index, (first, end) in enumerate(cut_into_shards(num_frames, round(SHARD_S * fps))):
        segments.append(folder / f"{float(fps):.3f}-{index}.mp4")
        _write_segment(segments[-1], brightness[first:end], fps)
    film = folder / f"{song.name}-{float(fps):.3f}.mp4"
    join_segments(segments, film, fps=fps, audio=[AudioSpan(song, start_s, end_s)], metadata={})
    for segment in segments:
        segment.unlink()
    return film


def _write_segment(path: Path, brightness: Floats, fps: Fraction) -> None:
    writer = SegmentWriter(path, width=_WIDTH, height=_HEIGHT, fps=fps, color=ColorInfo(), crf=12, preset="ultrafast")
    grey = np.full((_HEIGHT // 2, _WIDTH // 2), 128, np.uint8)
    with writer:
        for value in brightness:
            y = np.full((_HEIGHT, _WIDTH), round(16 + 219 * float(value)), np.uint8)
            writer.write(YuvFrame(y, grey, grey, 0.0, ColorInfo()))


def measure(film: Path, *, fps: Fraction, start_s: float, end_s: float) -> Drift:
    """Compare every flash of a film with its burst."""
    frame_s, light = _video(film)
    sound_s, sound = _audio(film)
    bursts_s = burst_times(10 * 3600.0)
    bursts_s = bursts_s[(bursts_s > start_s + 0.5) & (bursts_s < end_s - 0.5)] - start_s
    flash_s = np.array([_centre(frame_s, light, time_s) for time_s in bursts_s])
    heard_s = np.array([_centre(sound_s, sound, time_s) for time_s in bursts_s])
    late_ms = 1000 * (flash_s - heard_s)
    late_in_first, late_in_last = late_ms[bursts_s < 60].mean(), late_ms[bursts_s > bursts_s[-1] - 60].mean()
    return Drift(
        worst_ms=float(late_ms[np.abs(late_ms).argmax()]),
        first_minute_ms=float(late_in_first),
        last_minute_ms=float(late_in_last),
        num_frames=len(frame_s),
        expected_frames=num_output_frames(end_s - start_s, fps),
    )


def _centre(times_s: Floats, values: Floats, around_s: float) -> float:
    """Centre of gravity of what rises above the floor within 0.4 s of a time."""
    first, end = np.searchsorted(times_s, [around_s - 0.4, around_s + 0.4])
    part = values[first:end]
    weights = np.maximum(part - 0.25 * part.max(), 0)
    return float((weights * times_s[first:end]).sum() / weights.sum())


def _video(film: Path) -> tuple[Floats, Floats]:
    times_s, values = [], []
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            times_s.append(float(frame.pts * frame.time_base))
            values.append(float(np.frombuffer(memoryview(frame.planes[0]), np.uint8)[:16].mean()) - 16)
    return np.array(times_s), np.array(values)


def _audio(film: Path) -> tuple[Floats, Floats]:
    """Level every millisecond, as the container times its sound; decibels above the floor, like the light."""
    powers: list[Floats] = []
    times_s: list[Floats] = []
    for time_s, samples in _sound(film):
        step = RATE_HZ // 1000
        whole = len(samples) // step * step
        powers.append((samples[:whole].reshape(-1, step) ** 2).mean(axis=1))
        times_s.append(time_s + (np.arange(len(powers[-1])) * step + step / 2) / RATE_HZ)
    smooth = np.convolve(np.concatenate(powers), np.hanning(51) / np.hanning(51).sum(), mode="same")
    return np.concatenate(times_s), np.maximum(10 * np.log10(smooth + 1e-9) + 60, 0)


def _sound(film: Path) -> Iterator[tuple[float, Floats]]:
    with av.open(str(film)) as container:
        for frame in container.decode(audio=0):
            yield float(frame.pts * frame.time_base), frame.to_ndarray()[0].astype(np.float64)
