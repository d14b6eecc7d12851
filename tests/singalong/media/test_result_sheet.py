"""Results beside their sources: both are shown whole and enlarged, whatever the shape and wherever the face is."""

from __future__ import annotations

import numpy as np
import pytest

from singalong.media.result_sheet import Moment, draw_moments

Size = tuple[int, int]
RED, BLUE, GREEN = (0, 0, 220), (220, 0, 0), (0, 220, 0)


def moment(size: Size, box: tuple[int, int, int, int], pixel_aspect: float = 1.0) -> Moment:
    """A red source and a blue result with a green face."""
    pictures = []
    for color in (RED, BLUE):
        picture = np.full((size[1], size[0], 3), color, np.uint8)
        x1, y1, x2, y2 = (max(0, side) for side in box)
        picture[y1:y2, x1:x2] = GREEN
        pictures.append(picture)
    return Moment("mouth open", pictures[0], pictures[1], box, pixel_aspect)


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (320, 320), (1280, 288), (64, 48)])
def test_source_and_result_are_shown_whole_and_enlarged(size: Size) -> None:
    box = (size[0] // 2, size[1] // 4, size[0] // 2 + size[0] // 10, size[1] // 4 + size[0] // 10)
    drawn = draw_moments("name", "generator", [moment(size, box)])
    red = (np.abs(drawn.astype(int) - RED).max(axis=2) < 12).sum()
    blue = (np.abs(drawn.astype(int) - BLUE).max(axis=2) < 12).sum()
    green = (np.abs(drawn.astype(int) - GREEN).max(axis=2) < 12).sum()
    assert red == pytest.approx(blue, rel=0.02)
    assert green > 0.3 * 2 * 300 * 300 / 1.5**2  # the enlarged faces


@pytest.mark.parametrize("box", [(-40, -30, 60, 70), (600, 300, 700, 420), (100, 100, 101, 101), (-50, 0, 900, 900)])
def test_a_face_at_or_beyond_the_edge_can_be_shown(box: tuple[int, int, int, int]) -> None:
    assert draw_moments("name", "x", [moment((640, 360), box)]).shape[0] > 300


def test_every_moment_has_a_row() -> None:
    one = moment((640, 360), (100, 100, 200, 200))
    heights = [draw_moments("name", "x", [one] * number).shape[0] for number in (1, 2, 3)]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 300


def test_pixels_that_are_not_square_are_shown_square() -> None:
    wide = draw_moments("name", "x", [moment((320, 360), (100, 100, 150, 200), 2.0)])
    plain = draw_moments("name", "x", [moment((640, 360), (200, 100, 300, 200))])
    assert wide.shape == plain.shape
    assert np.abs(wide.astype(int) - plain.astype(int)).mean() < 3
