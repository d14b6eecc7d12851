"""Labels of cropped films: always one, always whole, always in one place."""

from __future__ import annotations

import numpy as np
import pytest

from singalong.media.frames import ColorInfo, YuvFrame, bgr_to_frame
from singalong.media.relabel import Relabel
from singalong.media.titles import LabelPainter

COLOR = ColorInfo(1, 1, 1, 1)
LABEL = "AI-generated"
SHOWN, CANVAS = (640, 360), (200, 360)


def grey(width: int, height: int) -> YuvFrame:
    return bgr_to_frame(np.full((height, width, 3), 140, np.uint8), pts_s=0.0, color=COLOR)


def labelled_cut(x: int) -> YuvFrame:
    """A cut of a labelled film at x."""
    film = LabelPainter(LABEL, width=SHOWN[0], height=SHOWN[1]).paint(grey(*SHOWN))
    planes = [film.y[:, x : x + 200].copy()]
    planes += [plane[:, x // 2 : x // 2 + 100].copy() for plane in (film.u, film.v)]
    return YuvFrame(planes[0], planes[1], planes[2], 0.0, COLOR)


def cropped(x: int, *offsets: int) -> np.ndarray:
    """Luma of that cut with its label put right, in a film that is cut at these offsets."""
    table = np.array([[offset, 0] for offset in (x, *offsets)])
    return Relabel(LABEL, SHOWN, SHOWN, CANVAS, table).paint(labelled_cut(x), (x, 0)).y.astype(int)


@pytest.mark.parametrize("x", [20, 40, 60, 90, 110, 300])
def test_a_label_that_is_cut_becomes_one_whole_label(x: int) -> None:
    expected = LabelPainter(LABEL, width=200, height=360).paint(grey(200, 360)).y.astype(int)
    assert np.abs(labelled_cut(x).y.astype(int) - expected).max() > 60  # as it comes it is another
    assert np.abs(cropped(x) - expected).max() <= 12  # filling in rounds


def test_a_label_that_stays_whole_is_left_alone() -> None:
    assert np.array_equal(cropped(0), labelled_cut(0).y)


def test_in_a_cut_that_moves_the_label_stands_still() -> None:
    """Where it is whole in some frames and cut in others it must not jump."""
    first, later = cropped(0, 100), cropped(100, 0)
    assert np.abs(first - later).max() <= 12  # filling in rounds


def test_a_picture_without_its_label_is_filled_in_from_around_it() -> None:
    ramp = np.tile(np.linspace(20, 230, 200).astype(np.uint8), (360, 1))
    frame = labelled_cut(60)
    x1, y1, x2, y2 = LabelPainter(LABEL, width=SHOWN[0], height=SHOWN[1]).box
    covered = np.zeros(ramp.shape, bool)
    covered[y1:y2, max(0, x1 - 60) : x2 - 60] = True
    frame.y[:] = np.where(covered, 30, ramp)
    table = np.array([[60, 0]])
    made = Relabel(LABEL, SHOWN, SHOWN, CANVAS, table).paint(frame, (60, 0)).y.astype(int)
    label = LabelPainter(LABEL, width=200, height=360).box
    covered[label[1] : label[3], label[0] : label[2]] = False
    assert covered.any()
    assert np.abs(made - ramp)[covered].max() < 25
