"""Detections made up for tests of tracks."""

from collections.abc import Sequence

import numpy as np

from singalong.linking import Sample

FPS = 25.0


def box(x: float, y: float = 100.0, side: float = 80.0) -> list[float]:
    return [x, y, x + side, y + side]


LOOKS = np.eye(4, dtype=np.float32)


def sample(
    frame: int,
    *boxes: list[float],
    pts_s: float | None = None,
    people: Sequence[int] | None = None,
    score: float = 0.9,
) -> Sample:
    """Faces in a frame; all of one look, unless `people` numbers them."""
    corners = np.array(boxes, dtype=float).reshape(-1, 4)
    landmarks = np.repeat(corners[:, None, :2], 5, axis=1) + np.arange(5)[None, :, None]
    looks = LOOKS[list(people or [0] * len(corners))]
    scores, sharpness = np.full(len(corners), score), np.full(len(corners), 0.8)
    return Sample(frame, frame / FPS if pts_s is None else pts_s, corners, scores, landmarks, sharpness, looks)
