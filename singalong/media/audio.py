"""The mel spectrogram the lip-sync networks were trained on, its chunks for frames, and voice activity.

Wav2Lip (Prajwal et al., ACM MM 2020) hears 80 mel bands, 80 times a second. The constants below are those of
its reference code (hparams.py, audio.py), and so is the reflect padding, which librosa has since dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from singalong.errors import MediaError
from singalong.media.audio_reader import iter_audio
from singalong.media.mel_filters import mel_filters
from singalong.media.units import MEL_STEPS_PER_S, SAMPLE_RATE_HZ

FFT_SIZE = 800
HOP_SAMPLES = 200
NUM_BANDS = 80
MIN_HZ, MAX_HZ = 55.0, 7600.0
PRE_EMPHASIS = 0.97
REF_LEVEL_DB = 20.0
MIN_LEVEL_DB = -100.0
MAX_ABS = 4.0
CHUNK_STEPS = 16
"""Mel steps the generator hears for one frame: 0.2 s."""

_HALF = FFT_SIZE // 2
_MAX_CHANNELS = 64
_BLOCK_COLUMNS = 512

# Voice activity. Levels are on the mel spectrogram's own scale, where white noise at -20 dBFS is -46 dB and a
# 1 kHz tone at -6 dBFS is -35 dB. Chosen on real speech and singing: speech recorded at -80 dB counts, the
# noise of a quiet room does not.
_FLOOR_DB = -82.0
_BELOW_LOUD_DB = 25.0
_VOICE_BANDS = slice(2, 62)
_HANGOVER_STEPS = 8


@cache
def mel_basis() -> NDArray[np.float32]:
    """The mel filter bank (80, 401): Slaney's scale and area norm, 55 to 7600 Hz."""
    return mel_filters(
        sample_rate_hz=SAMPLE_RATE_HZ, fft_size=FFT_SIZE, num_bands=NUM_BANDS, min_hz=MIN_HZ, max_hz=MAX_HZ
    )


def mel_spectrogram(samples: ArrayLike, sample_rate_hz: int) -> NDArray[np.float32]:
    """Mel spectrogram of a waveform, as the reference code of Wav2Lip computes it.

    Args:
        samples: floats in [-1, 1), never rescaled; (n,), or (num_channels, n), which is averaged to mono.
        sample_rate_hz: any rate; other than 16000 is resampled with soxr HQ, as librosa's loader does.

    Returns:
        float32 (80, T) in [-4, 4], T = 1 + floor(n16k / 200), column t centred at t / 80 s. Digital silence
        is exactly -4.

    Raises MediaError for an empty signal, integers, or samples that are not finite.
    """
    mono = _checked_mono(samples)
    if sample_rate_hz != SAMPLE_RATE_HZ:
        mono = _resample(mono, sample_rate_hz)
    stream = MelStream()
    return np.concatenate([*stream.push(mono), *stream.finish()], axis=1)


def iter_mono_16k(path: Path, channel: int | None = None) -> Iterator[NDArray[np.float32]]:
    """A file's audio, mono at 16 kHz, in float32 blocks (n,) from time 0 of the container.

    `channel`: the only one to hear, from 0; None: the mean of all. Streams: memory does not grow with the song. Raises
    MediaError (see `iter_audio`).
    """
    for block in iter_audio(path, sample_rate_hz=SAMPLE_RATE_HZ, num_channels=1, channel=channel):
        yield block[:, 0]


class MelStream:
    """The same spectrogram from blocks of any size, in memory that does not grow.

    `push` takes 16 kHz mono samples (n,) and yields the columns (80, k) that are complete, `finish` the rest.
    """

    def __init__(self) -> None:
        self._last_sample = 0.0  # for the pre-emphasis across blocks; nothing precedes the first sample
        self._tail = np.zeros(0)  # emphasised samples not all of whose columns are made
        self._started = False

    def push(self, samples: NDArray[np.floating]) -> Iterator[NDArray[np.float32]]:
        """Columns (80, k) completed by these samples."""
        if len(samples) == 0:
            return
        _check_finite(samples)
        emphasised = pre_emphasis(samples, self._last_sample)
        self._last_sample = float(samples[-1])
        self._tail = np.concatenate([self._tail, emphasised])
        if not self._started and len(self._tail) > _HALF:  # enough to mirror
            self._tail = np.concatenate([self._tail[_HALF:0:-1], self._tail])
            self._started = True
        if self._started:
            yield from self._columns()

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """The remaining columns (80, k); the stream is then at its end."""
        if self._started:
            self._tail = np.concatenate([self._tail, self._tail[-2 : -_HALF - 2 : -1]])
        elif len(self._tail):  # shorter than the padding: mirrored as often as needed
            self._tail = np.pad(self._tail, _HALF, mode="reflect")
        yield from self._columns()

    def _columns(self) -> Iterator[NDArray[np.float32]]:
        while len(self._tail) >= FFT_SIZE:
            num_columns = min(_BLOCK_COLUMNS, 1 + (len(self._tail) - FFT_SIZE) // HOP_SAMPLES)
            yield _mel_of(self._tail[: FFT_SIZE + HOP_SAMPLES * (num_columns - 1)])
            self._tail = self._tail[HOP_SAMPLES * num_columns :]


def pre_emphasis(samples: NDArray[np.floating], last_sample: float = 0.0) -> NDArray[np.float64]:
    """x[t] - 0.97 x[t-1] in float64, `last_sample` standing before the first."""
    x = samples.astype(np.float64)
    return x - PRE_EMPHASIS * np.concatenate([[last_sample], x[:-1]])


def linear_spectrogram(padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitudes (401, T) of the frames of 800 samples that start every 200."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::HOP_SAMPLES]
    magnitudes: NDArray[np.float64] = np.abs(np.fft.rfft(frames * window, axis=1)).T
    return magnitudes


def normalise_db(db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decibels -100...0 to -4...4, clipped."""
    scaled = 2 * MAX_ABS * (db - MIN_LEVEL_DB) / -MIN_LEVEL_DB - MAX_ABS
    return np.clip(scaled, -MAX_ABS, MAX_ABS)


def _mel_of(padded: NDArray[np.float64]) -> NDArray[np.float32]:
    amplitude = mel_basis() @ linear_spectrogram(padded)
    floor = 10.0 ** (MIN_LEVEL_DB / 20.0)
    return normalise_db(20 * np.log10(np.maximum(floor, amplitude)) - REF_LEVEL_DB).astype(np.float32)


def mel_steps_of(fps: Fraction | float, num_frames: int, start_s: float = 0.0) -> NDArray[np.int64]:
    """Mel column at which each of `num_frames` video frames begins, int64 (num_frames,); `start_s`: of frame 0.

    The rule of the reference inference code: trunc(i * (80 / fps)), the step in double precision first.
    """
    start_steps = round(start_s * MEL_STEPS_PER_S, 6)  # 6 digits: 1.1 s is step 88, not 87.99999999999999
    whole_steps = int(start_steps)
    steps = start_steps - whole_steps + np.arange(num_frames) * (MEL_STEPS_PER_S / float(fps))
    return steps.astype(np.int64) + whole_steps


def mel_chunk_starts(num_mel: int, fps: Fraction | float, num_frames: int, start_s: float = 0.0) -> NDArray[np.int64]:
    """First mel column of the paper's chunk for each of `num_frames` video frames, int64 (num_frames,).

    `mel_steps_of`, but the reference code stops at the first chunk that would run over the end, takes the last 16
    columns for that one, and makes no more frames: its film ends about 0.13 s before the song. Here the film has as
    many frames as it should, and those after that one go on in step, into the silence that follows the song.
    """
    starts = mel_steps_of(fps, num_frames, start_s)
    over = np.flatnonzero(starts > num_mel - CHUNK_STEPS)
    if len(over) and num_mel >= CHUNK_STEPS:
        starts[over[0]] = num_mel - CHUNK_STEPS
    return starts


def mel_chunks(
    mel: NDArray[np.float32], starts: NDArray[np.int64], num_steps: int = CHUNK_STEPS
) -> NDArray[np.float32]:
    """Chunks (n, 80, num_steps) of a mel spectrogram (80, T), beginning at the given columns.

    What lies before the song and after it is silence (-4).
    """
    columns = starts[:, None] + np.arange(num_steps)
    chunks = mel[:, np.clip(columns, 0, mel.shape[1] - 1)].transpose(1, 0, 2)
    outside = (columns < 0) | (columns >= mel.shape[1])
    return np.ascontiguousarray(np.where(outside[:, None], np.float32(-MAX_ABS), chunks))


def voice_activity(mel: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where somebody may be singing, by energy alone: bool (T,) for a mel spectrogram (80, T).

    This knows no voices: instruments count, too, so give it a vocal stem where that matters. Digital silence is
    unvoiced. See `voiced_steps`.
    """
    return voiced_steps(level_db(mel))


def level_db(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of each mel step, float64 (T,): mean power of the bands of 0.15 to 4 kHz of (80, T), in dB."""
    db = (mel[_VOICE_BANDS].astype(np.float64) + MAX_ABS) * -MIN_LEVEL_DB / (2 * MAX_ABS) + MIN_LEVEL_DB
    levels: NDArray[np.float64] = 10 * np.log10(np.mean(10.0 ** (db / 10), axis=0))
    return levels


def voiced_steps(levels_db: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which steps of a whole song are voiced, by their levels (T,): bool (T,).

    A step counts when its level is within 25 dB of the loud parts (the 95th percentile of what is above the
    floor) and above an absolute floor. Each voiced step holds for 0.1 s more, which bridges short holes.
    """
    above_floor = levels_db[levels_db > _FLOOR_DB]
    if len(above_floor) == 0:
        return np.zeros(len(levels_db), np.bool_)
    threshold_db = max(_FLOOR_DB, float(np.percentile(above_floor, 95)) - _BELOW_LOUD_DB)
    steps = np.arange(len(levels_db))
    last_active = np.maximum.accumulate(np.where(levels_db > threshold_db, steps, -_HANGOVER_STEPS - 1))
    voiced: NDArray[np.bool_] = steps - last_active <= _HANGOVER_STEPS
    return voiced


def _checked_mono(samples: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(samples)
    if not np.issubdtype(array.dtype, np.floating):
        raise MediaError("audio samples must be floats", value=str(array.dtype), expected="floats in [-1, 1)")
    if array.ndim == 2 and array.shape[0] <= _MAX_CHANNELS:
        array = array.mean(axis=0)
    if array.ndim != 1:
        raise MediaError("audio of an unknown shape", value=array.shape, expected="(n,) or (num_channels, n)")
    if len(array) == 0:
        raise MediaError("audio without a single sample", expected="at least one sample")
    _check_finite(array)
    return array


def _check_finite(samples: NDArray[np.floating]) -> None:
    if not np.isfinite(samples).all():
        raise MediaError("audio holds samples that are not numbers (NaN or infinite)", expected="floats in [-1, 1)")


def _resample(mono: NDArray[np.floating], sample_rate_hz: int) -> NDArray[np.float32]:
    wanted = -(-len(mono) * SAMPLE_RATE_HZ // sample_rate_hz)  # ceil, as librosa's loader
    out = soxr.resample(np.ascontiguousarray(mono, np.float32), sample_rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    padded: NDArray[np.float32] = np.pad(out[:wanted], (0, max(0, wanted - len(out))))
    return padded
