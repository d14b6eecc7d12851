"""Linking the faces detected in some frames of a shot into tracks with a box in every frame.

Pure functions on arrays. Boxes are `(x1, y1, x2, y2)` in pixels of the upright frame.

Shape legend: N, M faces; K detections of one track; F frames of one track; D dimensions of a look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Looks = NDArray[np.floating[Any]]

NUM_LANDMARKS = 5

MIN_IOU = 0.25
"""Boxes that overlap by this much are of one face, whatever their centres say."""

MAX_DISTANCE = 0.6
"""Boxes whose centres are this many sides apart may be of one face: heads side by side are further apart."""

MAX_SIZE_LOG_RATIO = 0.5
"""... unless one side is more than exp(0.5) = 1.65 times the other."""

STEADY_IOU = 0.6
"""A face that moved more than this between two detections is looked for in between as well."""

LOOK_COST = 1.0
"""What being wholly unlike costs, in sides of distance. On real clips a face is 0.9 like itself a moment ago and
0.4 like another: so two people who cross are told apart by looks, not by place."""

MAX_VELOCITY_S = 0.5
"""Two detections further apart than this say nothing of how fast a face moves."""


@dataclass(frozen=True)
class Sample:
    """The faces seen in one frame.

    Attributes:
        frame: index of the frame in the clip.
        pts_s: its presentation time.
        boxes: (N,4).
        scores: (N,) of the detector; 0 for a face that it missed and that was followed by its picture.
        landmarks: (N,5,2); NaN where the detector gives none.
        sharpness: (N,), see `singalong.looks.sharpness_of`.
        looks: (N,D), see `singalong.looks.look_of`; half precision will do, as a long shot has many.
        by_detector: whether the detector looked at the frame; else its faces were followed there by their pictures.
    """

    frame: int
    pts_s: float
    boxes: Floats
    scores: Floats
    landmarks: Floats
    sharpness: Floats
    looks: Looks
    by_detector: bool = True


def match_boxes(left_N4: Floats, right_M4: Floats, extra_cost_NM: Floats | None = None) -> list[tuple[int, int]]:
    """Index pairs of boxes that show one face at two near times, closest first; each index once."""
    if not len(left_N4) or not len(right_M4):
        return []
    return _cheapest_pairs(_match_cost(left_N4, right_M4) + (0.0 if extra_cost_NM is None else extra_cost_NM))


def _match_cost(left_N4: Floats, right_M4: Floats) -> Floats:
    """Distance in place and size of every left from every right box, infinite where they cannot be of one face."""
    iou_NM = box_iou(left_N4, right_M4)
    distance_NM, ratio_NM = box_distance(left_N4, right_M4)
    near_NM = (distance_NM <= MAX_DISTANCE) & (ratio_NM <= MAX_SIZE_LOG_RATIO)
    return np.where((iou_NM >= MIN_IOU) | near_NM, distance_NM + ratio_NM, np.inf)


def _cheapest_pairs(cost_NM: Floats) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    while np.isfinite(cost_NM.min()):
        row, column = np.unravel_index(np.argmin(cost_NM), cost_NM.shape)
        pairs.append((int(row), int(column)))
        cost_NM[row, :] = np.inf
        cost_NM[:, column] = np.inf
    return pairs


def box_iou(left_N4: Floats, right_M4: Floats) -> Floats:
    """Intersection over union of every left with every right box, (N, M)."""
    corner = np.minimum(left_N4[:, None, 2:], right_M4[None, :, 2:])
    overlap = (corner - np.maximum(left_N4[:, None, :2], right_M4[None, :, :2])).clip(0)
    shared_NM = np.prod(overlap, axis=-1)
    areas_N, areas_M = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (left_N4, right_M4))
    union_NM = areas_N[:, None] + areas_M[None, :] - shared_NM
    return np.asarray(shared_NM / np.maximum(union_NM, 1e-9))


def box_distance(left_N4: Floats, right_M4: Floats) -> tuple[Floats, Floats]:
    """Distance of centres in units of the mean side, and |log| of the ratio of sides, each (N, M)."""
    centres_N2, centres_M2 = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (left_N4, right_M4))
    sides_N, sides_M = (
        np.sqrt(np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1.0)) for boxes in (left_N4, right_M4)
    )
    apart_NM = np.linalg.norm(centres_N2[:, None] - centres_M2[None, :], axis=-1)
    distance_NM = apart_NM / ((sides_N[:, None] + sides_M[None, :]) / 2)
    return np.asarray(distance_NM), np.abs(np.log(sides_N[:, None] / sides_M[None, :]))


def samples_between(
    left: Sample, right: Sample, detect: Callable[[int], Sample], *, min_score: float = 0.0
) -> list[Sample]:
    """Samples between two others wherever something happened there, found by bisection, in frame order.

    Something happened when a face appeared, disappeared or moved far. `detect(frame)` samples a frame
    between. A start or end of a track so becomes exact to the frame at a cost of about log2 of the distance
    in detections. Faces detected more weakly than `min_score` are as good as not there: they start no track.
    """
    if right.frame - left.frame < 2 or _is_steady(_sure_boxes(left, min_score), _sure_boxes(right, min_score)):
        return []
    middle = detect((left.frame + right.frame) // 2)
    before = samples_between(left, middle, detect, min_score=min_score)
    return [*before, middle, *samples_between(middle, right, detect, min_score=min_score)]


def _sure_boxes(sample: Sample, min_score: float) -> Floats:
    """Boxes of the faces that are surely there: strongly detected, or followed by their picture."""
    return np.asarray(sample.boxes[(sample.scores >= min_score) | (sample.scores == 0)])


def _is_steady(left_N4: Floats, right_M4: Floats) -> bool:
    pairs = match_boxes(left_N4, right_M4)
    if len(pairs) != len(left_N4) or len(pairs) != len(right_M4):
        return False
    if not pairs:
        return True
    rows, columns = (list(indices) for indices in zip(*pairs, strict=True))
    return bool(np.all(box_iou(left_N4, right_M4)[rows, columns] >= STEADY_IOU))


@dataclass
class _Growing:
    """A track under construction: (sample, index of the face in it), one a detection."""

    seen: list[tuple[Sample, int]] = field(default_factory=list)
    missed: bool = False
    """Whether a sample since the last detection showed no such face."""

    @property
    def last(self) -> Sample:
        return self.seen[-1][0]

    @property
    def last_box(self) -> Floats:
        sample, face = self.seen[-1]
        return np.asarray(sample.boxes[face])

    @property
    def last_look(self) -> Looks:
        sample, face = self.seen[-1]
        return np.asarray(sample.looks[face])

    def box_at(self, pts_s: float) -> Floats:
        """Where the face would be if it moved on as it did."""
        if len(self.seen) < 2:
            return self.last_box
        before, face = self.seen[-2]
        elapsed_s = self.last.pts_s - before.pts_s
        if not 0 < elapsed_s <= MAX_VELOCITY_S:
            return self.last_box
        moved = self.last_box - before.boxes[face]
        step = (moved[:2] + moved[2:]) / 2 / elapsed_s * (pts_s - self.last.pts_s)
        return np.asarray(self.last_box + np.tile(step, 2))


def link_samples(samples: list[Sample], *, max_gap_s: float, min_score: float = 0.0) -> list[list[tuple[Sample, int]]]:
    """Follow the faces of one shot from sample to sample, by place, size and looks.

    Args:
        samples: of one shot, in frame order.
        max_gap_s: a face not detected for longer than this is another track when it comes back.
        min_score: weaker faces carry a track on, but do not start one.

    Returns:
        For each track, in order of appearance, its detections as (sample, index of the face in it).
    """
    tracks: list[_Growing] = []
    active: list[_Growing] = []
    for sample in samples:
        active = [track for track in active if not track.missed or sample.pts_s - track.last.pts_s <= max_gap_s]
        taken = {face: row for row, face in _matches(active, sample)}
        for track in active:
            track.missed = True
        for face in range(len(sample.boxes)):
            if face in taken:
                track = active[taken[face]]
            elif sample.scores[face] >= min_score:
                track = _Growing()
                tracks.append(track)
                active.append(track)
            else:
                continue
            track.seen.append((sample, face))
            track.missed = False
    return [track.seen for track in tracks]


def _matches(active: list[_Growing], sample: Sample) -> list[tuple[int, int]]:
    """Which active track goes on as which face: pairs (row of active, face)."""
    if not active or not len(sample.boxes):
        return []
    stays = np.stack([track.last_box for track in active])
    moves = np.stack([track.box_at(sample.pts_s) for track in active])
    likeness = np.stack([track.last_look for track in active]).astype(np.float64) @ sample.looks.T
    place = np.minimum(_match_cost(stays, sample.boxes), _match_cost(moves, sample.boxes))
    return _cheapest_pairs(place + LOOK_COST * (1.0 - likeness))


@dataclass(frozen=True)
class FaceTrack:
    """One face in consecutive frames of one shot; arrays have a row a frame.

    Attributes:
        frames: (F,) consecutive frame indices of the clip.
        pts_s: (F,) their presentation times.
        boxes: (F,4) integers, smoothed.
        detected: (F,) whether the face was detected in this frame; else its row was followed there or interpolated.
        scores: (F,) of the detector.
        landmarks: (F,5,2), smoothed as the boxes.
        sharpness: (F,).
        hidden: (F,) whether the face was looked for here or nearby and not found.
    """

    frames: NDArray[np.int64]
    pts_s: Floats
    boxes: NDArray[np.int64]
    detected: NDArray[np.bool_]
    scores: Floats
    landmarks: Floats
    sharpness: Floats
    hidden: NDArray[np.bool_]
