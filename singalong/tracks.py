"""Whose mouth sings: choosing one face in each shot of a span, and asking where it is at a time.

Pure functions on the tables of `singalong.track_table`.

Shape legend: R rows, T times.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from singalong.errors import NoFaceError, UsageError
from singalong.frames_table import Outcome
from singalong.linking import box_distance
from singalong.looks import Look
from singalong.people import Person, numbered, people_of
from singalong.recognise import follow, looks_of, most_like
from singalong.track_table import Bools, Floats, Ints, ShotTable, TrackTable
from singalong.usable import FLAWS

Box = tuple[int, int, int, int]

POINT_MARGIN = 0.25
"""`at:X,Y@T` may miss a box by this share of its sides."""

FLAW_WORDS = {
    Outcome.TOO_SMALL: "too small",
    Outcome.TURNED: "turned away",
    Outcome.TILTED: "tilted",
    Outcome.BLURRED: "blurred",
    Outcome.HIDDEN: "hidden",
}

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_AT = re.compile(rf"at:\s*{_NUMBER}\s*,\s*{_NUMBER}\s*@\s*{_NUMBER}\s*")
_INDEX = re.compile(r"index:\s*(\d{1,3})\s*")
_LIKE = re.compile(r"like:\s*(\S.*)")


@dataclass(frozen=True)
class FaceSpec:
    """Which face sings; see `parse_face_spec`."""

    kind: Literal["largest", "index", "at", "speaker", "like"]
    index: int = 0
    x: float = 0.0
    y: float = 0.0
    time_s: float = 0.0
    path: str = ""


@dataclass(frozen=True)
class Clues:
    """What is known of the people of a clip beside where they are.

    Attributes:
        looks: what the face of a track looks like, by track number.
        speaking: how surely a track's lips move with the clip's own sound, by track number: margin of the sync
            confidence, higher speaks; a track that cannot be scored is absent.
        wanted: the look that `like:` asks for.
    """

    looks: Mapping[int, Look] = field(default_factory=dict)
    speaking: Mapping[int, float] = field(default_factory=dict)
    wanted: Look | None = None


def parse_face_spec(text: str) -> FaceSpec:
    """Read a manifest's `face`.

    - `largest`: in each shot the person whose boxes cover most over the span (area times frames).
    - `index:N`: in each shot the N-th person from the left, from 0, by the median of the box's centre; only
      people count who are seen at least half as long as the one seen longest. Shots with fewer have no face.
    - `at:X,Y@T`: the face at a point of the upright frame at T seconds of the clip's time. X and Y are
      pixels, or shares of width and height when both are at most 1. In other shots: the same person, known by
      looks, wherever they are; nobody where nobody is alike enough.
    - `speaker`: in each shot the person whose lips move most surely with the clip's own sound; where that cannot
      be told, who looks like the speaker of another shot, else the largest.
    - `like:PATH`: the person of the span most like the one in a picture, in each shot where they are.

    Raises UsageError.
    """
    if text.strip() == "largest":
        return FaceSpec("largest")
    if match := _INDEX.fullmatch(text.strip()):
        return FaceSpec("index", index=int(match[1]))
    if match := _AT.fullmatch(text.strip()):
        x, y, time_s = map(float, match.groups())
        return FaceSpec("at", x=x, y=y, time_s=time_s)
    if text.strip() == "speaker":
        return FaceSpec("speaker")
    if match := _LIKE.fullmatch(text.strip()):
        return FaceSpec("like", path=match[1])
    raise UsageError(
        "cannot read which face is to sing",
        value=text,
        expected="largest, index:N (from 0, left to right), at:X,Y@T (a point and a time in seconds), speaker or "
        "like:PATH (a picture)",
    )


@dataclass(frozen=True)
class ChosenFace:
    """Where the chosen face is: at most one row a source frame, in time order.

    Attributes:
        pts_s: (R,) presentation times of the source frames that show the face.
        boxes: (R,4) x1, y1, x2, y2, whole pixels of the upright frame.
        landmarks: (R,5,2), see TRACKS_SCHEMA.
        usable: (R,) whether the face can be lip-synced.
        flaws: (R,) why it cannot, see `singalong.usable.FLAWS`.
        weights: (R,) how much of the new lips to show, 0 to 1.
        shot, track: (R,) which ones.
        tolerance_s: a time matches a row this near, half a frame.
    """

    pts_s: Floats
    boxes: Ints
    landmarks: Floats
    usable: Bools
    flaws: Ints
    weights: Floats
    shot: Ints
    track: Ints
    tolerance_s: float

    def rows_at(self, times_s: ArrayLike) -> Ints:
        """Row of the source frame at each time (T,), -1 where that frame does not show the face."""
        times_T = np.asarray(times_s, dtype=np.float64)
        if not len(self.pts_s):
            return np.full(times_T.shape, -1)
        after = np.searchsorted(self.pts_s, times_T).clip(0, len(self.pts_s) - 1)
        before = (after - 1).clip(0)
        nearest = np.where(np.abs(self.pts_s[before] - times_T) <= np.abs(self.pts_s[after] - times_T), before, after)
        return np.where(np.abs(self.pts_s[nearest] - times_T) <= self.tolerance_s, nearest, -1)

    def boxes_at(self, times_s: ArrayLike) -> tuple[Ints, Bools]:
        """Boxes (T,4) and whether there is a usable one (T,) at each time; all 0 where there is none."""
        rows_T = self.rows_at(times_s)
        found_T = rows_T >= 0
        boxes_T4 = np.zeros((len(rows_T), 4), np.int64)
        found_T[found_T] = self.usable[rows_T[found_T]]
        boxes_T4[found_T] = self.boxes[rows_T[found_T]]
        return boxes_T4, found_T

    def box_at(self, pts_s: float) -> Box | None:
        """Box of the face in the source frame at this time; None where it has no usable one."""
        row = self._usable_row(pts_s)
        if row is None:
            return None
        x1, y1, x2, y2 = self.boxes[row].tolist()
        return x1, y1, x2, y2

    def landmarks_at(self, pts_s: float) -> Floats | None:
        """Landmarks (5,2) in the source frame at this time; None where `box_at` is None or there are none."""
        row = self._usable_row(pts_s)
        return None if row is None or np.isnan(self.landmarks[row]).any() else self.landmarks[row]

    def shot_at(self, pts_s: float) -> int:
        """Shot of the face in the source frame at this time; -1 where that frame does not show it."""
        row = int(self.rows_at([pts_s])[0])
        return int(self.shot[row]) if row >= 0 else -1

    def outcome_at(self, pts_s: float) -> Outcome:
        """What is to become of the face in the source frame at this time, and if not lip-synced, why."""
        row = int(self.rows_at([pts_s])[0])
        return FLAWS[int(self.flaws[row])] if row >= 0 else Outcome.NO_FACE

    def weight_at(self, pts_s: float) -> float:
        """How much of the new lips to show, 0 to 1: falls before a face turns away, and rises as it comes back."""
        row = int(self.rows_at([pts_s])[0])
        return float(self.weights[row]) if row >= 0 else 0.0

    @property
    def flaw_words(self) -> str:
        """Why no frame can be lip-synced, in words for a message: "turned away or too small"; empty without faces."""
        counts = Counter(FLAWS[flaw] for flaw in self.flaws.tolist() if flaw)
        return " or ".join(FLAW_WORDS[outcome] for outcome, _ in counts.most_common())

    def _usable_row(self, pts_s: float) -> int | None:
        row = int(self.rows_at([pts_s])[0])
        return row if row >= 0 and self.usable[row] else None


def choose_face(
    tracks: TrackTable,
    shots: ShotTable,
    face_spec: str,
    start_s: float,
    end_s: float,
    clues: Clues = Clues(),
) -> ChosenFace:
    """Choose the face that sings in a span of a clip: at most one person in each shot.

    Give it the whole span of the pair, whatever part of it is to be made, so that every shard chooses alike.

    Args:
        tracks: rows of the span at least; see `tasks.analyse.load_analysis`.
        shots: all shots of the clip.
        face_spec: see `parse_face_spec`.
        start_s: start of the span in the clip's time; the frame on screen then may be older.
        end_s: its end, exclusive.
        clues: what the people look like and who speaks, for `speaker`, `like:` and `at:`.

    Raises:
        UsageError: a spec that cannot be read, or a time outside the span.
        NoFaceError: faces there are, but none at the point or with the index asked for.
    """
    spec = parse_face_spec(face_spec)
    people = people_of(tracks, start_s, end_s)
    looks = clues.looks or tracks.looks
    if spec.kind == "largest":
        chosen = [max(group, key=lambda person: person.area) for group in people.values()]
    elif spec.kind == "index":
        chosen = _by_index(people, spec.index, face_spec)
    elif spec.kind == "speaker":
        chosen = _speakers(people, clues.speaking, looks)
    elif spec.kind == "like":
        assert clues.wanted is not None
        chosen = _like(people, clues.wanted, looks)
    else:
        home, person = _by_point(people, tracks, shots, spec, face_spec, (start_s, end_s))
        chosen = _everywhere(people, home, person, [], looks)
    return _chosen(tracks, [person.rows for person in chosen])


def _by_index(people: dict[int, list[Person]], index: int, text: str) -> list[Person]:
    main = [numbered(group) for group in people.values()]
    if main and all(len(group) <= index for group in main):
        most = max(map(len, main))
        raise NoFaceError(
            "no shot of the span shows that many faces",
            value=text,
            expected=f"index:0 to index:{most - 1}, counted from the left",
        )
    return [group[index] for group in main if len(group) > index]


def _by_point(
    people: dict[int, list[Person]],
    tracks: TrackTable,
    shots: ShotTable,
    spec: FaceSpec,
    text: str,
    span: tuple[float, float],
) -> tuple[int, Person | None]:
    """The shot pointed at, and who is there; None in a span without people."""
    if not span[0] - tracks.frame_s <= spec.time_s <= span[1]:
        raise UsageError(
            "the time at which the face is pointed out lies outside the clip's span",
            value=text,
            expected=f"a time from {span[0]:.2f} to {span[1]:.2f} s",
        )
    home = shots.shot_at(spec.time_s + tracks.frame_s / 100)  # times are written with few digits
    return home, _at_point(people.get(home, []), tracks, spec, text) if people else None


def _at_point(group: list[Person], tracks: TrackTable, spec: FaceSpec, text: str) -> Person:
    width, height = tracks.frame_size
    as_share = spec.x <= 1 and spec.y <= 1
    point = np.array([spec.x, spec.y]) * ((width, height) if as_share else (1, 1))
    boxes = {index: _box_near(tracks, person.rows, spec.time_s) for index, person in enumerate(group)}
    seen = {index: box for index, box in boxes.items() if box is not None}
    miss = {index: _miss(box, point) for index, box in seen.items()}
    best = min(miss, key=lambda index: miss[index], default=None)
    if best is None or miss[best] > 1 + 2 * POINT_MARGIN:
        faces = "; ".join("x {} to {}, y {} to {}".format(*box[[0, 2, 1, 3]]) for box in seen.values())
        raise NoFaceError(
            "no face at that point and time",
            value=text,
            expected=f"a point on one of the faces there: {faces or 'none'}",
        )
    return group[best]


def _box_near(tracks: TrackTable, rows: Ints, time_s: float) -> Ints | None:
    """Box of a person in the frame on screen at a time: the row nearest to it, within a frame and a half."""
    nearest = rows[np.argmin(np.abs(tracks.pts_s[rows] - time_s))]
    near = abs(tracks.pts_s[nearest] - time_s) <= 1.5 * tracks.frame_s
    return tracks.boxes[nearest] if near else None


def _miss(box: Ints, point: Floats) -> float:
    """How far a point lies from a box's centre: 1 on its edge."""
    half = np.maximum((box[2:] - box[:2]) / 2, 0.5)
    return float(np.max(np.abs(point - (box[:2] + box[2:]) / 2) / half))


def _everywhere(
    people: dict[int, list[Person]], home: int, person: Person | None, wanted: list[Look], looks: Mapping[int, Look]
) -> list[Person]:
    """A person of one shot, and the same in all others; `wanted` are looks known of that person beside their own."""
    if person is None:
        return []
    others = {shot: group for shot, group in people.items() if shot != home}
    own = looks_of(person, looks)
    if not own:  # made without looks: place and size are all there is
        return [person, *(_nearest(numbered(group), person) for group in others.values())]
    strangers = [look for other in people[home] if other is not person for look in looks_of(other, looks)]
    return [person, *follow(others, [*own, *wanted], strangers, looks)]


def _nearest(group: Sequence[Person], person: Person) -> Person:
    boxes = np.stack([other.median_box for other in group])
    distance, ratio = box_distance(boxes, person.median_box[None])
    return group[int(np.argmin(distance[:, 0] + ratio[:, 0]))]


def _like(people: dict[int, list[Person]], picture: Look, looks: Mapping[int, Look]) -> list[Person]:
    best = most_like(people, picture, looks)
    return [] if best is None else _everywhere(people, *best, [picture], looks)


def _speakers(
    people: dict[int, list[Person]], speaking: Mapping[int, float], looks: Mapping[int, Look]
) -> list[Person]:
    """In each shot who speaks most surely; where nobody can be told, who speaks elsewhere; else the largest."""
    said = {shot: [(_said(person, speaking), person) for person in group] for shot, group in people.items()}
    heard = {shot: max(group, key=lambda item: item[0]) for shot, group in said.items()}
    chosen = {shot: person for shot, (margin, person) in heard.items() if margin > -math.inf}
    silent = {shot: group for shot, group in people.items() if shot not in chosen}
    wanted = [look for person in chosen.values() for look in looks_of(person, looks)]
    again = {id(person) for person in follow(silent, wanted, [], looks)}
    for shot, group in silent.items():
        known = [person for person in group if id(person) in again]
        chosen[shot] = known[0] if known else max(group, key=lambda person: person.area)
    return list(chosen.values())


def _said(person: Person, speaking: Mapping[int, float]) -> float:
    """How surely a person speaks; minus infinity where that cannot be told."""
    return max((speaking[track] for track in person.tracks if track in speaking), default=-math.inf)


def _chosen(tracks: TrackTable, rows: list[NDArray[np.int64]]) -> ChosenFace:
    joined = np.concatenate([np.empty(0, np.int64), *rows])
    table = tracks.select(joined[np.argsort(tracks.pts_s[joined], kind="stable")])
    steps = np.diff(table.pts_s)[np.diff(table.frame) == 1]
    shortest = min([tracks.frame_s, *steps[steps > 0]])
    return ChosenFace(
        pts_s=table.pts_s,
        boxes=table.boxes,
        landmarks=table.landmarks,
        usable=table.usable,
        flaws=table.flaws,
        weights=table.weights,
        shot=table.shot,
        track=table.track,
        tolerance_s=float(shortest) / 2,
    )
