"""Several faces of a video in one pass: what each of them shows at each step, decoded once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from singalong.contracts import ClipFacts
from singalong.frames_table import Box
from singalong.media.decode import ClipReader
from singalong.media.frames import YuvFrame
from singalong.pieces import Candidate

_CHUNK_BYTES = 32 * 1024 * 1024
"""Decoded frames held at once."""
_MAX_CHUNK_FRAMES = 16


@dataclass(frozen=True)
class FaceFrame:
    """One candidate at one step.

    Attributes:
        number: which candidate, in the order given.
        index: of the step, counted from the candidate's first.
        frame: the source frame that the step shows; neighbouring steps may show the same.
        box: where the face is in it.
    """

    number: int
    index: int
    frame: YuvFrame
    box: Box


def face_frames(candidates: Sequence[Candidate], clip: ClipFacts, reader: ClipReader) -> Iterator[FaceFrame]:
    """Every step of every candidate, each candidate's in order; frames are held for a chunk of steps only."""
    if not candidates:
        return
    size = max(1, min(_MAX_CHUNK_FRAMES, _CHUNK_BYTES // (clip.width * clip.height * 3 // 2)))
    end = max(candidate.end_step for candidate in candidates)
    for start in range(min(candidate.first_step for candidate in candidates), end, size):
        steps = range(start, min(start + size, end))
        wanted = sorted({float(pts_s) for candidate in candidates for pts_s in _times(candidate, steps)})
        frames = dict(zip(wanted, reader.read_chunk(wanted), strict=True))
        for number, candidate in enumerate(candidates):
            for step in steps:
                if candidate.first_step <= step < candidate.end_step:
                    index = step - candidate.first_step
                    x1, y1, x2, y2 = candidate.boxes[index].tolist()
                    yield FaceFrame(number, index, frames[float(candidate.pts_s[index])], (x1, y1, x2, y2))


def _times(candidate: Candidate, steps: range) -> NDArray[np.float64]:
    first = max(steps.start - candidate.first_step, 0)
    return candidate.pts_s[first : max(steps.stop - candidate.first_step, 0)]
