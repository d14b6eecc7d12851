"""Mel filter banks as librosa makes them, bit for bit, without its import: that brings SciPy and Numba, one second and
70 MB in every worker, for these few lines.

The mel scale is Slaney's (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above. Formulae: librosa 0.11,
`filters.mel`, `core.mel_frequencies`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HZ_A_MEL = 200.0 / 3
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _HZ_A_MEL
_LOG_STEP = np.log(6.4) / 27.0


def mel_filters(
    *, sample_rate_hz: int, fft_size: int, num_bands: int, min_hz: float = 0.0, max_hz: float | None = None
) -> NDArray[np.float32]:
    """Triangular filters of equal area, float32 (num_bands, fft_size // 2 + 1), that turn a power or amplitude
    spectrum into mel bands from `min_hz` to `max_hz` (by default half the sample rate).
    """
    lowest, highest = _mel_of(min_hz), _mel_of(sample_rate_hz / 2 if max_hz is None else max_hz)
    corners_hz = _hz_of(np.linspace(lowest, highest, num_bands + 2))
    bins_hz = np.fft.rfftfreq(n=fft_size, d=1.0 / sample_rate_hz)
    widths_hz = np.diff(corners_hz)
    ramps = np.subtract.outer(corners_hz, bins_hz)
    filters = np.zeros((num_bands, len(bins_hz)), np.float32)
    for band in range(num_bands):
        rising, falling = -ramps[band] / widths_hz[band], ramps[band + 2] / widths_hz[band + 1]
        filters[band] = np.maximum(0, np.minimum(rising, falling))
    filters *= (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, None]
    return filters


def _mel_of(hz: float) -> float:
    return hz / _HZ_A_MEL if hz < _LOG_FROM_HZ else _LOG_FROM_MEL + float(np.log(hz / _LOG_FROM_HZ)) / _LOG_STEP


def _hz_of(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    hz = _HZ_A_MEL * mels
    is_log = mels >= _LOG_FROM_MEL
    hz[is_log] = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels[is_log] - _LOG_FROM_MEL))
    return hz
