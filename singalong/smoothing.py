"""Smoothing of a face's path over time: without lag, in seconds; and the paper's way, in frames.

Shape legend: K detections, F frames, V values; W detections near a frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

IntBoxes = NDArray[np.int64]
Floats = NDArray[np.float64]

_CHUNK_FRAMES = 4096
"""Frames smoothed at once: bounds memory, whatever the track's length."""

STEP_PX = 0.75
"""Edges of whole pixels move when this far off; half a pixel would be plain rounding."""

_STIFFNESS = 1e-3
"""How much a bend or a slope must explain before it is believed; decides where detections are too few to tell."""


def smooth_path(seen_s: Floats, values_KV: Floats, times_s: Floats, radius_s: float, *, order: int = 2) -> Floats:
    """Values at each time on a smooth path through detections, without lag.

    Local polynomial regression (Cleveland, "Robust Locally Weighted Regression", JASA 1979): for each time, the
    polynomial that fits best the detections within `radius_s` to either side, near ones weighing more (tricube).
    Looking both ways it has no lag; being a polynomial it does not flatten the turning points of a nod, as a mean
    does, nor the ends of a track. The radius is in seconds, so it works alike at all frame rates. Where fewer than
    two detections are within it, the path is a line between them.

    Args:
        seen_s: (K,) times of the detections, increasing.
        values_KV: their values.
        times_s: (F,) times asked for.
        radius_s: of the window; 0 joins the detections by lines.
        order: of the polynomial, 1 or 2.

    Returns:
        (F, V).
    """
    values_FV = np.stack([np.interp(times_s, seen_s, column) for column in values_KV.T], axis=1)
    for start in range(0, len(times_s), _CHUNK_FRAMES):
        part = slice(start, start + _CHUNK_FRAMES)
        fitted, is_fit = _fit(seen_s, values_KV, times_s[part], radius_s, order)
        values_FV[part][is_fit] = fitted[is_fit]
    return values_FV


def steady_round(values_FV: Floats) -> IntBoxes:
    """Whole numbers that change only where a value has moved by more than STEP_PX.

    So the edges of a face that hardly moves do not flicker by a pixel.
    """
    columns = [_steady_column(column) for column in values_FV.T.tolist()]
    return np.array(columns, dtype=np.int64).reshape(values_FV.shape[::-1]).T


def _steady_column(values: list[float]) -> list[int]:
    whole, held = [], math.inf
    for value in values:
        if abs(value - held) > STEP_PX:
            held = round(value)
        whole.append(int(held))
    return whole


def _fit(
    seen_s: Floats, values_KV: Floats, times_s: Floats, radius_s: float, order: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """The polynomials' values (F, V) and whether there were enough detections for one (F,)."""
    first, end = (np.searchsorted(seen_s, times_s + sign * radius_s) for sign in (-1, 1))
    num_near = end - first
    if not len(num_near) or num_near.max() < 2:
        return np.empty((len(times_s), values_KV.shape[1])), np.zeros(len(times_s), bool)
    index_FW = first[:, None] + np.arange(num_near.max())[None]
    is_near = index_FW < end[:, None]
    index_FW = np.minimum(index_FW, len(seen_s) - 1)
    away_FW = (seen_s[index_FW] - times_s[:, None]) / radius_s
    weights_FW = np.where(is_near, (1 - np.minimum(np.abs(away_FW), 1) ** 3) ** 3, 0.0)
    powers_FWP = away_FW[..., None] ** np.arange(order + 1)
    weighted_FPW = np.swapaxes(powers_FWP * weights_FW[..., None], 1, 2)
    total_F = weights_FW.sum(axis=1)
    stiffness = np.diag([0.0, *[_STIFFNESS] * order])
    normal_FPP = weighted_FPW @ powers_FWP + stiffness * np.maximum(total_F, 1e-9)[:, None, None]
    is_fit = (num_near >= 2) & (total_F > 1e-3)
    normal_FPP[~is_fit] = np.eye(order + 1)
    # Around the nearest value: so a stiff path bends towards it, not towards 0.
    middle_FV = values_KV[index_FW[np.arange(len(times_s)), np.argmax(weights_FW, axis=1)]]
    moments_FPV = weighted_FPW @ (values_KV[index_FW] - middle_FV[:, None])
    return middle_FV + np.linalg.solve(normal_FPP, moments_FPV)[:, 0], is_fit


def smooth_boxes(boxes: IntBoxes, window: int = 5) -> IntBoxes:
    """Smooth the boxes of one face over time exactly as Wav2Lip's inference program does.

    Each box becomes the mean of itself and the `window - 1` boxes after it, truncated towards zero. Where
    fewer follow, it becomes the mean of the last `window` boxes as they stand by then, smoothed ones
    included. A track shorter than the window keeps the program's quirk of counting its start from the end: of
    3 boxes with a window of 5 the last two are averaged, of 4 every box becomes the last one.

    Args:
        boxes: integers (n, 4), one row a frame, in time order.
        window: frames averaged; 1 changes nothing.

    Returns:
        Integers (n, 4), a new array.
    """
    smooth = np.array(boxes, dtype=np.int64)
    num_full = len(smooth) - window + 1
    if num_full > 0:
        # Rows are replaced front to back, and a full window looks only forward, at rows not yet replaced.
        windows = np.lib.stride_tricks.sliding_window_view(smooth, window, axis=0)
        smooth[:num_full] = np.trunc(windows.sum(axis=-1) / window)
    for row in range(max(num_full, 0), len(smooth)):
        smooth[row] = np.trunc(smooth[len(smooth) - window :].mean(axis=0))
    return smooth
