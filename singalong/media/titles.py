"""Titles: a label at the lower left of a film, painted over the pictures of one part of a montage."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.contracts import Title, Verdict
from singalong.media.frames import F32, U8, Box, YuvFrame, paste_bgr

MAX_TITLE_CHARS = 80

# Shares of the shorter side of the picture.
_NAME_SIZE, _NOTE_SIZE = 0.064, 0.042
_MARGIN, _PADDING, _BAR = 0.05, 0.03, 0.014
_LINE = 1.25
"""Height of a line over the size of its letters."""
_NAME_WEIGHT, _NOTE_WEIGHT = 600, 500
_FADE_S = 0.2
_SMOOTH = 4
"""Round corners are drawn this many times larger and made smaller again, so that their edges are soft."""

_WHITE, _GREY, _BLACK = (255, 255, 255), (225, 225, 225), (18, 16, 16)
_PANEL_ALPHA = 0.62
_VERDICT_BGR = {
    Verdict.PASS: (96, 200, 88),
    Verdict.REVIEW: (60, 180, 250),
    Verdict.FAIL: (80, 80, 235),
    Verdict.NOT_SCORABLE: (170, 170, 170),
}


class TitlePainter:
    """Paints one title over frames of one size; the label is drawn once and blended into each."""

    def __init__(self, title: Title, *, width: int, height: int, fps: Fraction) -> None:
        self._bgr, self._alpha = _draw(title, width, height)
        panel_height, panel_width = self._alpha.shape
        margin = round(_MARGIN * min(width, height))
        left, bottom = min(margin, width - panel_width), max(height - margin, panel_height)
        self.box: Box = (left, bottom - panel_height, left + panel_width, bottom)
        self._fade_frames = max(1, round(_FADE_S * fps))

    def paint(self, frame: YuvFrame, index: int) -> YuvFrame:
        """A copy of a frame with the title on it; `index` counts from the title's first frame, where it fades in."""
        painted = frame.copy()
        strength = min(1.0, (index + 1) / self._fade_frames)
        paste_bgr(painted, self.box, self._bgr, self._alpha * np.float32(strength))
        return painted


def clean_text(text: str) -> str:
    """A text as one line that can be drawn: no control characters, no lone surrogates, MAX_TITLE_CHARS at most."""
    text = unicodedata.normalize("NFC", text)
    line = " ".join("".join(" " if unicodedata.category(char).startswith("C") else char for char in text).split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1].rstrip() + "…"


def _draw(title: Title, width: int, height: int) -> tuple[U8, F32]:
    """The label as colour (h, w, 3) and opacity (h, w), no larger than the picture."""
    side = min(width, height)
    padding, bar = max(2, round(_PADDING * side)), max(2, round(_BAR * side))
    room = max(1, width - 2 * round(_MARGIN * side) - 3 * padding - bar)
    lines = [_Line(title.name, round(_NAME_SIZE * side), _NAME_WEIGHT, _WHITE, room)]
    if title.note:
        lines.append(_Line(title.note, round(_NOTE_SIZE * side), _NOTE_WEIGHT, _GREY, room))
    size = (
        min(width, 3 * padding + bar + max(line.width for line in lines)),
        min(height, 2 * padding + sum(line.height for line in lines)),
    )
    picture = _Picture(size)
    picture.add(_BLACK, _PANEL_ALPHA * _rounded(size, (0, 0, *size), radius=padding))
    accent = _WHITE if title.verdict is None else _VERDICT_BGR[title.verdict]
    picture.add(accent, _rounded(size, (padding, padding, padding + bar, size[1] - padding), radius=bar / 2))
    top = padding
    for line in lines:
        picture.add(line.bgr, line.mask(size, 2 * padding + bar, top))
        top += line.height
    return picture.bgr, picture.alpha


class _Line:
    """A line of text, shortened to the room it has."""

    def __init__(self, text: str, size_px: int, weight: int, bgr: tuple[int, int, int], room: int) -> None:
        self.bgr, self._weight = bgr, weight
        self._font, self._size_px = cv2.FontFace("sans"), max(6, size_px)
        self._text = clean_text(text)
        while self._measure(self._text) > room and len(self._text) > 1:
            self._text = self._text[:-2].rstrip() + "…"
        self.width = min(room, self._measure(self._text))
        self.height = round(_LINE * self._size_px)

    def mask(self, size: tuple[int, int], x: int, y: int) -> F32:
        """Opacity (h, w) of the text in a picture of `size` (width, height), its upper left at x, y."""
        canvas = np.zeros((size[1], size[0]), np.uint8)
        # letters stand on a line four fifths down
        origin = (x, y + round(0.5 * (self.height - self._size_px) + 0.8 * self._size_px))
        cv2.putText(canvas, self._text, origin, (255,), self._font, self._size_px, self._weight)
        return np.asarray(canvas, np.float32) / np.float32(255)

    def _measure(self, text: str) -> int:
        _, _, width, _ = cv2.getTextSize((1 << 14, 64), text, (0, 32), self._font, self._size_px, self._weight)
        return int(width) + 1


class _Picture:
    """Layers laid over each other, as one colour and one opacity a pixel."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._color: F32 = np.zeros((size[1], size[0], 3), np.float32)
        self.alpha: F32 = np.zeros((size[1], size[0]), np.float32)

    @property
    def bgr(self) -> U8:
        """Colours (h, w, 3)."""
        return np.asarray(np.round(self._color), np.uint8)

    def add(self, bgr: tuple[int, int, int], alpha: F32) -> None:
        """Lay one colour over what is there, by an opacity (h, w)."""
        below = self.alpha * (1 - alpha)
        self.alpha = alpha + below
        total = np.maximum(self.alpha, 1e-6)[..., None]
        color = (np.array(bgr) * alpha[..., None] + self._color * below[..., None]) / total
        self._color = color.astype(np.float32)


def _rounded(size: tuple[int, int], box: Box, *, radius: float) -> F32:
    """Opacity (h, w) of a box with round corners in a picture of `size` (width, height)."""
    x1, y1, x2, y2 = (side * _SMOOTH for side in box)
    r = min(round(radius * _SMOOTH), (x2 - x1) // 2, (y2 - y1) // 2)
    large: NDArray[np.uint8] = np.zeros((size[1] * _SMOOTH, size[0] * _SMOOTH), np.uint8)
    cv2.rectangle(large, (x1 + r, y1), (x2 - r - 1, y2 - 1), 255, -1)
    cv2.rectangle(large, (x1, y1 + r), (x2 - 1, y2 - r - 1), 255, -1)
    for centre in ((x1 + r, y1 + r), (x2 - r - 1, y1 + r), (x1 + r, y2 - r - 1), (x2 - r - 1, y2 - r - 1)):
        cv2.circle(large, centre, r, 255, -1)
    return np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
