"""MFCC as python_speech_features 0.6 computes them by default: what SyncNet hears (Chung & Zisserman, 2016).

Unusual, and kept because the published weights were trained so: a rectangular window, an FFT longer than the
frame, a last frame padded with zeros, and the log energy in place of coefficient 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from singalong.errors import MediaError

NUM_COEFFICIENTS = 13
MFCC_STEPS_PER_S = 100

_FRAME_S, _STEP_S = 0.025, 0.01
_FFT_SIZE = 512
_NUM_FILTERS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_BLOCK_FRAMES = 4096


def mfcc(samples: ArrayLike, sample_rate_hz: int) -> NDArray[np.float64]:
    """MFCC of a mono signal at integer scale.

    Args:
        samples: (n,), values as in a 16-bit file (-32768 to 32767), of any numeric type.
        sample_rate_hz: 16000 for SyncNet.

    Returns:
        float64 (num_frames, 13), a row every 10 ms; at 16 kHz 1 + ceil((n - 400) / 160) rows, at least 1.

    Raises MediaError for a signal that is empty, not one-dimensional or not finite.
    """
    signal = _checked(samples)
    frame_length, step = round(_FRAME_S * sample_rate_hz), round(_STEP_S * sample_rate_hz)
    num_frames = 1 + max(0, -(-(len(signal) - frame_length) // step))
    emphasised = np.zeros(step * (num_frames - 1) + frame_length)
    kept = min(len(signal), len(emphasised))
    emphasised[0] = signal[0]
    emphasised[1:kept] = signal[1:kept] - _PRE_EMPHASIS * signal[: kept - 1]
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, frame_length)[::step]
    blocks = [
        _coefficients(frames[first : first + _BLOCK_FRAMES], sample_rate_hz)
        for first in range(0, num_frames, _BLOCK_FRAMES)
    ]
    return np.concatenate(blocks)


def _coefficients(frames: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    power = np.abs(np.fft.rfft(frames, _FFT_SIZE, axis=1)) ** 2 / _FFT_SIZE
    energy = _without_zeros(power.sum(axis=1))
    filtered = _without_zeros(power @ _mel_filters(sample_rate_hz).T)
    features: NDArray[np.float64] = np.log(filtered) @ _liftered_dct().T
    features[:, 0] = np.log(energy)
    return features


@cache
def _mel_filters(sample_rate_hz: int) -> NDArray[np.float64]:
    """26 triangles (26, 257) with edges equally spaced on the HTK mel scale, from 0 Hz to half the rate."""
    top_mel = 2595 * np.log10(1 + sample_rate_hz / 2 / 700.0)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, _NUM_FILTERS + 2) / 2595.0) - 1)
    edges = np.floor((_FFT_SIZE + 1) * edges_hz / sample_rate_hz)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(_FFT_SIZE // 2 + 1)
    # at low rates neighbouring edges may fall on one bin; the triangle then has no such side
    rising = np.where((bins >= low) & (bins < centre), (bins - low) / np.maximum(centre - low, 1), 0.0)
    falling = np.where((bins >= centre) & (bins < high), (high - bins) / np.maximum(high - centre, 1), 0.0)
    return rising + falling


@cache
def _liftered_dct() -> NDArray[np.float64]:
    """Orthonormal DCT-II with the cepstral lifter 1 + 11 sin(pi n / 22) applied, (13, 26)."""
    n = np.arange(NUM_COEFFICIENTS)[:, None]
    dct = np.cos(np.pi * n * (2 * np.arange(_NUM_FILTERS) + 1) / (2 * _NUM_FILTERS)) * np.sqrt(2 / _NUM_FILTERS)
    dct[0] /= np.sqrt(2)
    liftered: NDArray[np.float64] = dct * (1 + _LIFTER / 2 * np.sin(np.pi * n / _LIFTER))
    return liftered


def _without_zeros(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values == 0, np.finfo(np.float64).eps, values)


def _checked(samples: ArrayLike) -> NDArray[np.float64]:
    signal = np.asarray(samples, dtype=np.float64)
    if signal.ndim != 1 or len(signal) == 0:
        raise MediaError("audio of an unknown shape", value=signal.shape, expected="(n,) with at least one sample")
    if not np.isfinite(signal).all():
        raise MediaError("audio holds samples that are not numbers (NaN or infinite)", expected="finite samples")
    return signal
