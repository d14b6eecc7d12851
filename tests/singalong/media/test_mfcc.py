"""MFCC against python_speech_features' vectors and formulas."""

from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dct

from singalong.errors import MediaError
from singalong.media.mfcc import mfcc
from tests.sounds import chirp


def plain_mfcc(signal: np.ndarray) -> np.ndarray:
    """The defaults of python_speech_features, one frame after the other."""
    emphasised = np.append(signal[0], signal[1:] - 0.97 * signal[:-1])
    num_frames = 1 if len(signal) <= 400 else 1 + int(np.ceil((len(signal) - 400) / 160))
    padded = np.concatenate([emphasised, np.zeros(num_frames * 160 + 400)])
    edges = np.floor(513 * (700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28) / 2595) - 1)) / 16000)
    filters = np.zeros((26, 257))
    for j in range(26):
        for i in range(int(edges[j]), int(edges[j + 1])):
            filters[j, i] = (i - edges[j]) / (edges[j + 1] - edges[j])
        for i in range(int(edges[j + 1]), int(edges[j + 2])):
            filters[j, i] = (edges[j + 2] - i) / (edges[j + 2] - edges[j + 1])
    rows = []
    for n in range(num_frames):
        power = np.abs(np.fft.rfft(padded[n * 160 : n * 160 + 400], 512)) ** 2 / 512
        energy = power.sum() or np.finfo(float).eps
        bands = filters @ power
        bands[bands == 0] = np.finfo(float).eps
        row = dct(np.log(bands), type=2, norm="ortho")[:13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
        row[0] = np.log(energy)
        rows.append(row)
    return np.array(rows)


def test_mfcc_equals_the_original_programs(golden: Path) -> None:
    vectors = np.load(golden / "audio.npz")
    names = [name for name in vectors if name.startswith("mfcc_")]
    assert names
    for name in names:
        out = mfcc(vectors[name.replace("mfcc_", "sig_")], 16000)
        np.testing.assert_allclose(out, vectors[name], rtol=0, atol=1e-8)


@pytest.mark.parametrize("num_samples", [1, 399, 400, 401, 560, 561, 5000])
def test_mfcc_follows_the_formulas_at_any_length(num_samples: int) -> None:
    signal = np.round(chirp(0.4, 16000)[:num_samples].astype(np.float64) * 32768)
    out = mfcc(signal, 16000)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, plain_mfcc(signal), rtol=0, atol=1e-8)


def test_16_bit_integers_do_not_overflow() -> None:
    signal = np.where(np.arange(2000) % 100 < 50, 32767, -32768)
    np.testing.assert_array_equal(mfcc(signal.astype(np.int16), 16000), mfcc(signal.astype(np.float64), 16000))


def test_digital_silence_is_finite() -> None:
    assert np.isfinite(mfcc(np.zeros(2000, np.int16), 16000)).all()


def test_a_long_signal_is_computed_in_blocks_of_the_same_values() -> None:
    signal = np.tile(np.round(chirp(0.8, 16000) * 32768), 60)
    out = mfcc(signal, 16000)
    assert len(out) == 1 + -(-(len(signal) - 400) // 160)
    around_a_border = mfcc(signal[4089 * 160 :][: 21 * 160 + 240], 16000)
    np.testing.assert_allclose(out[4090:4110], around_a_border[1:21], atol=1e-8)


@pytest.mark.parametrize("signal", [np.zeros(0), np.zeros((2, 100)), np.array([0.0, np.nan])])
def test_what_is_no_mono_signal_is_refused(signal: np.ndarray) -> None:
    with pytest.raises(MediaError):
        mfcc(signal, 16000)
