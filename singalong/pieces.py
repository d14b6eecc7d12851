"""Stretches of a video in which a face can be followed: pure functions on the tables of an analysis.

Time is cut at 25 steps a second from the video's start: step k is k / 25 s and shows the nearest source frame. A
candidate is one track within one piece of one shot; pieces cut long shots into equal parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from singalong.media.units import SCORE_FPS
from singalong.track_table import Floats, Ints, ShotTable, TrackTable

MAX_HOLD_S = 0.1
"""A step further than this from any frame shows an old picture: a hole in the video ends a sequence."""
MIN_SIDE_PX = 2


@dataclass(frozen=True)
class Candidate:
    """A face in consecutive steps.

    Attributes:
        shot, track: numbers in the analysis.
        first_step: step of its first frame.
        pts_s: (n,) presentation time of the source frame each step shows.
        boxes: (n,4) where the face is in it, pixels.
    """

    shot: int
    track: int
    first_step: int
    pts_s: Floats
    boxes: Ints

    @property
    def num_steps(self) -> int:
        """Its length at 25 frames a second."""
        return len(self.pts_s)

    @property
    def end_step(self) -> int:
        """One after its last step."""
        return self.first_step + self.num_steps

    @property
    def box_size(self) -> tuple[int, int]:
        """Median width and height, pixels."""
        width, height = np.median(self.boxes[:, 2:] - self.boxes[:, :2], axis=0)
        return int(width), int(height)

    @property
    def fps(self) -> float:
        """New source frames a second."""
        return len(np.unique(self.pts_s)) * SCORE_FPS / self.num_steps


@dataclass(frozen=True)
class Piece:
    """A part of a shot, steps [first_step, end_step), and the faces in it, by track."""

    shot: int
    first_step: int
    end_step: int
    candidates: tuple[Candidate, ...]


def pieces_of(tracks: TrackTable, shots: ShotTable, *, start_s: float, end_s: float, max_s: float) -> Iterator[Piece]:
    """The pieces that begin in [start_s, end_s), in time order.

    Args:
        tracks: all rows up to `max_s` after `end_s` at least.
        shots: all shots of the video.
        start_s: start of the span; spans that follow each other share out all pieces.
        end_s: its end, exclusive; may be infinite.
        max_s: longest piece, seconds.
    """
    for index in range(len(shots)):
        for first, end in _bounds(float(shots.start_s[index]), float(shots.end_s[index]), max_s):
            if start_s <= first / SCORE_FPS < end_s:
                shot = int(shots.shot[index])
                yield Piece(shot, first, end, tuple(_candidates(tracks, shot, first, end)))


def _bounds(start_s: float, end_s: float, max_s: float) -> Iterator[tuple[int, int]]:
    first, end = _ceil(start_s * SCORE_FPS), _ceil(end_s * SCORE_FPS)
    num_parts = max(1, math.ceil((end - first) / (max_s * SCORE_FPS)))
    for part in range(num_parts):
        yield first + part * (end - first) // num_parts, first + (part + 1) * (end - first) // num_parts


def _candidates(tracks: TrackTable, shot: int, first: int, end: int) -> Iterator[Candidate]:
    near = (tracks.pts_s >= first / SCORE_FPS - MAX_HOLD_S) & (tracks.pts_s <= end / SCORE_FPS + MAX_HOLD_S)
    sides = tracks.boxes[:, 2:] - tracks.boxes[:, :2]
    inside = (sides >= MIN_SIDE_PX).all(axis=1)  # a face that left the picture has a box on its edge
    of_shot = np.flatnonzero((tracks.shot == shot) & near & inside)
    for track in np.unique(tracks.track[of_shot]):
        rows = of_shot[tracks.track[of_shot] == track]
        rows = rows[np.argsort(tracks.pts_s[rows])]
        for start, nearest in _runs(tracks.pts_s[rows], first, end):
            chosen = rows[nearest]
            yield Candidate(shot, int(track), start, tracks.pts_s[chosen], tracks.boxes[chosen])


def _runs(pts_s: Floats, first: int, end: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Runs of consecutive steps that show the face: first step, and the index of the frame each shows."""
    half = 0.5 / SCORE_FPS
    first = max(first, _ceil((pts_s[0] - half) * SCORE_FPS))
    end = min(end, math.floor((pts_s[-1] + half) * SCORE_FPS + 1e-6) + 1)
    if first >= end:
        return
    times_s = np.arange(first, end) / SCORE_FPS
    after = np.searchsorted(pts_s, times_s).clip(0, len(pts_s) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(times_s - pts_s[before] <= pts_s[after] - times_s, before, after)
    there = np.abs(pts_s[nearest] - times_s) <= MAX_HOLD_S
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(np.int8), [0]])))
    for start, stop in edges.reshape(-1, 2):
        yield first + int(start), nearest[start:stop].astype(np.int64)


def _ceil(steps: float) -> int:
    """Rounded up, but not for a rounding error."""
    return math.ceil(steps - 1e-6)
