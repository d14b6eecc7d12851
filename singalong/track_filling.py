"""Giving a track a row in every frame from its few detections, and smoothing its path.

Shape legend: K detections of one track; F frames of one track; V values a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from singalong.linking import NUM_LANDMARKS, FaceTrack, Floats, Sample
from singalong.settings import AnalysisSettings
from singalong.smoothing import smooth_boxes, smooth_path, steady_round

_NUM_BOX = 4
_NUM_PLAIN = 2
"""Score and sharpness, which lie between box and landmarks in a row of values."""

SIZE_SMOOTH_FACTOR = 2.0
"""Sizes are smoothed over this many times as long as places: heads nod faster than they come nearer, and a box
that grows as the mouth opens would make the face breathe."""


def fill_track(
    seen: list[tuple[Sample, int]],
    frame_times_s: Floats,
    *,
    first_frame: int,
    looked: Iterable[int],
    settings: AnalysisSettings,
    frame_size: tuple[int, int],
) -> FaceTrack:
    """Give a track a row in every frame from its first to its last detection.

    By default boxes and landmarks follow a zero-phase path through the detections
    (`singalong.smoothing.smooth_path`). The paper's way interpolates them linearly over presentation time and then
    smooths the boxes, over every frame, because its window counts frames and its detector runs on each. Boxes are
    rounded and clipped to the frame.

    Args:
        seen: detections as `link_samples` gives them.
        frame_times_s: presentation times of the shot's frames.
        first_frame: index of the shot's first frame in the clip.
        looked: frames of the shot in which faces were looked for; where this one was not found it is hidden.
        settings: how to smooth.
        frame_size: width and height to clip to, pixels.
    """
    frames = np.arange(seen[0][0].frame, seen[-1][0].frame + 1)
    pts_s = frame_times_s[frames - first_frame]
    seen_s = np.array([sample.pts_s for sample, _ in seen])
    values_KV = np.stack([_flat(sample, face) for sample, face in seen])
    values_FV = np.stack([np.interp(pts_s, seen_s, column) for column in values_KV.T], axis=1)
    boxes_F4, landmarks_FL = values_FV[:, :_NUM_BOX], values_FV[:, _NUM_BOX + _NUM_PLAIN :]
    if settings.smoothing == "zero_phase":
        boxes_F4 = _smooth_boxes(seen_s, values_KV[:, :_NUM_BOX], pts_s, settings.smooth_s)
        landmarks_FL = smooth_path(seen_s, values_KV[:, _NUM_BOX + _NUM_PLAIN :], pts_s, settings.smooth_s)
    return FaceTrack(
        frames=frames,
        pts_s=pts_s,
        boxes=_whole_boxes(boxes_F4, settings, frame_size),
        detected=np.isin(frames, [s.frame for s, face in seen if s.by_detector and s.scores[face] > 0]),
        scores=values_FV[:, _NUM_BOX],
        landmarks=landmarks_FL.reshape(-1, NUM_LANDMARKS, 2),
        sharpness=values_FV[:, _NUM_BOX + 1],
        hidden=_hidden(frames, [sample.frame for sample, _ in seen], looked),
    )


def _flat(sample: Sample, face: int) -> Floats:
    plain = np.array([sample.scores[face], sample.sharpness[face]])
    return np.concatenate([sample.boxes[face], plain, sample.landmarks[face].ravel()])


def _smooth_boxes(seen_s: Floats, boxes_K4: Floats, pts_s: Floats, smooth_s: float) -> Floats:
    corners, ends = boxes_K4[:, :2], boxes_K4[:, 2:]
    centres = smooth_path(seen_s, (corners + ends) / 2, pts_s, smooth_s)
    sizes = np.exp(
        smooth_path(seen_s, np.log(np.maximum(ends - corners, 1.0)), pts_s, SIZE_SMOOTH_FACTOR * smooth_s, order=1)
    )
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)


def _whole_boxes(boxes_F4: Floats, settings: AnalysisSettings, frame_size: tuple[int, int]) -> NDArray[np.int64]:
    """The boxes in whole pixels within the frame.

    Ours are rounded sizes first, then places, so that rounding does not make a box breathe; the paper's are smoothed
    after they are rounded.
    """
    limits = [*frame_size, *frame_size]
    if settings.smoothing == "paper":
        return smooth_boxes(np.rint(boxes_F4).astype(np.int64).clip(0, limits), settings.smooth_window)
    centres, sizes = (boxes_F4[:, :2] + boxes_F4[:, 2:]) / 2, boxes_F4[:, 2:] - boxes_F4[:, :2]
    whole_sizes = steady_round(sizes)
    corners = steady_round(centres - whole_sizes / 2)
    return np.concatenate([corners, corners + whole_sizes], axis=1).clip(0, limits)


def _hidden(frames: NDArray[np.int64], seen: list[int], looked: Iterable[int]) -> NDArray[np.bool_]:
    """Frames between two detections with a look between them that did not find the face."""
    missed = np.setdiff1d(np.fromiter(looked, np.int64), seen)
    after = np.searchsorted(seen, frames)
    is_seen = np.isin(frames, seen)
    gaps = np.unique(np.searchsorted(seen, missed[(missed > seen[0]) & (missed < seen[-1])]))
    return np.asarray(np.isin(after, gaps) & ~is_seen)
