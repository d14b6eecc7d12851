from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from singalong import smoothing
from singalong.smoothing import STEP_PX, smooth_boxes, smooth_path, steady_round

BOXES = arrays(np.int64, st.tuples(st.integers(1, 14), st.just(4)), elements=st.integers(0, 2000))


def paper_rule(boxes: np.ndarray, window: int) -> np.ndarray:
    """The rule as the paper's program runs it, one box after the other, in place."""
    rows = [list(map(int, row)) for row in boxes]
    for i in range(len(rows)):
        part = rows[i : i + window] if i + window <= len(rows) else rows[len(rows) - window :]
        rows[i] = [int(sum(column) / len(column)) for column in zip(*part, strict=True)]
    return np.array(rows)


@pytest.mark.parametrize("num_boxes", [1, 2, 3, 4, 5, 6, 7, 8, 12, 25])
def test_smoothing_equals_the_original_program(golden: Path, num_boxes: int) -> None:
    with np.load(golden / "box_smooth.npz") as vectors:
        np.testing.assert_array_equal(smooth_boxes(vectors[f"in{num_boxes}"]), vectors[f"out{num_boxes}"])


@given(BOXES, st.integers(1, 7))
def test_smoothing_follows_the_papers_rule(boxes: np.ndarray, window: int) -> None:
    np.testing.assert_array_equal(smooth_boxes(boxes, window), paper_rule(boxes, window))


@pytest.mark.parametrize("num_boxes", [1, 3, 4, 5, 30])
def test_a_static_box_stays_static(num_boxes: int) -> None:
    boxes = np.tile([101, 53, 233, 217], (num_boxes, 1))
    np.testing.assert_array_equal(smooth_boxes(boxes), boxes)


def test_a_window_of_one_changes_nothing_and_copies() -> None:
    boxes = np.array([[1, 2, 3, 4], [9, 9, 20, 30]])
    smooth = smooth_boxes(boxes, 1)
    np.testing.assert_array_equal(smooth, boxes)
    assert not np.shares_memory(smooth, boxes)


@pytest.mark.parametrize("order", [1, 2])
def test_a_path_that_is_a_line_stays_what_it_is(order: int) -> None:
    seen_s, times_s = np.array([0.0, 0.2, 0.35, 0.6, 0.8]), np.linspace(0, 0.8, 21)
    found = smooth_path(seen_s, np.stack([3 * seen_s, 7 - seen_s], axis=1), times_s, 0.4, order=order)
    np.testing.assert_allclose(found, np.stack([3 * times_s, 7 - times_s], axis=1), atol=0.03)


def test_a_turning_point_keeps_its_height() -> None:
    """A mean would cut it off."""
    seen_s = np.arange(-5, 6) * 0.2
    peak = smooth_path(seen_s, -100 * seen_s[:, None] ** 2, np.array([0.0]), 0.4)
    assert peak[0, 0] == pytest.approx(0, abs=0.3)
    assert np.mean(-100 * seen_s[3:8] ** 2) < -7


def test_a_single_detection_is_a_path() -> None:
    np.testing.assert_array_equal(smooth_path(np.array([1.0]), np.array([[5.0, 6.0]]), np.array([1.0]), 0.4), [[5, 6]])


def test_where_detections_are_far_apart_the_path_is_a_line_between_them() -> None:
    found = smooth_path(np.array([0.0, 3.0]), np.array([[0.0], [30.0]]), np.array([0.0, 1.5, 3.0]), 0.4)
    np.testing.assert_allclose(found[:, 0], [0, 15, 30], atol=0.01)


def test_a_radius_of_nothing_joins_the_detections_by_lines() -> None:
    found = smooth_path(np.array([0.0, 1.0, 2.0]), np.array([[0.0], [5.0], [0.0]]), np.array([0.5, 1.0, 1.5]), 0.0)
    assert found[:, 0].tolist() == [2.5, 5.0, 2.5]


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_a_path_stays_near_its_detections(num_seen: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen_s = np.cumsum(rng.uniform(0.02, 0.5, num_seen))
    values = rng.uniform(-10, 10, (num_seen, 2))
    found = smooth_path(seen_s, values, np.linspace(seen_s[0], seen_s[-1], 97), 0.4)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 60


def test_long_paths_are_smoothed_piece_by_piece_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen_s, times_s = np.arange(0, 20, 0.2), np.arange(0, 19, 0.04)
    values = np.random.default_rng(0).normal(size=(len(seen_s), 3))
    whole = smooth_path(seen_s, values, times_s, 0.4)
    monkeypatch.setattr(smoothing, "_CHUNK_FRAMES", 7)
    np.testing.assert_allclose(smooth_path(seen_s, values, times_s, 0.4), whole, atol=1e-9)


def test_whole_pixels_do_not_flicker_about_a_half() -> None:
    values = 10.5 + 0.2 * np.sin(np.arange(50))[:, None]
    assert len(np.unique(np.rint(values))) == 2
    assert len(np.unique(steady_round(values))) == 1


@given(arrays(np.float64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.floats(-1e4, 1e4)))
def test_whole_pixels_are_never_a_pixel_off(values: np.ndarray) -> None:
    whole = steady_round(values)
    assert whole.shape == values.shape
    assert whole.dtype == np.int64
    assert not len(values) or np.abs(whole - values).max() <= STEP_PX
