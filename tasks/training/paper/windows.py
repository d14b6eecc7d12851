"""Random windows of five frames with their sound: batches of the paper's two trainings.

Item k of step s follows from (seed, stream, s, k) alone, so a batch is the same after a restart, and the same however
many workers share it. Every item is drawn as in the reference (its data loader ignores the index it is given): a
video, a window and a *wrong* window of it, all uniformly; a draw that cannot be used is made again.

Shape suffixes: B batch, T 5 frames of a window, H and W 96 pixels, C 3 channels BGR, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.generator import MEL_STEPS
from models.sync_expert import NUM_WINDOW_FRAMES
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]

_MIN_FRAMES = 3 * NUM_WINDOW_FRAMES + 1
"""Shorter videos are drawn again, as in the reference."""


class Stream(IntEnum):
    """What batches are for; part of their seed."""

    TRAINING = 0
    EVALUATION = 1
    SHEET = 2


class Sequences(Protocol):
    """What is asked of a dataset: `tasks.training.sequences.SequenceSet` has it."""

    def __len__(self) -> int:
        """Number of sequences."""

    def num_frames(self, i: int) -> int:
        """Frames of a sequence."""

    def faces(self, i: int, frames: range) -> U8:
        """Crops (n, 96, 96, 3), BGR."""

    def mel(self, i: int) -> Floats:
        """Mel spectrogram (80, T)."""


@dataclass(frozen=True)
class ExpertBatch:
    """faces (B, T, H, W, C) uint8, whole; mels (B, M, S); in_sync (B,): 1 where the faces belong to the sound, or 0."""

    faces: U8
    mels: Floats
    in_sync: Floats


@dataclass(frozen=True)
class GeneratorBatch:
    """windows and references (B, T, H, W, C) uint8; mels (B, M, S) of the windows, frame_mels (B, T, M, S)."""

    windows: U8
    references: U8
    mels: Floats
    frame_mels: Floats


def expert_batch(sequences: Sequences, seed: int, stream: Stream, step: int, items: range) -> ExpertBatch:
    """The items (numbers within the whole batch of this step) of an expert's batch.

    The sound is always that of the right window; with probability 1/2 the faces are those of the wrong one.
    """
    faces, mels, in_sync = [], [], []
    for item in items:
        rng = _rng(seed, stream, step, item)
        video, right, wrong = _draw(sequences, rng, first_frame=0)
        truth = rng.random() < 0.5
        faces.append(_window(sequences, video, right if truth else wrong))
        mels.append(mel_chunk(sequences.mel(video), right))
        in_sync.append(float(truth))
    return ExpertBatch(np.stack(faces), np.stack(mels), np.array(in_sync, np.float32))


def generator_batch(sequences: Sequences, seed: int, stream: Stream, step: int, items: range) -> GeneratorBatch:
    """The items (numbers within the whole batch of this step) of a generator's batch.

    The reference shown to the generator is the wrong window. Frame f hears what begins with frame f - 1, as in the
    reference implementation's training (its inference gives frame f what begins with frame f: its models were made
    with this lag, and so are ours); frame 0 has no frame before it and starts no window.
    """
    windows, references, mels, frame_mels = [], [], [], []
    for item in items:
        video, right, wrong = _draw(sequences, _rng(seed, stream, step, item), first_frame=1)
        mel = sequences.mel(video)
        windows.append(_window(sequences, video, right))
        references.append(_window(sequences, video, wrong))
        mels.append(mel_chunk(mel, right))
        frame_mels.append(np.stack([mel_chunk(mel, right + t - 1) for t in range(NUM_WINDOW_FRAMES)]))
    return GeneratorBatch(np.stack(windows), np.stack(references), np.stack(mels), np.stack(frame_mels))


def mel_chunk(mel: Floats, frame: int) -> Floats:
    """The 0.2 s of sound that begin with a frame: 16 columns from trunc(80 * (frame / 25))."""
    start = frame * MEL_STEPS_PER_S // SCORE_FPS
    return np.array(mel[:, start : start + MEL_STEPS], np.float32)


def _rng(seed: int, stream: Stream, step: int, item: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, step, item])


def _draw(sequences: Sequences, rng: np.random.Generator, *, first_frame: int) -> tuple[int, int, int]:
    """A video, the first frame of a window of it, not before `first_frame`, and that of another window."""
    while True:
        video = int(rng.integers(len(sequences)))
        num_frames = sequences.num_frames(video)
        if num_frames < _MIN_FRAMES:
            continue
        right, wrong = (int(frame) for frame in rng.choice(num_frames, size=2, replace=False))
        last = num_frames - NUM_WINDOW_FRAMES
        if first_frame <= right <= last and wrong <= last:
            return video, right, wrong


def _window(sequences: Sequences, video: int, start: int) -> U8:
    return sequences.faces(video, range(start, start + NUM_WINDOW_FRAMES))
