"""What happens in a pair over time: where the sync is good, where somebody sings, which frames were passed through.

Shape legend: N scored windows, O = NUM_OFFSETS offsets, P points of the curve, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from singalong.frames_table import DISTANCES, MAX_OFFSET_FRAMES, window_rows
from singalong.scoring import MIN_OFFSET_SHARE

COLUMNS = ["frame", "source_s", "outcome", "x1", "y1", "x2", "y2", "voiced", DISTANCES]
"""What of a frames table is read."""
WINDOW_S = 1.0
"""Distances are averaged over this much around each point: a syllable or two. Less is noise, more hides a bad word."""
MAX_POINTS = 600
"""About as many as a screen has room for."""
MIN_STEP_S = 0.08
MIN_WINDOWS = 5
"""A fifth of what a second holds; with fewer the minimum over 31 offsets is chance."""
_LIP_CENTRE_S = 0.1
"""A lip window covers 0.2 s from the frame it starts at."""

Floats = NDArray[np.float64]


def curve_of(tables: Sequence[pa.Table], *, fps: float, cuts_s: Sequence[float] = ()) -> dict[str, Any]:
    """The curve of a pair, for JSON: lists of plain numbers, None where there is nothing to say.

    Args:
        tables: frames tables of the pair's shards that are done, in order, with COLUMNS.
        fps: of the pair.
        cuts_s: where shots of the clip begin, on its own time line.

    Returns a dictionary of:
        points: `t` seconds of the output (P,), `confidence` (P,), `offset` in 25 fps frames (P,).
        first_frame, source_s (F,): the output frame the lists below begin with; the time of the clip shown in each.
        boxes: 4 F pixels x1 y1 x2 y2 of the face, -1 where there is none.
        outcomes: [first frame, end frame (exclusive), outcome] in order; voiced: [first frame, end frame].
        cuts: output frames at which another shot begins.
    """
    frames = np.concatenate([np.empty(0, np.int64), *(_ints(table, "frame") for table in tables)])
    source_s = np.concatenate([np.empty(0), *(table["source_s"].to_numpy() for table in tables)])
    outcomes = [outcome for table in tables for outcome in table["outcome"].to_pylist()]
    voiced = [sings for table in tables for sings in table["voiced"].to_pylist()]
    return {
        "fps": fps,
        "points": _points(tables, frames, fps),
        "frames": frames.tolist() if _has_gaps(frames) else None,
        "first_frame": int(frames[0]) if len(frames) else 0,
        "source_s": [round(value, 4) for value in source_s.tolist()],
        "boxes": np.concatenate([np.empty(0, np.int64), *(_boxes(table) for table in tables)]).tolist(),
        "outcomes": [[int(frames[a]), int(frames[b - 1]) + 1, outcomes[a]] for a, b in _runs(outcomes, frames)],
        "voiced": [[int(frames[a]), int(frames[b - 1]) + 1] for a, b in _runs(voiced, frames) if voiced[a]],
        "cuts": _cuts(frames, source_s, cuts_s),
    }


def windowed_confidence(
    times_N: Floats, rows_NO: NDArray[np.float32], at_P: Floats, window_s: float = WINDOW_S
) -> tuple[Floats, Floats]:
    """Confidence and offset (25 fps frames) of the windows within `window_s` around each time; NaN where too few.

    The formula is that of `singalong.scoring.read_curve`, on running sums: the cost does not grow with the window.
    """
    there_NO = np.isfinite(rows_NO)
    sums = np.concatenate([np.zeros((1, rows_NO.shape[1])), np.cumsum(np.where(there_NO, rows_NO, 0.0), 0, np.float64)])
    counts = np.concatenate([np.zeros((1, rows_NO.shape[1]), np.int64), np.cumsum(there_NO, 0)])
    low, high = (np.searchsorted(times_N, at_P + side * window_s / 2) for side in (-1, 1))
    num_P1 = (high - low)[:, None]
    found_PO = counts[high] - counts[low]
    usable_PO = (found_PO >= np.maximum(1.0, MIN_OFFSET_SHARE * num_P1)) & (num_P1 >= MIN_WINDOWS)
    curve_PO = np.where(usable_PO, (sums[high] - sums[low]) / np.maximum(found_PO, 1), np.nan)
    good_P = usable_PO.sum(1) > MIN_OFFSET_SHARE * rows_NO.shape[1]
    confidence_P, offset_P = np.full(len(at_P), np.nan), np.full(len(at_P), np.nan)
    if good_P.any():
        curves = curve_PO[good_P]
        confidence_P[good_P] = np.nanmedian(curves, axis=1) - np.nanmin(curves, axis=1)
        offset_P[good_P] = MAX_OFFSET_FRAMES - np.nanargmin(curves, axis=1)
    return confidence_P, offset_P


def _points(tables: Sequence[pa.Table], frames: NDArray[np.int64], fps: float) -> dict[str, Any]:
    if not len(frames):
        return {"t": [], "confidence": [], "offset": []}
    rows_NO = np.concatenate([window_rows(table, DISTANCES) for table in tables])
    starts = [np.repeat(_ints(table, "frame"), _lengths(table)) for table in tables]
    times_N = np.concatenate(starts) / fps + _LIP_CENTRE_S
    start_s, end_s = frames[0] / fps, (frames[-1] + 1) / fps
    step_s = max(MIN_STEP_S, (end_s - start_s) / MAX_POINTS)
    at_P = np.arange(start_s + step_s / 2, end_s, step_s)
    confidence_P, offset_P = windowed_confidence(times_N, rows_NO, at_P)
    return {
        "t": [round(value, 3) for value in at_P.tolist()],
        "confidence": [None if np.isnan(value) else round(value, 3) for value in confidence_P.tolist()],
        "offset": [None if np.isnan(value) else int(value) for value in offset_P.tolist()],
    }


def _lengths(table: pa.Table) -> NDArray[np.int64]:
    """How many scored windows start at each frame."""
    offsets = [np.diff(chunk.offsets.to_numpy()) for chunk in table[DISTANCES].chunks]
    return np.concatenate([np.empty(0, np.int64), *offsets]).astype(np.int64)


def _ints(table: pa.Table, name: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table[name].to_numpy().astype(np.int64)
    return values


def _boxes(table: pa.Table) -> NDArray[np.int64]:
    columns = [table[name].fill_null(-1).to_numpy() for name in ("x1", "y1", "x2", "y2")]
    boxes: NDArray[np.int64] = np.stack(columns, axis=1).astype(np.int64).ravel()
    return boxes


def _has_gaps(frames: NDArray[np.int64]) -> bool:
    """Whether a shard in the middle is not done yet."""
    return bool(len(frames) and frames[-1] - frames[0] + 1 != len(frames))


def _runs(values: Sequence[object], frames: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Half-open ranges of indices in which the value stays the same and no frame is missing."""
    starts = [
        index
        for index in range(len(values))
        if index == 0 or values[index] != values[index - 1] or frames[index] != frames[index - 1] + 1
    ]
    return list(zip(starts, [*starts[1:], len(values)][: len(starts)], strict=True))


def _cuts(frames: NDArray[np.int64], source_s: Floats, cuts_s: Sequence[float]) -> list[int]:
    """Output frames that show another shot than the frame before."""
    if len(cuts_s) < 2 or not len(frames):
        return []
    shots = np.searchsorted(np.asarray(cuts_s), source_s + 1e-6, side="right")
    return [int(frame) for frame in frames[1:][np.diff(shots) != 0]]
