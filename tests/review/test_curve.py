"""The curve over time: the formula is that of the scores, and every second shows what happens in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from review.curve import WINDOW_S, curve_of, windowed_confidence
from singalong.frames_table import NUM_OFFSETS, WindowRows, frames_table
from singalong.scoring import offset_curve, read_curve

RNG = np.random.default_rng(5)


def rows_of(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """In sync in the first half, three frames off in the second."""
    rows = RNG.uniform(9, 9.5, (number, NUM_OFFSETS)).astype(np.float32)
    rows[: number // 2, NUM_OFFSETS // 2] -= 5
    rows[number // 2 :, NUM_OFFSETS // 2 - 3] -= 2
    return rows


def table(start: int, number: int, *, outcomes: list[str] | None = None, voiced: list[bool] | None = None) -> pa.Table:
    rows = rows_of(number)
    return frames_table(
        start_frame=start,
        source_s=np.arange(start, start + number) / 25,
        outcomes=outcomes or ["synced"] * number,
        boxes=[(1, 2, 3, 4) if frame % 2 else None for frame in range(number)],
        voiced=voiced or [True] * number,
        windows=replace(WindowRows.none(), start_frames=start + np.arange(number), distances=rows, mismatched=rows),
    )


def test_a_point_is_the_score_of_the_windows_around_it() -> None:
    rows = rows_of(200)
    rows[:30, :10] = np.nan  # the song had not begun
    times = np.arange(200) / 25
    at = np.array([0.0, 0.5, 2.0, 6.0, 20.0])
    confidence, offset = windowed_confidence(times, rows, at)
    for place, time in enumerate(at[:-1]):
        inside = rows[(times >= time - WINDOW_S / 2) & (times < time + WINDOW_S / 2)]
        expected = read_curve(offset_curve(inside))
        assert expected is not None
        assert confidence[place] == pytest.approx(expected.confidence, abs=1e-5)
        assert offset[place] == expected.offset_frames
    assert np.isnan(confidence[-1])


def test_the_curve_tells_good_seconds_from_bad_ones() -> None:
    points = curve_of([table(0, 100), table(100, 100)], fps=25.0)["points"]
    by_time = dict(zip(points["t"], zip(points["confidence"], points["offset"], strict=True), strict=True))
    good = [value for time, value in by_time.items() if 0.5 < time < 1.5]
    bad = [value for time, value in by_time.items() if 6.7 < time < 7.3]
    assert min(confidence for confidence, _ in good) > 4
    assert {offset for _, offset in good} == {0}
    assert {offset for _, offset in bad} == {3}
    assert max(points["t"]) < 8


def test_spans_of_frames_are_joined_and_a_missing_shard_is_a_gap() -> None:
    outcomes = ["synced"] * 4 + ["hidden"] * 3 + ["synced"] * 3
    first = table(0, 10, outcomes=outcomes, voiced=[False] * 5 + [True] * 5)
    told = curve_of([first, table(20, 5)], fps=25.0)
    assert told["outcomes"] == [[0, 4, "synced"], [4, 7, "hidden"], [7, 10, "synced"], [20, 25, "synced"]]
    assert told["voiced"] == [[5, 10], [20, 25]]
    assert told["frames"] == [*range(10), *range(20, 25)]
    assert told["boxes"][:8] == [-1, -1, -1, -1, 1, 2, 3, 4]
    assert curve_of([first], fps=25.0)["frames"] is None


def test_cuts_are_where_another_shot_is_shown() -> None:
    assert curve_of([table(0, 50)], fps=25.0, cuts_s=[0.0, 0.4, 1.0])["cuts"] == [10, 25]
    assert curve_of([table(0, 50)], fps=25.0, cuts_s=[0.0])["cuts"] == []


def test_nothing_done_gives_an_empty_curve() -> None:
    told = curve_of([], fps=25.0)
    assert (told["points"]["t"], told["source_s"], told["outcomes"]) == ([], [], [])
