"""Lines of text: cleaned, shortened to their room, drawn where they belong."""

import numpy as np
import pytest

from singalong.media.lettering import MAX_LINE_CHARS, TextLine, clean_text, wrapped


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Ada\nLovelace\t\x00 II ", "Ada Lovelace II"),
        ("a\ud800b\u202ec", "a b c"),
        ("e\u0301", "é"),
        ("x" * 500, "x" * (MAX_LINE_CHARS - 1) + "…"),
        ("", ""),
    ],
)
def test_text_is_brought_to_one_line_that_can_be_drawn(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@pytest.mark.parametrize("text", ["a name that is long " * 4, "日本語の名前" * 12, "W" * 79, "", "i"])
@pytest.mark.parametrize("room_px", [1, 40, 300])
def test_a_line_is_cut_to_its_room_and_no_shorter_than_it_must(text: str, room_px: int) -> None:
    line = TextLine(text, size_px=20, room_px=room_px)
    assert line.width <= room_px
    if len(line.text) > 2 and line.text != clean_text(text):
        assert line.text.endswith("…")
        one_more = text[: len(line.text)] + "…"
        assert TextLine(one_more, size_px=20).width > room_px


def test_a_line_is_drawn_inside_its_width_and_height() -> None:
    picture = np.zeros((80, 400, 3), np.uint8)
    line = TextLine("Agy", size_px=30)
    line.draw(picture, 50, 20, (255, 255, 255))
    rows, columns = np.nonzero(picture.max(axis=2))
    assert 50 <= columns.min() <= columns.max() <= 50 + line.width
    assert 18 <= rows.min() <= rows.max() <= 22 + line.height


@pytest.mark.parametrize("place", [(-500, 5), (5, -500), (390, 75), (10_000, 10_000)])
def test_what_lies_outside_the_picture_is_left_out(place: tuple[int, int]) -> None:
    TextLine("outside", size_px=30).draw(np.zeros((80, 400, 3), np.uint8), *place, (255, 255, 255))


def test_a_long_text_is_wrapped_between_words_and_loses_none_of_them() -> None:
    text = "no shot of the span shows that many faces (saw 'index:1'); expected index:0 to index:0, from the left"
    lines = wrapped(text, size_px=18, room_px=400)
    assert len(lines) == 3
    assert all(line.width <= 400 for line in lines)
    assert " ".join(line.text for line in lines) == text


@pytest.mark.parametrize("text", ["x" * 500, "word " * 200, "日本語" * 80, "", "\n\n"])
def test_wrapping_ends_after_its_last_line_whatever_the_text(text: str) -> None:
    lines = wrapped(text, size_px=18, room_px=300, max_lines=2)
    assert 1 <= len(lines) <= 2
    assert all(line.width <= 300 for line in lines)
