"""Where the beats of a song fall, for cuts that fall on them.

Onset strength is gathered while the song is decoded, one number each 12 ms; librosa then finds tempo and beats in it
(Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 36(1), 2007), piece by piece, so that
memory grows with the song by 345 bytes a second and no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from singalong.media.audio_reader import iter_audio
from singalong.media.mel_filters import mel_filters

F32 = NDArray[np.float32]

RATE_HZ = 22050
HOP = 256
FRAMES_PER_S = RATE_HZ / HOP

# 46 ms: with librosa's own 93 ms the beats come 10 to 15 ms early, because a window sees a drum before its middle does.
_WINDOW = 1024
_NUM_BANDS = 64
_FLOOR = 1e-4
"""Mel power below which there is silence: 80 dB under a full-scale tone, as librosa's `top_db`, but without having to
know the loudest moment first."""
_MIN_STRENGTH, _MIN_SALIENCE = 0.1, 1.6
"""Below these there are no beats: onset strength on average (music has 0.5 and more; a tone has almost none), and at
the beats relative to that (steady noise gets 1.2, the least steady music 2.7)."""
_MIN_LENGTH_S = 1.5
_TEMPO_WINDOW_S, _TEMPO_STEP_S = 8.0, 0.5
_PIECE_S = 300.0
_MARGIN_S = 8.0
"""What a piece sees of its neighbours, so that its first and last beats are as good as the others."""


def find_beats(path: Path, channel: int | None = None) -> NDArray[np.float64]:
    """Times of the beats of a song, seconds from the start of its container, rising; empty where there are none.

    `channel`: the only one to hear, from 0; None: the mean of all.

    Right to about 15 ms in music with a steady beat; music without one may get evenly spaced times of little meaning.
    Raises MediaError where the file has no audio that can be read.
    """
    blocks = (block[:, 0] for block in iter_audio(path, sample_rate_hz=RATE_HZ, num_channels=1, channel=channel))
    return beats_in(onset_strength(blocks))


def onset_strength(blocks: Iterable[F32]) -> F32:
    """How much louder the bands of a sound get, dB on average, (n,), frame i at i * HOP / RATE_HZ seconds.

    `blocks`: the sound, mono at RATE_HZ, in pieces (k,) of any size; the answer does not depend on where they end.
    """
    rises = [np.zeros(0, np.float32)]
    before = np.full((_NUM_BANDS, 1), _to_db(np.zeros(1)))  # nothing precedes the first sample
    for power in _band_powers(blocks):
        level = np.concatenate([before, _to_db(power)], axis=1)
        rises.append(np.maximum(np.diff(level, axis=1), 0).mean(axis=0).astype(np.float32))
        before = level[:, -1:]
    return np.concatenate(rises)


def beats_in(strength: F32) -> NDArray[np.float64]:
    """Times of the beats in an onset strength (n,), seconds, rising."""
    num_pieces = max(1, round(len(strength) / (_PIECE_S * FRAMES_PER_S)))
    edges = [round(len(strength) * piece / num_pieces) for piece in range(num_pieces + 1)]
    margin = round(_MARGIN_S * FRAMES_PER_S)
    beats: list[float] = []
    for first, last in itertools.pairwise(edges):
        start = max(0, first - margin)
        with _alone():
            frames, period_s = _track(strength[start : last + margin])
        own = (frames + start)[(frames + start >= first) & (frames + start < last)] / FRAMES_PER_S
        # two pieces may disagree where they meet: half a beat is no beat
        beats += [float(time_s) for time_s in own if not beats or time_s - beats[-1] > 0.5 * period_s]
    return np.array(beats)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process of this user at a time: librosa is compiled into a cache on the disk when it is first used, and
    of two processes that fill it at once one may crash.
    """
    lock = Path(tempfile.gettempdir()) / f"singalong-beats-{os.getuid()}.lock"
    fd = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _track(strength: F32) -> tuple[NDArray[np.int64], float]:
    """Frames of the beats and the time from one to the next, seconds."""
    from librosa.beat import beat_track  # here, because librosa takes seconds to import

    if len(strength) < _MIN_LENGTH_S * FRAMES_PER_S or strength.mean() < _MIN_STRENGTH:
        return np.zeros(0, np.int64), 0.0
    bpm = _tempo_bpm(strength)
    # not trimmed: a soft first or last beat is a place for a cut as good as any
    _, frames = beat_track(onset_envelope=strength, sr=RATE_HZ, hop_length=HOP, bpm=bpm, trim=False)
    if strength[frames].mean() < _MIN_SALIENCE * strength.mean():
        return np.zeros(0, np.int64), 0.0
    return np.asarray(frames, np.int64), 60.0 / bpm


def _tempo_bpm(strength: F32) -> float:
    """Tempo from local autocorrelations as librosa estimates it, but from two a second and not from all."""
    from librosa import autocorrelate
    from librosa.feature import tempo
    from librosa.util import normalize

    length = round(_TEMPO_WINDOW_S * FRAMES_PER_S)
    padded = np.pad(strength, length // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, length)[:: round(_TEMPO_STEP_S * FRAMES_PER_S)]
    tempogram = normalize(autocorrelate(windows * np.hanning(length), axis=1), axis=1)
    return float(tempo(tg=tempogram.T, sr=RATE_HZ, hop_length=HOP)[0])


def _band_powers(blocks: Iterable[F32]) -> Iterator[NDArray[np.float64]]:
    """Power in mel bands (bands, k) of windows centred on each hop."""
    held = np.zeros(_WINDOW // 2, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        if len(held) >= _WINDOW:
            power, held = _powers(held)
            yield power
    held = np.concatenate([held, np.zeros(_WINDOW // 2, np.float32)])
    if len(held) >= _WINDOW:
        yield _powers(held)[0]


def _powers(samples: F32) -> tuple[NDArray[np.float64], F32]:
    """Powers of all whole windows, and the samples that later ones need."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW + 1)[:-1].astype(np.float32), axis=1)) ** 2
    return (spectrum @ _mel_basis().T).T, samples[HOP * len(windows) :]


@cache
def _mel_basis() -> NDArray[np.float64]:
    return np.asarray(mel_filters(sample_rate_hz=RATE_HZ, fft_size=_WINDOW, num_bands=_NUM_BANDS), np.float64)


def _to_db(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power, _FLOOR))
