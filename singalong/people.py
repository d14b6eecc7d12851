"""The people of each shot: tracks that follow each other at about the same place, or look alike, are one person.

Pure functions on the tables of `singalong.track_table`. In one shot a person may be several tracks, e.g. before and
after a hand hid the face.

Shape legend: R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from singalong.linking import MAX_SIZE_LOG_RATIO, box_distance
from singalong.looks import likeness
from singalong.track_table import Bools, Floats, Ints, TrackTable

SAME_PERSON_DISTANCE = 1.5
"""A track may go on another one of its shot when it starts at most this many box sides from its end."""

SURELY_ALIKE = 0.8
"""... or wherever it starts, when it looks this much like it. On real clips the parts of a track are 0.77 to 0.98
alike, other people at most 0.65."""

SURELY_OTHERS = 0.2
"""A track that looks less like another than this does not go on it, wherever it starts: real people, turned away and
back, are 0.55 and more like themselves."""

MAIN_SHARE = 0.5
"""`index:N` counts people seen at least this share of the time of the one seen longest in the shot."""


@dataclass(frozen=True)
class Person:
    """One person in one shot.

    Attributes:
        rows: all rows of the person in the table, in frame order, those outside the span too.
        tracks: numbers of the person's tracks, in order of appearance.
        num_frames: rows in the span.
        median_box: (4,) median of the boxes in the span.
        area: sum of box areas in the span; faces that cannot sing count next to nothing.
    """

    rows: Ints
    tracks: tuple[int, ...]
    num_frames: int
    median_box: Floats
    area: float

    @property
    def centre_x(self) -> float:
        """Median centre, pixels from the left."""
        return float(self.median_box[0] + self.median_box[2]) / 2


def people_of(tracks: TrackTable, start_s: float, end_s: float) -> dict[int, list[Person]]:
    """The people seen in a span [start_s, end_s) of a clip, by shot, in order of appearance.

    The frame on screen as the span starts, which may be older, counts.
    """
    in_span = (tracks.pts_s >= start_s - tracks.frame_s) & (tracks.pts_s < end_s)
    return {int(shot): _people_of_shot(tracks, in_span, int(shot)) for shot in np.unique(tracks.shot[in_span])}


def numbered(group: Sequence[Person]) -> list[Person]:
    """The people of a shot whom `index:N` counts, from left to right: passers-by are left out."""
    longest = max((person.num_frames for person in group), default=0)
    main = (person for person in group if person.num_frames >= MAIN_SHARE * longest)
    return sorted(main, key=lambda person: person.centre_x)


def _people_of_shot(tracks: TrackTable, in_span: Bools, shot: int) -> list[Person]:
    of_shot = np.flatnonzero(tracks.shot == shot)
    by_track = [of_shot[tracks.track[of_shot] == track] for track in np.unique(tracks.track[of_shot])]
    in_order = (rows[np.argsort(tracks.frame[rows])] for rows in by_track)
    runs = sorted(in_order, key=lambda rows: int(tracks.frame[rows[0]]))
    joined = _join_runs(tracks, runs)
    return [_person(tracks, rows, in_span) for rows in joined if in_span[rows].any()]


def _join_runs(tracks: TrackTable, runs: list[Ints]) -> list[Ints]:
    """Join tracks of a shot (rows in frame order, by first frame) that follow one another and are of one person."""
    joined: list[Ints] = []
    for run in runs:
        open_ends = [i for i, rows in enumerate(joined) if tracks.frame[rows[-1]] < tracks.frame[run[0]]]
        ends = tracks.boxes[[joined[i][-1] for i in open_ends]].astype(np.float64)
        start = tracks.boxes[run[:1]].astype(np.float64)
        distance, ratio = (values[:, 0] for values in box_distance(ends, start))
        near = (distance <= SAME_PERSON_DISTANCE) & (ratio <= MAX_SIZE_LOG_RATIO)
        alike = np.array([_likeness(tracks, joined[i], run) for i in open_ends])
        same = (near & ~(alike < SURELY_OTHERS)) | (alike >= SURELY_ALIKE)  # likeness is NaN where not known
        cost = np.where(same, distance + ratio - np.nan_to_num(alike), np.inf)
        if len(cost) and np.isfinite(cost.min()):
            best = open_ends[int(np.argmin(cost))]
            joined[best] = np.concatenate([joined[best], run])
        else:
            joined.append(run)
    return joined


def _likeness(tracks: TrackTable, rows: Ints, others: Ints) -> float:
    """How alike the most alike tracks of two sets of rows are; NaN where that is not known."""
    left, right = (
        [tracks.looks[n] for n in np.unique(tracks.track[part]) if n in tracks.looks] for part in (rows, others)
    )
    return max((likeness(a, b) for a in left for b in right), default=np.nan)


def _person(tracks: TrackTable, rows: Ints, in_span: Bools) -> Person:
    seen = rows[in_span[rows]]
    boxes = tracks.boxes[seen]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    # A usable face, however short its stay, goes before one that cannot sing.
    weights = np.where(tracks.usable[seen], 1.0, 1e-9)
    return Person(
        rows=rows,
        tracks=tuple(dict.fromkeys(tracks.track[rows].tolist())),
        num_frames=len(seen),
        median_box=np.median(boxes, axis=0),
        area=float((areas * weights).sum()),
    )
