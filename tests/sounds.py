"""Synthetic sounds for tests, and files of them in any codec."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def tone(freq_hz: float, duration_s: float, rate_hz: int, amplitude: float = 0.5) -> F32:
    """A sine (n,)."""
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * freq_hz * times_s)).astype(np.float32)


def chirp(duration_s: float, rate_hz: int, seed: int = 0) -> F32:
    """A signal (n,) that correlates with itself at one lag only: a sweep with noise and a varying level."""
    times_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    phase = 2 * np.pi * (200 * times_s + 300 * np.sin(times_s * 1.7))
    noise = np.random.default_rng(seed).standard_normal(len(times_s))
    level = 0.4 + 0.3 * np.sin(2 * np.pi * 1.3 * times_s)
    return (level * (0.6 * np.sin(phase) + 0.1 * noise)).astype(np.float32)


def write_sound(
    path: Path,
    samples: F32 | Sequence[F32],
    rate_hz: int,
    *,
    codec: str = "pcm_s16le",
    layout: str | None = None,
    pts: Sequence[int] | None = None,
    default_stream: int | None = None,
    container_format: str | None = None,
) -> Path:
    """Write samples (n,) or (n, channels), or a list of them as several streams.

    `pts` are the times of blocks of 1000 samples, in samples; they follow each other if not given.
    """
    streams_samples = [samples] if isinstance(samples, np.ndarray) else list(samples)
    with av.open(str(path), "w", format=container_format) as out:
        streams = []
        for index, data in enumerate(streams_samples):
            num_channels = 1 if data.ndim == 1 else data.shape[1]
            stream = out.add_stream(codec, rate=rate_hz)
            stream.codec_context.layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[num_channels]
            stream.codec_context.time_base = Fraction(1, rate_hz)
            if default_stream is not None:
                stream.disposition = av.stream.Disposition.default if index == default_stream else 0
            streams.append(stream)
        for stream, data in zip(streams, streams_samples, strict=True):
            _encode(out, stream, data.reshape(len(data), -1), rate_hz, pts)
    return path


def _encode(out, stream, data: F32, rate_hz: int, pts: Sequence[int] | None) -> None:
    name = stream.codec_context.format.name
    for number, first in enumerate(range(0, len(data), 1000)):
        block = _as_format(data[first : first + 1000], name)
        frame = av.AudioFrame.from_ndarray(block, format=name, layout=stream.codec_context.layout)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = first if pts is None else pts[number]
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _as_format(block: F32, name: str) -> NDArray[np.generic]:
    kind = name.removesuffix("p")
    if kind == "u8":
        values = np.round(block * 128 + 128).clip(0, 255).astype(np.uint8)
    elif kind in ("s16", "s32"):
        bits = int(kind[1:]) - 1
        values = np.round(block.astype(np.float64) * 2.0**bits).clip(-(2.0**bits), 2.0**bits - 1)
        values = values.astype({"s16": np.int16, "s32": np.int32}[kind])
    else:
        values = block.astype({"flt": np.float32, "dbl": np.float64}[kind])
    return np.ascontiguousarray(values.T if name.endswith("p") else values.reshape(1, -1))


def lag_of(signal: F32, reference: F32, max_lag: int) -> tuple[int, float]:
    """How many samples `signal` comes after `reference`, and their correlation there."""
    size = 1 << (len(signal) + len(reference) - 1).bit_length()
    spectrum = np.fft.rfft(signal.astype(np.float64), size) * np.conj(np.fft.rfft(reference.astype(np.float64), size))
    correlation = np.fft.irfft(spectrum, size)
    lags = np.arange(-max_lag, max_lag + 1)
    best = int(lags[np.argmax(correlation[lags])])
    norm = np.sqrt((signal.astype(np.float64) ** 2).sum() * (reference.astype(np.float64) ** 2).sum())
    return best, float(correlation[best] / norm)
