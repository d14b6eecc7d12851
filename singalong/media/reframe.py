"""Where to cut a picture of another shape so that the face that sings stays in it; pure.

The cut stands still within a shot where that keeps the face inside, and follows it slowly where it does not.
Legend: n frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Size = tuple[int, int]

FACE_LEVEL = 0.42
"""Where the middle of a face stands in the cut, from the top: the eyes then lie in its upper third."""

NOBODY_LEVEL = 1 / 3
"""Where there is no face, this share of what is cut off goes at the top: heads are up there."""

FACE_MARGIN = 0.15
"""Room around a face, as a share of its box: chins and foreheads reach beyond it."""

MOST = 0.98
"""Share of the frames in which the face must be inside for the cut to stand still."""

FOLLOW_S = 0.6
"""Standard deviation, in seconds, of the smoothing of a cut that moves: slower than a turn of the head."""

JUMP_S = 0.5
"""Source times that are further apart belong to two takes: the clip started over."""


@dataclass(frozen=True)
class FacePath:
    """Where the face that sings is in each frame of a film.

    boxes: (n,4) x1, y1, x2, y2 as shares of width and height; NaN where it is not seen. takes: (n,) frames of one
    number follow one another in one shot.
    """

    boxes: Floats
    takes: Ints


def takes_of(source_s: Floats, shot_starts_s: Floats) -> Ints:
    """Numbers (n,) of the takes of frames that show these times (n,) of a clip whose shots start at given times."""
    shots = np.searchsorted(shot_starts_s, source_s + 1e-6, side="right")
    breaks = (np.diff(shots) != 0) | (np.abs(np.diff(source_s)) > JUMP_S)
    return np.concatenate([[0], np.cumsum(breaks)]).astype(np.int64)[: len(source_s)]


def cover_size(shown: Size, window: Size) -> Size:
    """The smallest even size with the aspect of `shown` that covers a window of even sides."""
    scale = max(window[0] / shown[0], window[1] / shown[1])
    width, height = (max(side, 2 * round(own * scale / 2)) for side, own in zip(window, shown, strict=True))
    return width, height


def crop_offsets(path: FacePath | None, picture: Size, window: Size, fps: float) -> Ints:
    """Upper left corners (n,2) of the cut in each frame, even numbers; one for all where there is no path.

    picture: width and height of the frames, of which the path tells. window: of the cut, no larger.
    """
    if path is None or not len(path.takes):
        offsets = [[_unseen(picture[axis], window[axis], axis) for axis in (0, 1)]]
        return np.asarray(offsets, np.int64)
    columns = [_axis_offsets(path, axis, picture[axis], window[axis], fps) for axis in (0, 1)]
    return np.stack(columns, axis=1)


def _axis_offsets(path: FacePath, axis: int, picture: int, window: int, fps: float) -> Ints:
    offsets = np.empty(len(path.takes), np.int64)
    for take in np.unique(path.takes):
        rows = np.flatnonzero(path.takes == take)
        low, high = path.boxes[rows, axis] * picture, path.boxes[rows, axis + 2] * picture
        offsets[rows] = _even(_take_offsets(low, high, axis, picture, window, fps), picture - window)
    return offsets


def _take_offsets(low: Floats, high: Floats, axis: int, picture: int, window: int, fps: float) -> Floats:
    """Offsets (m,) of one take, from the edges of the face along an axis, pixels."""
    seen = np.flatnonzero(np.isfinite(low))
    if not len(seen) or picture == window:
        return np.full(len(low), float(_unseen(picture, window, axis)))
    level = FACE_LEVEL if axis else 0.5
    wanted = np.clip((low[seen] + high[seen]) / 2 - level * window, 0, picture - window)
    still = float(np.median(wanted))
    margin = FACE_MARGIN * (high[seen] - low[seen])
    inside = (np.maximum(low[seen] - margin, 0) >= still) & (np.minimum(high[seen] + margin, picture) <= still + window)
    fits = high[seen] - low[seen] + 2 * margin <= window
    if inside.mean() >= MOST or fits.mean() < 1 - MOST:  # a face larger than the cut is not helped by moving it
        return np.full(len(low), still)
    return _smoothed(np.interp(np.arange(len(low)), seen, wanted), FOLLOW_S * fps)


def _smoothed(values: Floats, sigma: float) -> Floats:
    """Gaussian smoothing of (m,), whose ends are taken to go on."""
    reach = max(1, round(3 * sigma))
    kernel = cv2.getGaussianKernel(2 * reach + 1, sigma).ravel()
    return np.convolve(np.pad(values, reach, mode="edge"), kernel, mode="valid")


def _unseen(picture: int, window: int, axis: int) -> int:
    return int(_even(np.array([(picture - window) * (NOBODY_LEVEL if axis else 0.5)]), picture - window)[0])


def _even(offsets: Floats, slack: int) -> Ints:
    """Even, so that luma and chroma stay aligned, and inside the picture."""
    return np.clip(2 * np.round(offsets / 2), 0, slack // 2 * 2).astype(np.int64)
