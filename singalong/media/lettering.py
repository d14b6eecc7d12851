"""Text on pictures: one line at a time, in OpenCV's own fonts, which know Latin, Cyrillic, Greek, Chinese, Japanese and
Korean letters; what they do not know is drawn as a question mark.
"""

from __future__ import annotations

import unicodedata

import cv2

from singalong.media.frames import U8

MAX_LINE_CHARS = 80

_FONT = "sans"
_MIN_SIZE_PX = 6
_LINE = 1.25
"""Height of a line over the size of its letters."""
_MEASURED_WIDTH_PX = 1 << 14
"""Wider than any line of MAX_LINE_CHARS: OpenCV measures only what has room."""

BGR = tuple[int, int, int]


def clean_text(text: str, max_chars: int = MAX_LINE_CHARS) -> str:
    """A text as one line that can be drawn: no control characters, no lone surrogates, `max_chars` at most."""
    text = unicodedata.normalize("NFC", text)
    line = " ".join("".join(" " if unicodedata.category(char).startswith("C") else char for char in text).split())
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"


def wrapped(text: str, *, size_px: int, weight: int = 500, room_px: int, max_lines: int = 3) -> list[TextLine]:
    """A text on as many lines as it needs, broken between words; the last of `max_lines` is shortened."""
    words, lines = clean_text(text, max_lines * MAX_LINE_CHARS).split(" "), list[str]()
    while words and len(lines) < max_lines - 1:
        taken = 1
        while taken < len(words) and TextLine.fits(" ".join(words[: taken + 1]), size_px, weight, room_px):
            taken += 1
        lines.append(" ".join(words[:taken]))
        words = words[taken:]
    lines += [" ".join(words)] if words else []
    return [TextLine(line, size_px=size_px, weight=weight, room_px=room_px) for line in lines]


class TextLine:
    """A line of text, cleaned, and shortened to the room it has."""

    def __init__(self, text: str, *, size_px: int, weight: int = 500, room_px: int = _MEASURED_WIDTH_PX) -> None:
        """`size_px` is the height of the letters with their ascenders and descenders, `weight` 400 plain, 700 bold."""
        self._weight, self._size_px = weight, max(_MIN_SIZE_PX, size_px)
        self._font = cv2.FontFace(_FONT)
        self.text = self._shortened(clean_text(text), room_px)
        self.width = min(room_px, self._measure(self.text))
        self.height = round(_LINE * self._size_px)

    @classmethod
    def fits(cls, text: str, size_px: int, weight: int, room_px: int) -> bool:
        """Whether a clean text fits in one line."""
        line = cls(text, size_px=size_px, weight=weight, room_px=room_px)
        return line.text == text

    def draw(self, picture: U8, x: int, y: int, color: BGR | tuple[int]) -> None:
        """Draw it on a picture (h, w, 3) or (h, w), its upper left at x, y; what lies outside is left out."""
        # letters stand on a line four fifths down
        origin = (x, y + round(0.5 * (self.height - self._size_px) + 0.8 * self._size_px))
        cv2.putText(picture, self.text, origin, color, self._font, self._size_px, self._weight)

    def _shortened(self, text: str, room_px: int) -> str:
        """The longest beginning that fits, found by halving: measuring takes a while."""
        if self._measure(text) <= room_px:
            return text
        fits, too_long = min(1, len(text)), len(text) - 1
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._measure(text[:middle].rstrip() + "…") <= room_px:
                fits = middle
            else:
                too_long = middle
        return text[:fits].rstrip() + "…"

    def _measure(self, text: str) -> int:
        _, _, width, _ = cv2.getTextSize(
            (_MEASURED_WIDTH_PX, 64), text, (0, 32), self._font, self._size_px, self._weight
        )
        return int(width) + 1
