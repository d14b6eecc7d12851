"""Signal tools of the synthesisers; mono float arrays at SAMPLE_RATE_HZ."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from singalong.synthetic.arrays import Floats, f32

SAMPLE_RATE_HZ = 44100
_FFT = 2048
_WINDOW = 1024
HOP = 256
"""Samples between two filter frames."""

BIN_HZ = np.arange(_FFT // 2 + 1) * (SAMPLE_RATE_HZ / _FFT)
"""Frequency of each filter bin."""

_BLOCK = 256


def num_filter_frames(num_samples: int) -> int:
    """How many responses `filter_frames` needs for a signal; frame i is centred on sample i * HOP."""
    return num_samples // HOP + 2


def filter_frames(samples: Floats, response: Callable[[int, int], Floats]) -> Floats:
    """Filter a signal with a response that changes over time (overlap-add of short spectra).

    samples: (n,). response(first, last) gives complex or real gains (last - first, bins) of those frames.
    """
    num_frames = num_filter_frames(len(samples))
    padded = np.zeros(_WINDOW // 2 + num_frames * HOP + _WINDOW, np.float32)
    padded[_WINDOW // 2 : _WINDOW // 2 + len(samples)] = samples
    out = np.zeros(len(padded) + _FFT, np.float32)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][:num_frames]
    for first in range(0, num_frames, _BLOCK):
        last = min(first + _BLOCK, num_frames)
        if not frames[first:last].any():
            continue
        spectra = np.fft.rfft(frames[first:last] * window, _FFT)
        pieces = np.fft.irfft(spectra * response(first, last), _FFT).astype(np.float32)
        for shift in range(_FFT // HOP):  # frames 8 apart do not overlap: add each such comb in one go
            comb = pieces[shift :: _FFT // HOP]
            start = (first + shift) * HOP
            out[start : start + comb.size] += comb.ravel()
    return out[_WINDOW // 2 : _WINDOW // 2 + len(samples)] * (2 * HOP / _WINDOW)


def spectrum_filter(samples: Floats, gains_of_hz: tuple[tuple[float, float], ...]) -> Floats:
    """Filter a whole signal (last axis) with a gain curve given as (Hz, gain) points, linear in log frequency."""
    num = samples.shape[-1]
    size = -(-(num + 2048) // 4096) * 4096  # room for the filter's ringing, and a length that is quick to transform
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    points = np.array(gains_of_hz)
    gains = np.interp(np.log(np.maximum(hz, 1.0)), np.log(points[:, 0]), points[:, 1])
    gains[0] = 0.0
    return f32(np.fft.irfft(np.fft.rfft(samples, size) * gains, size)[..., :num])


def high_pass(samples: Floats, cut_hz: float) -> Floats:
    """Remove what lies below `cut_hz`, and any constant."""
    return spectrum_filter(samples, ((1.0, 0.0), (cut_hz * 0.6, 0.0), (cut_hz, 1.0), (30000.0, 1.0)))


def smooth(values: Floats, sigma: float) -> Floats:
    """Gaussian smoothing along the only axis; the ends are held."""
    if sigma <= 0:
        return values
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def reverb(samples: Floats, rng: np.random.Generator, *, length_s: float, level: float) -> Floats:
    """Stereo (n, 2) of a mono signal in a plain diffuse room."""
    num = len(samples)
    tail = int(length_s * SAMPLE_RATE_HZ)
    decay = np.exp(-6.9 * np.arange(tail) / tail)
    impulse = rng.standard_normal((2, tail)) * decay
    impulse = spectrum_filter(impulse, ((100.0, 0.0), (250.0, 1.0), (3500.0, 0.7), (9000.0, 0.1), (20000.0, 0.0)))
    impulse *= level / np.sqrt((impulse**2).sum(axis=1, keepdims=True))
    size = 1 << int(np.ceil(np.log2(num + tail)))
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)[:, :num]
    return (samples[:, None] + wet.T).astype(np.float32)


def rms(samples: Floats) -> float:
    """Root mean square; tiny instead of zero."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-16))


def write_wav(path: Path, samples: Floats, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """Write (n,) or (n, channels) in [-1, 1] as 16-bit PCM."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(data.tobytes())
    return path
