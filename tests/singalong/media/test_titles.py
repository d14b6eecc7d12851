"""Titles: where they are painted, how they fade in, and that no text can break them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.contracts import Title, Verdict
from singalong.media.frames import ColorInfo, YuvFrame, bgr_to_frame, frame_to_bgr
from singalong.media.titles import LabelPainter, TitlePainter

COLOR = ColorInfo(1, 1, 1, 1)


def grey(width: int = 640, height: int = 360) -> YuvFrame:
    return bgr_to_frame(np.full((height, width, 3), 128, np.uint8), pts_s=0.0, color=COLOR)


def painter(title: Title, width: int = 640, height: int = 360) -> TitlePainter:
    return TitlePainter(title, width=width, height=height, fps=Fraction(25))


def test_only_the_lower_left_changes_and_the_frame_given_stays_as_it_was() -> None:
    label, frame = painter(Title(name="Ada", note="confidence 0.31", verdict=Verdict.PASS)), grey()
    painted = label.paint(frame, 10)
    assert np.array_equal(frame.y, grey().y)
    x1, y1, x2, y2 = label.box
    assert 0 < x1 < x2 < 400
    assert 230 < y1 < y2 < 360
    changed = painted.y != frame.y
    changed[y1:y2, x1:x2] = False
    assert not changed.any()
    assert painted.y[y1:y2, x1:x2].max() > 220  # letters
    assert painted.y[y1:y2, x1:x2].min() < 70  # what they stand on


def test_it_fades_in_and_then_stands() -> None:
    label = painter(Title(name="Ada"))
    change = [np.abs(label.paint(grey(), index).y.astype(int) - 128).sum() for index in (0, 2, 4, 5, 90)]
    assert 0 < change[0] < change[1] < change[2] == change[3] == change[4]


@pytest.mark.parametrize(
    ("verdict", "channel"), [(Verdict.PASS, 1), (Verdict.FAIL, 2)], ids=["pass is green", "fail is red"]
)
def test_the_verdict_is_a_colour(verdict: Verdict, channel: int) -> None:
    bgr = frame_to_bgr(painter(Title(name="Ada", note="x", verdict=verdict)).paint(grey(), 10)).astype(int)
    spread = bgr[..., channel] - np.delete(bgr, channel, axis=2).max(axis=2)
    assert spread.max() > 60


def test_a_long_name_is_shortened_to_the_picture() -> None:
    label = painter(Title(name="wide " * 40, note="n " * 90), 360, 640)
    assert label.box[2] <= 360
    assert label.box[0] >= 0


@settings(max_examples=40)
@given(
    name=st.text(st.characters(), max_size=100),
    note=st.text(st.characters(), max_size=40),
    size=st.sampled_from([(640, 360), (360, 640), (96, 64), (32, 32)]),
)
def test_no_text_and_no_size_breaks_it(name: str, note: str, size: tuple[int, int]) -> None:
    label = TitlePainter(Title(name=name, note=note), width=size[0], height=size[1], fps=Fraction(30000, 1001))
    x1, y1, x2, y2 = label.box
    assert 0 <= x1 < x2 <= size[0]
    assert 0 <= y1 < y2 <= size[1]
    label.paint(grey(*size), 0)


def label(text: str = "AI-generated", width: int = 640, height: int = 360, **options: Fraction) -> LabelPainter:
    return LabelPainter(text, width=width, height=height, **options)


@pytest.mark.parametrize("level", [0, 128, 255], ids=["black", "grey", "white"])
def test_a_label_can_be_read_on_any_picture(level: int) -> None:
    painter = label()
    picture = bgr_to_frame(np.full((360, 640, 3), level, np.uint8), pts_s=0.0, color=COLOR)
    x1, y1, x2, y2 = painter.box
    inside = painter.paint(picture).y[y1:y2, x1:x2].astype(int)
    assert np.percentile(inside, 99) - np.median(inside) > 90  # letters against what they stand on


def test_a_label_stands_at_the_upper_left_and_changes_nothing_else() -> None:
    painter, frame = label(), grey()
    changed = painter.paint(frame).y != frame.y
    assert np.array_equal(frame.y, grey().y)
    x1, y1, x2, y2 = painter.box
    assert x1 > 0
    assert y1 > 0
    assert x2 < 160
    assert y2 < 60
    changed[y1:y2, x1:x2] = False
    assert not changed.any()


def test_in_portrait_a_label_hangs_below_what_phones_cover() -> None:
    assert label(width=1080, height=1920).box[1] >= 131
    assert label(width=1920, height=1080).box[1] < 100


def test_a_label_keeps_its_shape_where_pixels_are_not_square() -> None:
    plain, wide = label(), label(width=320, pixel_aspect=Fraction(2))
    assert wide.box[3] - wide.box[1] == plain.box[3] - plain.box[1]
    assert 2 * (wide.box[2] - wide.box[0]) == pytest.approx(plain.box[2] - plain.box[0], abs=2)


@settings(max_examples=40)
@given(
    text=st.text(st.characters(), max_size=60),
    size=st.sampled_from([(640, 360), (360, 640), (96, 64), (32, 32)]),
    aspect=st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(8, 15), Fraction(3)]),
)
def test_no_label_and_no_size_breaks_it(text: str, size: tuple[int, int], aspect: Fraction) -> None:
    painter = label(text, *size, pixel_aspect=aspect)
    x1, y1, x2, y2 = painter.box
    assert 0 <= x1 < x2 <= size[0]
    assert 0 <= y1 < y2 <= size[1]
    painter.paint(grey(*size))
