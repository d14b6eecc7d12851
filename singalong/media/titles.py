"""Text in films: the title at the lower left of a montage's part, and the label at the upper left of any film."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.contracts import Title, Verdict
from singalong.media.frames import F32, U8, Box, YuvFrame, paste_bgr
from singalong.media.lettering import BGR, TextLine

# Shares of the shorter side of the picture.
_NAME_SIZE, _NOTE_SIZE = 0.064, 0.042
_MARGIN, _PADDING, _BAR = 0.05, 0.03, 0.014
_NAME_WEIGHT, _NOTE_WEIGHT = 600, 500
_LABEL_SIZE, _LABEL_PADDING, _LABEL_WEIGHT = 0.036, 0.016, 500
_PORTRAIT_TOP = 0.08
"""Share of a portrait film's height above the label: apps of phones cover the uppermost 7 % (TikTok 131 px of 1920,
Instagram 108) with their own."""
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


class LabelPainter:
    """Paints a short text at the upper left of frames of one size, always there, alike on light and dark pictures.

    Upper left, because titles stand at the lower left, and phones lay buttons and captions over the right and the
    bottom of portrait films; for their sake it hangs lower there.
    """

    def __init__(self, text: str, *, width: int, height: int, pixel_aspect: Fraction = Fraction(1)) -> None:
        """`pixel_aspect` is how much wider than high a pixel is shown; the letters keep their shape."""
        shown_width = max(1, round(width * pixel_aspect))
        bgr, alpha = _draw_label(text, shown_width, height)
        label_size = max(1, min(width, round(bgr.shape[1] / pixel_aspect))), bgr.shape[0]
        if pixel_aspect != 1:
            bgr = np.asarray(cv2.resize(bgr, label_size, interpolation=cv2.INTER_AREA), np.uint8)
            alpha = np.asarray(cv2.resize(alpha, label_size, interpolation=cv2.INTER_AREA), np.float32)
        self._bgr, self._alpha = bgr, alpha
        margin = round(_MARGIN * min(shown_width, height))
        left = min(round(margin / pixel_aspect), width - label_size[0])
        top = min(margin if shown_width >= height else round(_PORTRAIT_TOP * height), height - label_size[1])
        self.box: Box = (left, top, left + label_size[0], top + label_size[1])

    def paint(self, frame: YuvFrame) -> YuvFrame:
        """A copy of a frame with the label on it."""
        painted = frame.copy()
        paste_bgr(painted, self.box, self._bgr, self._alpha)
        return painted


def _draw(title: Title, width: int, height: int) -> tuple[U8, F32]:
    """The label as colour (h, w, 3) and opacity (h, w), no larger than the picture."""
    side = min(width, height)
    padding, bar = max(2, round(_PADDING * side)), max(2, round(_BAR * side))
    room = max(1, width - 2 * round(_MARGIN * side) - 3 * padding - bar)
    name = TextLine(title.name, size_px=round(_NAME_SIZE * side), weight=_NAME_WEIGHT, room_px=room)
    lines: list[tuple[TextLine, BGR]] = [(name, _WHITE)]
    if title.note:
        note = TextLine(title.note, size_px=round(_NOTE_SIZE * side), weight=_NOTE_WEIGHT, room_px=room)
        lines.append((note, _GREY))
    size = (
        min(width, 3 * padding + bar + max(line.width for line, _ in lines)),
        min(height, 2 * padding + sum(line.height for line, _ in lines)),
    )
    picture = _Picture(size)
    picture.add(_BLACK, _PANEL_ALPHA * _rounded(size, (0, 0, *size), radius=padding))
    accent = _WHITE if title.verdict is None else _VERDICT_BGR[title.verdict]
    picture.add(accent, _rounded(size, (padding, padding, padding + bar, size[1] - padding), radius=bar / 2))
    top = padding
    for line, color in lines:
        picture.add(color, _mask(line, size, 2 * padding + bar, top))
        top += line.height
    return picture.bgr, picture.alpha


def _draw_label(text: str, width: int, height: int) -> tuple[U8, F32]:
    side = min(width, height)
    padding = max(2, round(_LABEL_PADDING * side))
    room = max(1, width - 2 * round(_MARGIN * side) - 2 * padding)
    line = TextLine(text, size_px=round(_LABEL_SIZE * side), weight=_LABEL_WEIGHT, room_px=room)
    size = (min(width, line.width + 2 * padding), min(height, line.height + padding))
    picture = _Picture(size)
    picture.add(_BLACK, _PANEL_ALPHA * _rounded(size, (0, 0, *size), radius=padding))
    picture.add(_WHITE, _mask(line, size, padding, (size[1] - line.height) // 2))
    return picture.bgr, picture.alpha


def _mask(line: TextLine, size: tuple[int, int], x: int, y: int) -> F32:
    """Opacity (h, w) of a line in a picture of `size` (width, height), its upper left at x, y."""
    canvas = np.zeros((size[1], size[0]), np.uint8)
    line.draw(canvas, x, y, (255,))
    return np.asarray(canvas, np.float32) / np.float32(255)


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
