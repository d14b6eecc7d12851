"""Contact sheets: faces can be told apart on any footage, and no size and no text breaks them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.media.contact_sheet import (
    PANEL_PX,
    FaceMark,
    Note,
    Panel,
    Section,
    Sheet,
    draw_sheet,
    mark_face,
    picture_size,
)
from singalong.media.time_strip import Lane, Mark, Strip, draw_strip

BOX = (60, 40, 160, 180)


def marked(mark: Mark, level: int) -> np.ndarray:
    """A plain picture with one face, as brightness differences to the picture."""
    picture = np.full((240, 320, 3), level, np.uint8)
    mark_face(picture, FaceMark("0", BOX, mark))
    return np.abs(picture.astype(int) - level).max(axis=2)


@pytest.mark.parametrize("level", [0, 128, 255], ids=["black", "grey", "white"])
@pytest.mark.parametrize("mark", list(Mark))
def test_every_box_stands_out_from_dark_and_light_footage(mark: Mark, level: int) -> None:
    column = marked(mark, level)[:, BOX[0] - 8 : BOX[0] + 8].max(axis=1)
    share = (column[BOX[1] : BOX[3]] > 60).mean()
    assert share > (0.4 if mark is Mark.UNUSABLE else 0.99)  # half of a dashed line are gaps


@pytest.mark.parametrize("level", [0, 255])
def test_the_face_that_sings_has_a_thicker_box_of_another_colour_and_others_are_not_solid_or_thin(level: int) -> None:
    area = {mark: int((marked(mark, level) > 60).sum()) for mark in Mark}
    assert area[Mark.SINGS] > 1.7 * area[Mark.USABLE] > 1.7 * area[Mark.UNUSABLE]
    assert len({mark.bgr for mark in Mark}) == 3


@pytest.mark.parametrize(
    ("shown", "size"),
    [((1920, 1080), (776, 436)), ((720, 1280), (400, 711)), ((320, 180), (776, 436)), ((1000, 1000), (400, 400))],
)
def test_pictures_keep_their_shape_in_panels(shown: tuple[int, int], size: tuple[int, int]) -> None:
    assert picture_size(*shown) == size


def sheet(size: tuple[int, int], boxes: list[tuple[int, int, int, int]], text: str, panels: int = 1) -> Sheet:
    width, height = picture_size(*size)
    faces = tuple(FaceMark(text[:3], box, mark) for box, mark in zip(boxes, list(Mark) * len(boxes), strict=False))
    notes = tuple(Note(face.mark, (text, text, text)) for face in faces)
    panel = Panel(text, np.full((height, width, 3), 90, np.uint8), faces, notes)
    strip = Strip(0.0, 8.0, ((0.0, 3.0, text), (3.0, 8.0, "1")), (Lane(text, ((0.5, 2.0, Mark.SINGS),)),))
    return Sheet(text, text, (Section(text, ((text, True),), (panel,) * panels, strip),))


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (320, 240), (32, 2000), (2000, 32)])
@pytest.mark.parametrize("panels", [1, 2, 5])
def test_sheets_are_one_or_two_panels_wide_and_keep_every_picture_whole(size: tuple[int, int], panels: int) -> None:
    drawn = draw_sheet(sheet(size, [], "name", panels))
    columns = 1 if panels == 1 else 2
    assert columns * PANEL_PX < drawn.shape[1] < columns * PANEL_PX + 120
    width, height = picture_size(*size)
    assert (drawn == 90).all(axis=2).sum() >= panels * width * height


@settings(max_examples=25)
@given(
    text=st.text(st.characters(), max_size=120),
    size=st.sampled_from([(640, 360), (360, 640), (33, 700)]),
    boxes=st.lists(st.tuples(*[st.integers(-300, 1200)] * 4), max_size=4),
)
def test_no_name_and_no_box_breaks_a_sheet(text: str, size: tuple[int, int], boxes: list[tuple[int, ...]]) -> None:
    corners = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in boxes]
    draw_sheet(sheet(size, corners, text))


def test_tags_of_faces_at_the_edge_stay_in_the_picture() -> None:
    boxes = [(-30, -20, 60, 70), (730, -10, 800, 90), (700, 400, 776, 436)]
    plain, tagged = (draw_sheet(sheet((1920, 1080), own, "0")) for own in ([], boxes))
    tags = (tagged == np.array(Mark.SINGS.bgr)).all(axis=2) | (tagged == np.array(Mark.USABLE.bgr)).all(axis=2)
    assert tags.sum() > 1000
    assert tagged.shape[1] == plain.shape[1]


def test_a_strip_shows_when_somebody_sings() -> None:
    spans = ((0.0, 2.0, Mark.USABLE), (2.0, 4.0, Mark.SINGS), (6.0, 8.0, Mark.UNUSABLE))
    picture = draw_strip(Strip(0.0, 8.0, ((0.0, 8.0, "0"),), (Lane("index:0", spans),)), 1128)
    columns = {mark: np.flatnonzero((picture == np.array(mark.bgr)).all(axis=2).any(axis=0)) for mark in Mark}
    left, scale = 128, (1128 - 128 - 32) / 8
    for start_s, end_s, mark in spans:
        assert columns[mark].min() == pytest.approx(left + start_s * scale, abs=2)
        assert columns[mark].max() == pytest.approx(left + end_s * scale, abs=2)


@pytest.mark.parametrize("span", [(0.0, 0.0), (5.0, 5.01), (0.0, 7200.0), (3599.9, 3600.1)])
def test_strips_of_any_length_can_be_drawn(span: tuple[float, float]) -> None:
    shots = tuple((span[0] + n, span[0] + n + 1.0, str(n)) for n in range(50))
    lane = Lane("index:0", ((span[0], span[1], Mark.SINGS), (span[0] - 5, span[1] + 5, Mark.USABLE)))
    assert draw_strip(Strip(*span, shots, (lane,)), 840).shape[1] == 840
