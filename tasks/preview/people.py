"""Who is where in a span of a clip, as `face` counts and chooses: the facts of a contact sheet. Pure.

Shape legend: R rows of the analysis's tracks, P people, F source frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from singalong.errors import SingalongError
from singalong.frames_table import Outcome
from singalong.looks import Look, likeness
from singalong.media.time_strip import Mark
from singalong.people import SURELY_ALIKE, Person, numbered, people_of
from singalong.track_table import Bools, Floats, Ints, TrackTable
from singalong.tracks import FLAW_WORDS, choose_face
from singalong.usable import FLAWS
from tasks.analyse import Analysis

MAX_FRAMES_OF_SHOT = 3
"""Pictures of one shot; people who never meet need more than one."""
MAX_PASSERS_BY = 6
"""People of a shot who are shown although `index` does not count them."""
_COUNTED, _PASSING = 10.0, 1.0
"""What it is worth to see a person in a picture."""


@dataclass(frozen=True)
class Wish:
    """Pairs that ask for the same face of the same span, and what they get.

    Attributes:
        face: as the manifest says it.
        pairs: their ids.
        tracks: numbers of the tracks that sing.
        problem: why there is none.
    """

    face: str
    pairs: tuple[str, ...]
    tracks: frozenset[int] = frozenset()
    problem: str | None = None


@dataclass(frozen=True)
class Seen:
    """A person of a shot, in the span.

    Attributes:
        index: the N of `index:N`; None for passers-by, whom it does not count.
        rows: rows of the tracks in the span, in frame order.
        usable: (R,) whether the face can sing there.
        size_px: median width and height of the face.
        seen_share: share of the shot's time in the span in which the face is there.
        usable_share: and can sing.
        why_not: why it cannot sing where it cannot; empty if it always can.
        sings: ids of the pairs in which this face sings.
    """

    index: int | None
    rows: Ints
    usable: Bools
    size_px: tuple[int, int]
    seen_share: float
    usable_share: float
    why_not: str
    sings: tuple[str, ...]
    tracks: tuple[int, ...]

    @property
    def mark(self) -> Mark:
        """What the face is on the whole."""
        if not self.usable.any():
            return Mark.UNUSABLE
        return Mark.SINGS if self.sings else Mark.USABLE

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        return "not counted" if self.index is None else f"index:{self.index}"


@dataclass(frozen=True)
class ShotView:
    """A shot, as far as it lies in the span: seconds of the clip, and its people, the counted ones first."""

    shot: int
    start_s: float
    end_s: float
    people: tuple[Seen, ...]


@dataclass(frozen=True)
class SpanView:
    """A span of a clip: its shots in order, and what pairs want of it."""

    start_s: float
    end_s: float
    analysis: Analysis
    shots: tuple[ShotView, ...]
    wishes: tuple[Wish, ...]


def look_at_span(analysis: Analysis, start_s: float, end_s: float, wishes: Sequence[Wish]) -> SpanView:
    """All shots of a span [start_s, end_s) with their people."""
    groups = people_of(analysis.tracks, start_s, end_s)
    table, views = analysis.shots, []
    for row in range(len(table)):
        first_s, last_s = max(float(table.start_s[row]), start_s), min(float(table.end_s[row]), end_s)
        shot = int(table.shot[row])
        if first_s < last_s or shot in groups:
            whole_s = float(table.end_s[row] - table.start_s[row])
            share = min(1.0, max(last_s - first_s, 0.0) / whole_s) if whole_s > 0 else 1.0
            num_frames = max(1.0, share * float(table.end_frame[row] - table.start_frame[row]))
            people = _people(analysis, groups.get(shot, []), (start_s, end_s), num_frames, wishes)
            views.append(ShotView(shot, first_s, max(first_s, last_s), tuple(people)))
    return SpanView(start_s, end_s, analysis, tuple(views), tuple(wishes))


def _people(
    analysis: Analysis, group: list[Person], span: tuple[float, float], num_frames: float, wishes: Sequence[Wish]
) -> Iterator[Seen]:
    counted = numbered(group)
    passing = [person for person in group if not any(person is other for other in counted)]
    passing = sorted(passing, key=lambda person: -person.num_frames)[:MAX_PASSERS_BY]
    tracks = analysis.tracks
    for index, person in [*enumerate(counted), *((None, person) for person in passing)]:
        pts_s = tracks.pts_s[person.rows]
        rows = person.rows[(pts_s >= span[0] - tracks.frame_s) & (pts_s < span[1])]
        box, usable = person.median_box, tracks.usable[rows]
        sings = [pair for wish in wishes if wish.tracks.intersection(person.tracks) for pair in wish.pairs]
        yield Seen(
            index=index,
            rows=rows,
            usable=usable,
            size_px=(round(box[2] - box[0]), round(box[3] - box[1])),
            seen_share=min(1.0, len(rows) / num_frames),
            usable_share=min(1.0, int(usable.sum()) / num_frames),
            why_not=why_not(analysis, rows[~usable]),
            sings=tuple(sings),
            tracks=person.tracks,
        )


def why_not(analysis: Analysis, rows: Ints) -> str:
    """Why a face cannot sing in rows that are not usable, what is most frequent first; empty where there are none."""
    numbers = Counter(analysis.tracks.flaws[rows].tolist())
    names = {FLAWS[number]: count for number, count in numbers.most_common()}
    words = [FLAW_WORDS[name] for name in names]
    if Outcome.TOO_SMALL in names:
        heights = analysis.tracks.boxes[rows, 3] - analysis.tracks.boxes[rows, 1]
        words[list(names).index(Outcome.TOO_SMALL)] += f" ({int(heights.min())} px high)"
    return ", ".join(words)


def moments_of(view: SpanView, shot: ShotView) -> list[float]:
    """Times of the frames that together show everybody of a shot, the best first; its middle where nobody is seen."""
    tracks = view.analysis.tracks
    if not shot.people:
        return [(shot.start_s + shot.end_s) / 2]
    times_F = np.unique(np.concatenate([tracks.pts_s[person.rows] for person in shot.people]))
    worth_PF = np.stack([_worth(tracks, person, times_F) for person in shot.people])
    middle = np.abs(times_F - (shot.start_s + shot.end_s) / 2) / max(shot.end_s - shot.start_s, 1e-9)
    moments: list[float] = []
    missing_P = np.ones(len(shot.people), np.bool_)
    while missing_P.any() and len(moments) < MAX_FRAMES_OF_SHOT:
        gain_F = worth_PF[missing_P].sum(axis=0)
        if moments and gain_F.max() < _COUNTED:
            break  # only passers-by are left
        # Of pictures that show as many, the one with the most people, then the one nearest to the middle.
        best = int(np.argmax(gain_F + 0.01 * worth_PF.sum(axis=0) - 0.5 * middle))
        moments.append(float(times_F[best]))
        missing_P &= worth_PF[:, best] == 0
    return moments


def _worth(tracks: TrackTable, person: Seen, times_F: Floats) -> Floats:
    """What a person adds to each picture (F,): 0 where absent, most where the face is usable and was detected."""
    worth_F = np.zeros(len(times_F))
    base = _PASSING if person.index is None else _COUNTED
    good = person.usable + 0.5 * tracks.detected[person.rows]
    worth_F[np.searchsorted(times_F, tracks.pts_s[person.rows])] = base * (1 + 0.3 * good)
    return worth_F


def row_at(view: SpanView, person: Seen, time_s: float) -> int | None:
    """Row of a person in the frame of a time; None where the frame does not show them."""
    pts_s = view.analysis.tracks.pts_s[person.rows]
    nearest = int(np.argmin(np.abs(pts_s - time_s)))
    return int(person.rows[nearest]) if abs(pts_s[nearest] - time_s) < 1e-6 else None


def best_row(view: SpanView, person: Seen) -> int:
    """Row in which a person is seen best: a usable and detected one, in the middle of those."""
    good = person.usable + 0.5 * view.analysis.tracks.detected[person.rows]
    candidates = person.rows[good == good.max()]
    return int(candidates[len(candidates) // 2])


def point_of(view: SpanView, person: Seen, row: int) -> str | None:
    """The `at:X,Y@T` that picks a person of a shot in the frame of a row; None where no point would."""
    tracks = view.analysis.tracks
    of_shot = tracks.select(tracks.shot == tracks.shot[row])
    x1, y1, x2, y2 = tracks.boxes[row].tolist()
    width, height = tracks.frame_size
    x, y = min(max((x1 + x2) // 2, 0), width - 1), min(max((y1 + y2) // 2, 0), height - 1)
    for digits in (2, 3, 4):  # people copy it by hand, so no more than needed
        text = f"at:{x},{y}@{tracks.pts_s[row]:.{digits}f}"
        try:
            chosen = choose_face(of_shot, view.analysis.shots, text, view.start_s, view.end_s)
        except SingalongError:
            continue
        if len(chosen.track) and set(chosen.track.tolist()) <= set(person.tracks):
            return text
    return None


def times_of(view: SpanView, person: Seen) -> Iterator[tuple[float, float, Mark]]:
    """When a person is seen, and what the face is then."""
    tracks = view.analysis.tracks
    frames, pts_s = tracks.frame[person.rows], tracks.pts_s[person.rows]
    breaks = (np.diff(frames) != 1) | (np.diff(person.usable.astype(np.int8)) != 0)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    ends = np.concatenate([starts[1:], [len(frames)]])
    for first, after in zip(starts.tolist(), ends.tolist(), strict=True):
        good = Mark.SINGS if person.sings else Mark.USABLE
        mark = good if person.usable[first] else Mark.UNUSABLE
        yield max(float(pts_s[first]), view.start_s), min(float(pts_s[after - 1]) + tracks.frame_s, view.end_s), mark


def shots_to_show(view: SpanView, limit: int) -> list[ShotView]:
    """The shots that tell most, in time order.

    Those with faces that sing go first, of these those with people who are on the fewest pictures so far, by their
    looks, then those with more people, and the longer ones.
    """
    if len(view.shots) <= limit:
        return list(view.shots)
    looks = [_looks_of(view, shot) for shot in view.shots]
    num_shown = [np.zeros(len(own), np.int64) for own in looks]
    left, chosen = set(range(len(view.shots))), list[int]()
    while len(chosen) < limit:
        best = max(left, key=lambda number: _rank(view.shots[number], num_shown[number]))
        left.remove(best)
        chosen.append(best)
        for look, number in product(looks[best], left):
            num_shown[number] += np.array([likeness(look, other) >= SURELY_ALIKE for other in looks[number]], np.int64)
    return [view.shots[number] for number in sorted(chosen)]


def _looks_of(view: SpanView, shot: ShotView) -> list[Look]:
    """What the counted people of a shot look like, as far as it is known."""
    known = view.analysis.tracks.looks
    tracks = (track for person in shot.people if person.index is not None for track in person.tracks[:1])
    return [known[track] for track in tracks if track in known]


def _rank(shot: ShotView, num_shown: Ints) -> tuple[bool, int, int, float]:
    counted = sum(person.index is not None for person in shot.people)
    sings = any(person.sings for person in shot.people)
    fewest = int(num_shown.min()) if len(num_shown) else 0
    return sings, -fewest, min(counted, 4), shot.end_s - shot.start_s
