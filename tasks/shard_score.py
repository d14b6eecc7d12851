"""SCORE a shard while it is made: lips of every output frame against the voice that drove them.

Streams: frames come one at a time, lips are embedded in batches, sound in blocks; memory does not grow with the shard.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.scorers import ReadRegion, Scorer, SlidingEmbedder
from singalong.contracts import SyncScore
from singalong.frames_table import Box, WindowRows
from singalong.scoring import (
    UNTOUCHED_EVERY,
    WINDOW_STEPS,
    distance_rows,
    frame_of_step,
    score_rows,
    sound_index,
    steps_of_frames,
    wrong_audio,
)
from tasks.sound_windows import SoundEmbeddings, SoundWindows, Voice


@dataclass(frozen=True)
class ShardScore:
    """What scoring a shard gave.

    Attributes:
        windows: distance rows for the frames table.
        voiced: bool, per frame of the shard, whether somebody sings.
        score: the shard's own score.
    """

    windows: WindowRows
    voiced: NDArray[np.bool_]
    score: SyncScore


class ShardScorer:
    """Scores the output frames [start_frame, end_frame) of a pair; see `singalong.scoring` for the formula.

    A window counts if its five frames show the face and at least half of its sound is voiced. It is compared
    with the voice around it, with wrong audio of the same song, and, every 4th, as the untouched clip shows it.
    """

    def __init__(
        self,
        scorer: Scorer,
        voice: Voice,
        *,
        song_start_s: float,
        start_frame: int,
        end_frame: int,
        fps: Fraction,
        min_windows: int,
        song: Hashable = None,
    ) -> None:
        """`song_start_s` is the song time of the pair's frame 0, not of the shard's first frame.

        `song` names the voice: what is known of its sound serves all shards of this process that name it.
        """
        self._scorer, self._fps, self._min_windows = scorer, fps, min_windows
        self._start_frame, self._end_frame = start_frame, end_frame
        self._song_start_s = song_start_s
        self._sound = SoundWindows(voice, start_s=song_start_s, feature=scorer.audio_feature)
        self._wrong = wrong_audio(self._sound.voiced_steps)
        steps = np.asarray(steps_of_frames(start_frame, end_frame, fps)[: 1 - WINDOW_STEPS], np.int64)
        scorable = np.intersect1d(steps, self._sound.voiced_steps)
        self._embeddings = SoundEmbeddings(scorer, self._sound, song=song)
        wanted = set(scorable.tolist())
        self._lips = SlidingEmbedder(scorer, wanted=wanted.__contains__)
        self._untouched = SlidingEmbedder(scorer, wanted=lambda step: step % UNTOUCHED_EVERY == 0 and step in wanted)
        self._starts: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.float32]] = []
        self._wrong_rows: list[NDArray[np.float32]] = []
        self._untouched_starts: list[NDArray[np.int64]] = []
        self._untouched_rows: list[NDArray[np.float32]] = []

    def wants(self, frame: int) -> bool:
        """Whether this frame is on the score grid; others need not be pushed."""
        return len(steps_of_frames(frame, frame + 1, self._fps)) > 0

    def push(
        self,
        frame: int,
        box: Box | None,
        read_output: ReadRegion,
        read_source: ReadRegion | None = None,
        *,
        width: int,
        height: int,
    ) -> None:
        """Take the next output frame, in order.

        Args:
            frame: counted from the pair's first frame.
            box: the face without the generator's pads; None where there is none, which ends the row of windows.
            read_output: BGR pixels of a box of the finished frame; used during this call only.
            read_source: the same of the untouched frame; None leaves the untouched baseline out.
            width: of the frame.
            height: of the frame.
        """
        steps = steps_of_frames(frame, frame + 1, self._fps)
        if not steps:
            return
        if self._push(self._lips, steps, box, read_output, width, height):
            self._take_lips()
        if read_source is not None and self._push(self._untouched, steps, box, read_source, width, height):
            self._take_untouched()

    def cut(self) -> None:
        """Say that the next frame belongs to another shot or person: no window spans the cut."""
        self._lips.cut()
        self._untouched.cut()

    def finish(self) -> ShardScore:
        """Embed what is left and score the shard."""
        self._take_lips()
        self._take_untouched()
        starts = np.concatenate(self._starts)
        rows, wrong_rows = np.concatenate(self._rows), np.concatenate(self._wrong_rows)
        untouched_rows = np.concatenate(self._untouched_rows)
        windows = WindowRows(
            start_frames=self._frames_of(starts),
            distances=rows,
            mismatched=wrong_rows,
            untouched_frames=self._frames_of(np.concatenate(self._untouched_starts)),
            untouched=untouched_rows,
        )
        score = score_rows(
            rows,
            scorer=self._scorer.name,
            min_windows=self._min_windows,
            mismatched_NO=wrong_rows,
            untouched_NO=untouched_rows,
        )
        return ShardScore(windows, self._voiced_frames(), score)

    def _push(
        self,
        embedder: SlidingEmbedder,
        steps: range,
        box: Box | None,
        read: ReadRegion,
        width: int,
        height: int,
    ) -> bool:
        crop = None if box is None else self._scorer.crop(read, box, width=width, height=height)
        ready = False
        for step in steps:
            ready |= embedder.push(step, crop)
        return ready

    def _take_lips(self) -> None:
        starts, lips = self._lips.take()
        self._starts.append(starts)
        self._rows.append(self._distances(lips, sound_index(starts)))
        wrong = sound_index(self._wrong.centres(starts), direction=self._wrong.direction)
        self._wrong_rows.append(self._distances(lips, wrong))

    def _take_untouched(self) -> None:
        starts, lips = self._untouched.take()
        self._untouched_starts.append(starts)
        self._untouched_rows.append(self._distances(lips, sound_index(starts)))

    def _distances(self, lips: NDArray[np.float32], steps: NDArray[np.int64]) -> NDArray[np.float32]:
        audio, rows = self._embeddings.gather(steps)
        return distance_rows(lips, audio, rows)

    def _frames_of(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray([frame_of_step(int(step), self._fps) for step in steps], np.int64)

    def _voiced_frames(self) -> NDArray[np.bool_]:
        """By the middle of each frame's time on screen."""
        frames = np.arange(self._start_frame, self._end_frame, dtype=np.float64)
        return self._sound.voiced_at(self._song_start_s + (frames + 0.5) / float(self._fps))
