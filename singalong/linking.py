"""Linking the faces detected in some frames of a shot into tracks with a box in every frame.

Pure functions on arrays. Boxes are `(x1, y1, x2, y2)` in pixels of the upright frame.

Shape legend: N, M faces; K detections of one track; F frames of one track.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from singalong.smoothing import smooth_boxes

Floats = NDArray[np.float64]

NUM_LANDMARKS = 5

MIN_IOU = 0.25
"""Boxes that overlap by this much are of one face, whatever their centres say."""

MAX_DISTANCE = 0.6
"""Boxes whose centres are this many sides apart may be of one face: heads side by side are further apart."""

MAX_SIZE_LOG_RATIO = 0.5
"""... unless one side is more than exp(0.5) = 1.65 times the other."""

STEADY_IOU = 0.6
"""A face that moved more than this between two detections is looked for in between as well."""


@dataclass(frozen=True)
class Sample:
    """The faces detected in one frame.

    Attributes:
        frame: index of the frame in the clip.
        pts_s: its presentation time.
        boxes: (N,4).
        scores: (N,).
        landmarks: (N,5,2); NaN where the detector gives none.
    """

    frame: int
    pts_s: float
    boxes: Floats
    scores: Floats
    landmarks: Floats


def match_boxes(left_N4: Floats, right_M4: Floats) -> list[tuple[int, int]]:
    """Index pairs of boxes that show one face at two near times, closest first; each index once."""
    if not len(left_N4) or not len(right_M4):
        return []
    iou_NM = box_iou(left_N4, right_M4)
    distance_NM, ratio_NM = box_distance(left_N4, right_M4)
    near_NM = (distance_NM <= MAX_DISTANCE) & (ratio_NM <= MAX_SIZE_LOG_RATIO)
    cost_NM = np.where((iou_NM >= MIN_IOU) | near_NM, distance_NM + ratio_NM, np.inf)
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


def samples_between(left: Sample, right: Sample, detect: Callable[[int], Sample]) -> list[Sample]:
    """Samples between two others wherever something happened there, found by bisection, in frame order.

    Something happened when a face appeared, disappeared or moved far. `detect(frame)` samples a frame
    between. A start or end of a track so becomes exact to the frame at a cost of about log2 of the distance
    in detections.
    """
    if right.frame - left.frame < 2 or _is_steady(left, right):
        return []
    middle = detect((left.frame + right.frame) // 2)
    return [*samples_between(left, middle, detect), middle, *samples_between(middle, right, detect)]


def _is_steady(left: Sample, right: Sample) -> bool:
    pairs = match_boxes(left.boxes, right.boxes)
    if len(pairs) != len(left.boxes) or len(pairs) != len(right.boxes):
        return False
    if not pairs:
        return True
    rows, columns = (list(indices) for indices in zip(*pairs, strict=True))
    return bool(np.all(box_iou(left.boxes, right.boxes)[rows, columns] >= STEADY_IOU))


@dataclass
class _Growing:
    """A track under construction: (sample, index of the face in it), one a detection."""

    seen: list[tuple[Sample, int]] = field(default_factory=list)
    missed: bool = False
    """Whether a sample since the last detection showed no such face."""

    @property
    def last(self) -> Sample:
        return self.seen[-1][0]


@dataclass(frozen=True)
class FaceTrack:
    """One face in consecutive frames of one shot; arrays have a row a frame.

    Attributes:
        frames: (F,) consecutive frame indices of the clip.
        pts_s: (F,) their presentation times.
        boxes: (F,4) integers, smoothed.
        detected: (F,) whether the face was detected in this frame; else its row is interpolated.
        scores: (F,) of the detector.
        landmarks: (F,5,2).
    """

    frames: NDArray[np.int64]
    pts_s: Floats
    boxes: NDArray[np.int64]
    detected: NDArray[np.bool_]
    scores: Floats
    landmarks: Floats


def link_samples(samples: list[Sample], *, max_gap_s: float) -> list[list[tuple[Sample, int]]]:
    """Follow the faces of one shot from sample to sample.

    Args:
        samples: of one shot, in frame order.
        max_gap_s: a face not detected for longer than this is another track when it comes back.

    Returns:
        For each track, in order of appearance, its detections as (sample, index of the face in it).
    """
    tracks: list[_Growing] = []
    active: list[_Growing] = []
    for sample in samples:
        active = [track for track in active if not track.missed or sample.pts_s - track.last.pts_s <= max_gap_s]
        last_boxes = np.array([last.boxes[face] for last, face in (track.seen[-1] for track in active)])
        taken = {face: row for row, face in match_boxes(last_boxes.reshape(-1, 4), sample.boxes)}
        for track in active:
            track.missed = True
        for face in range(len(sample.boxes)):
            if face in taken:
                track = active[taken[face]]
            else:
                track = _Growing()
                tracks.append(track)
                active.append(track)
            track.seen.append((sample, face))
            track.missed = False
    return [track.seen for track in tracks]


def fill_track(
    seen: list[tuple[Sample, int]],
    frame_times_s: Floats,
    *,
    first_frame: int,
    smooth_window: int,
    frame_size: tuple[int, int],
) -> FaceTrack:
    """Give a track a row in every frame from its first to its last detection.

    Boxes, scores and landmarks are interpolated linearly over presentation time; boxes are then rounded,
    clipped to the frame and smoothed as in the paper. Smoothing comes last, over every frame, because the
    paper's window counts frames and its detector runs on each: so it also rounds off the corners that
    interpolation leaves.

    Args:
        seen: detections as `link_samples` gives them.
        frame_times_s: presentation times of the shot's frames.
        first_frame: index of the shot's first frame in the clip.
        smooth_window: see `singalong.smoothing.smooth_boxes`.
        frame_size: width and height to clip to, pixels.
    """
    frames = np.arange(seen[0][0].frame, seen[-1][0].frame + 1)
    pts_s = frame_times_s[frames - first_frame]
    seen_s = np.array([sample.pts_s for sample, _ in seen])
    values_KV = np.stack([_flat(sample, face) for sample, face in seen])
    values_FV = np.stack([np.interp(pts_s, seen_s, column) for column in values_KV.T], axis=1)
    width, height = frame_size
    boxes_F4 = np.rint(values_FV[:, :4]).astype(np.int64).clip(0, [width, height, width, height])
    return FaceTrack(
        frames=frames,
        pts_s=pts_s,
        boxes=smooth_boxes(boxes_F4, smooth_window),
        detected=np.isin(frames, [sample.frame for sample, _ in seen]),
        scores=values_FV[:, 4],
        landmarks=values_FV[:, 5:].reshape(-1, NUM_LANDMARKS, 2),
    )


def _flat(sample: Sample, face: int) -> Floats:
    return np.concatenate([sample.boxes[face], sample.scores[face : face + 1], sample.landmarks[face].ravel()])
