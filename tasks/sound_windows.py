"""The sound windows a scorer compares lips with: cut from a prepared voice, embedded once, a block at a time.

Windows lie on the score grid of one pair: step v is `start_s + v / 25` seconds of the song. Steps may be
negative, as the song goes on before the span and after it, and the search for the best offset looks there.

Shape legend: N windows, M 80 mel bands or 13 MFCC coefficients, S steps of a window, D embedding size.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import CHUNK_STEPS, mel_chunks
from singalong.media.mfcc import MFCC_STEPS_PER_S, mfcc
from singalong.media.units import MEL_STEPS_PER_S, SAMPLE_RATE_HZ, SCORE_FPS

if TYPE_CHECKING:
    from models.scorers import Scorer

SAMPLES_PER_STEP = SAMPLE_RATE_HZ // SCORE_FPS
MFCC_COLUMNS = 20
"""Columns of SyncNet's sound window, 10 ms each."""
INT16_SCALE = 32768.0
"""SyncNet's MFCC were made of samples as 16-bit files hold them."""

_MFCC_HOP = SAMPLE_RATE_HZ // MFCC_STEPS_PER_S
_MFCC_FRAME = SAMPLE_RATE_HZ // 40
_MFCC_SAMPLES = (MFCC_COLUMNS - 1) * _MFCC_HOP + _MFCC_FRAME
_BLOCK = 16
"""Windows that are embedded together, whoever asks for one of them."""
_MAX_BANK_BYTES = 8 << 20
"""Ten minutes of a song by the bundled scorer, 80 s by SyncNet."""


class Voice(Protocol):
    """What is known of the sound that drives the lips; arrays may be memory maps.

    Attributes:
        mel: float32 (80, T), see `singalong.media.audio.mel_spectrogram`.
        samples_16k: float32 (n,) in [-1, 1), mono.
        voiced: bool (T,), whether somebody sings, per mel step.
    """

    @property
    def mel(self) -> NDArray[np.float32]: ...  # noqa: D102

    @property
    def samples_16k(self) -> NDArray[np.float32]: ...  # noqa: D102

    @property
    def voiced(self) -> NDArray[np.bool_]: ...  # noqa: D102


class SoundWindows:
    """The windows of one voice on one score grid.

    Attributes:
        start_sample: where step 0 lies in the voice's samples.
        first_step: first step whose window lies wholly inside the voice.
        end_step: one after the last such step.
        voiced_steps: int64, the steps of which at least half the window is voiced, ascending.
    """

    def __init__(self, voice: Voice, *, start_s: float, feature: Literal["mel", "mfcc"]) -> None:
        self._voice, self._feature, self._start_s = voice, feature, start_s
        self.start_sample = round(start_s * SAMPLE_RATE_HZ)
        num_samples, num_mel = len(voice.samples_16k), voice.mel.shape[1]
        first = -math.ceil(start_s * SCORE_FPS) - 1
        end = math.ceil((num_samples / SAMPLE_RATE_HZ - start_s) * SCORE_FPS) + 1
        steps = np.arange(first, end, dtype=np.int64)
        columns = self._mel_columns(steps)
        inside = (columns >= 0) & (columns + CHUNK_STEPS <= num_mel)
        if feature == "mfcc":
            samples = self._first_samples(steps)
            inside &= (samples >= 0) & (samples + _MFCC_SAMPLES <= num_samples)
        inside_steps = steps[inside]
        self.first_step = int(inside_steps[0]) if len(inside_steps) else 0
        self.end_step = int(inside_steps[-1]) + 1 if len(inside_steps) else 0
        counts = np.concatenate([[0], np.cumsum(voice.voiced, dtype=np.int64)])
        columns = columns[inside]
        share = (counts[columns + CHUNK_STEPS] - counts[columns]) / CHUNK_STEPS
        self.voiced_steps: NDArray[np.int64] = inside_steps[share >= 0.5]

    def cut(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Windows (N, M, S) of the scorer's feature; all steps in [first_step, end_step), ascending."""
        if self._feature == "mel":
            return mel_chunks(self._voice.mel, self._mel_columns(steps))
        runs = np.split(steps, np.flatnonzero(np.diff(steps) > MFCC_COLUMNS) + 1)
        windows = [self._mfcc_run(run) for run in runs if len(run)]
        return np.concatenate([np.empty((0, 13, MFCC_COLUMNS), np.float32), *windows])

    def voiced_at(self, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether somebody sings at these times of the song; nobody does outside it."""
        columns = np.floor(times_s * MEL_STEPS_PER_S + 1e-6).astype(np.int64)
        inside = (columns >= 0) & (columns < len(self._voice.voiced))
        voiced = np.zeros(len(columns), np.bool_)
        voiced[inside] = self._voice.voiced[columns[inside]]
        return voiced

    def _mel_columns(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """First mel column of each window: trunc(80 t) as in the paper's code, but safe against rounding."""
        exact = self._start_s * MEL_STEPS_PER_S + steps * (MEL_STEPS_PER_S / SCORE_FPS)
        columns: NDArray[np.int64] = np.floor(exact + 1e-6).astype(np.int64)
        return columns

    def _first_samples(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.start_sample + steps * SAMPLES_PER_STEP

    def _mfcc_run(self, steps: NDArray[np.int64]) -> NDArray[np.float32]:
        """Windows of steps that lie close together, from one call: overlapping windows share their columns.

        Starts one hop early where it can, as pre-emphasis looks one sample back; drops the extra column.
        """
        first_samples = self._first_samples(steps)
        first, end = int(first_samples[0]), int(first_samples[-1]) + _MFCC_SAMPLES
        lead = _MFCC_HOP if first >= _MFCC_HOP else 0
        samples = self._voice.samples_16k[first - lead : end] * INT16_SCALE
        columns = mfcc(samples, SAMPLE_RATE_HZ)[lead // _MFCC_HOP :]
        starts = (first_samples - first) // _MFCC_HOP
        windows: NDArray[np.float32] = columns[starts[:, None] + np.arange(MFCC_COLUMNS)].astype(np.float32)
        return windows.transpose(0, 2, 1)


class SoundBank:
    """Embeddings of sound that a worker's shards share: a song is sung by many clips, and each shard hears it twice.

    Always whole blocks: the last bits of an embedding depend on those it is computed with, and a shard's scores must
    not depend on what the worker did before. Holds at most `max_bytes`; what was not asked for longest goes.
    """

    def __init__(self, max_bytes: int = _MAX_BANK_BYTES) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._blocks: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()

    def block(self, key: Hashable, embed: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The block of this name, (at most 16, D), made by `embed` if it is not there."""
        known = self._blocks.pop(key, None)
        if known is None:
            known = embed()
            self._num_bytes += known.nbytes
        self._blocks[key] = known
        while self._num_bytes > self._max_bytes and len(self._blocks) > 1:
            self._num_bytes -= self._blocks.popitem(last=False)[1].nbytes
        return known


_banks: WeakKeyDictionary[Scorer, SoundBank] = WeakKeyDictionary()


class SoundEmbeddings:
    """Embeddings of a song's sound windows, made in blocks when first asked for; the latest are kept."""

    def __init__(self, scorer: Scorer, windows: SoundWindows, *, song: Hashable = None) -> None:
        """`song` names the voice for as long as this process lives: shards of one song share its embeddings."""
        self._scorer, self._windows = scorer, windows
        self._bank = SoundBank() if song is None else _banks.setdefault(scorer, SoundBank())
        self._song = song, windows.start_sample

    def gather(self, steps_NO: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embeddings (U, D) of the steps named, and the row of each (N, O); -1 where the song has no sound."""
        unique, rows = np.unique(steps_NO, return_inverse=True)
        inside = (unique >= self._windows.first_step) & (unique < self._windows.end_step)
        numbers = np.where(inside, np.cumsum(inside) - 1, -1)
        index = unique[inside] - self._windows.first_step
        embeddings = np.empty((len(index), self._scorer.embedding_size), np.float32)
        for block in np.unique(index // _BLOCK):
            chosen = index // _BLOCK == block
            embeddings[chosen] = self._block(int(block))[index[chosen] - block * _BLOCK]
        return embeddings, numbers[rows.reshape(steps_NO.shape)]

    def _block(self, block: int) -> NDArray[np.float32]:
        first = self._windows.first_step + block * _BLOCK
        steps = np.arange(first, min(first + _BLOCK, self._windows.end_step), dtype=np.int64)
        return self._bank.block((*self._song, block), lambda: self._scorer.embed_audio(self._windows.cut(steps)))
