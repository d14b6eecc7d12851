"""Mel filter banks: librosa's, to the bit, without librosa."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from librosa.filters import mel

from singalong.media.audio import mel_basis
from singalong.media.mel_filters import mel_filters


@pytest.mark.parametrize(
    ("rate_hz", "fft_size", "num_bands", "min_hz", "max_hz"),
    [(16000, 800, 80, 55.0, 7600.0), (22050, 1024, 40, 0.0, None), (16000, 512, 26, 0.0, 8000.0)],
)
def test_filters_are_librosas_to_the_bit(rate_hz, fft_size, num_bands, min_hz, max_hz):
    ours = mel_filters(sample_rate_hz=rate_hz, fft_size=fft_size, num_bands=num_bands, min_hz=min_hz, max_hz=max_hz)
    theirs = mel(sr=rate_hz, n_fft=fft_size, n_mels=num_bands, fmin=min_hz, fmax=max_hz)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_spectrograms_need_no_librosa_scipy_or_numba():
    code = (
        "import sys, numpy\n"
        "from singalong.media.audio import mel_spectrogram\n"
        "mel_spectrogram(numpy.zeros(16000, numpy.float32), 16000)\n"
        "print([name for name in ('librosa', 'scipy', 'numba') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_the_papers_basis_is_made_once():
    assert mel_basis() is mel_basis()
