"""The sound of a span of a video, for scoring its faces and for the sequences cut from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import (
    CHUNK_STEPS,
    HOP_SAMPLES,
    MelStream,
    iter_mono_16k,
    level_db,
    mel_spectrogram,
    voiced_steps,
)
from singalong.media.units import MEL_STEPS_PER_S, SAMPLE_RATE_HZ, SCORE_FPS
from tasks.training.sequences import num_mel_steps_needed

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // SCORE_FPS
MARGIN_S = 2
"""Sound kept around a span: the search for the best offset reaches 0.6 s and a window 0.2 s beyond its lips."""
_CONTEXT_COLUMNS = 3
"""A column's window reaches two hops to either side, and pre-emphasis one sample further."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SpanSound:
    """Sound from `start_s` on, as `tasks.sound_windows.Voice` has it.

    Attributes:
        start_s: whole seconds of the video's time line.
        samples_16k: float32 (n,), mono at 16 kHz.
        mel: float32 (80, T).
        voiced: bool (T,), where somebody may be talking.
    """

    start_s: int
    samples_16k: Floats
    mel: Floats
    voiced: NDArray[np.bool_]

    @property
    def end_sample(self) -> int:
        """One after the last sample, on the video's time line."""
        return self.start_s * SAMPLE_RATE_HZ + len(self.samples_16k)

    def frames_with_sound(self, first_step: int, num_frames: int, *, offset_frames: int) -> tuple[int, int]:
        """Which of the frames [0, num_frames), the first at `first_step`, have all their 16 columns: half-open range.

        offset_frames: see `mel_of`.
        """
        first = max(0, self.start_s * SCORE_FPS - (first_step - offset_frames))
        start_sample = (first_step + first - offset_frames) * SAMPLES_PER_FRAME
        num_columns = 1 + (self.end_sample - start_sample) // HOP_SAMPLES if self.end_sample > start_sample else 0
        # trunc(3.2 (n - 1)) + 16 <= columns; ceil(3.2 n) > trunc(3.2 (n - 1)) + 1 leaves none out
        longest = max(0, num_columns - CHUNK_STEPS + 1) * SCORE_FPS // MEL_STEPS_PER_S + 1
        while longest > 0 and num_mel_steps_needed(longest) > num_columns:
            longest -= 1
        return first, max(first, min(num_frames, first + longest))

    def mel_of(self, first_step: int, num_frames: int, *, offset_frames: int) -> Floats:
        """Mel spectrogram (80, T) of frames that begin at a step, their sound moved so that it fits their lips.

        offset_frames: as `singalong.scoring` finds it: the sound that fits the lips of frame v is that of v - offset.
        A sound that comes 5 frames late has offset -5, so it is taken from 5 frames later. Column 0 is centred at
        the start of the first frame's sound.
        """
        num_columns = num_mel_steps_needed(num_frames)
        start = (first_step - offset_frames) * SAMPLES_PER_FRAME - self.start_s * SAMPLE_RATE_HZ
        lead = min(_CONTEXT_COLUMNS, start // HOP_SAMPLES)
        end = start + (num_columns - 1 + _CONTEXT_COLUMNS) * HOP_SAMPLES
        mel = mel_spectrogram(self.samples_16k[start - lead * HOP_SAMPLES : end], SAMPLE_RATE_HZ)
        return np.ascontiguousarray(mel[:, lead : lead + num_columns])


def read_span_sound(path: Path, start_s: float, end_s: float) -> SpanSound:
    """Decode the sound of a video's span [start_s, end_s) and two seconds around it.

    Memory grows with the span, 90 KB a second; the video is decoded from its start, because only so is the clock sure.
    Raises MediaError where there is no sound.
    """
    start = max(0, int(start_s) - MARGIN_S)
    samples = np.concatenate([np.empty(0, np.float32), *_cut(path, start, end_s + MARGIN_S)])
    stream = MelStream()
    columns = [*stream.push(samples), *stream.finish()]
    mel = np.concatenate([np.empty((80, 0), np.float32), *columns], axis=1)
    voiced = voiced_steps(level_db(mel)) if mel.shape[1] else np.zeros(0, np.bool_)
    return SpanSound(start, samples, mel, voiced)


def _cut(path: Path, start_s: int, end_s: float) -> Iterator[Floats]:
    first, end = start_s * SAMPLE_RATE_HZ, end_s * SAMPLE_RATE_HZ
    position = 0
    for block in iter_mono_16k(path):
        if position >= end:
            return
        if position + len(block) > first:
            yield block[max(0, first - position) :]
        position += len(block)
