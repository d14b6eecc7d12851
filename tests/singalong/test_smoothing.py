from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from singalong.smoothing import smooth_boxes

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
