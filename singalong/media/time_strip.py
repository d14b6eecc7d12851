"""A strip of time: the shots of a span in a row, and below it when each person is seen and can be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from singalong.media.frames import U8
from singalong.media.lettering import BGR, TextLine

PAGE, INK, SOFT, BAD = (24, 21, 20), (238, 236, 234), (172, 166, 160), (110, 120, 250)
SIDE_PX = 32
_LABEL_PX, _LANE_PX, _LANE_GAP, _SHOTS_PX, _AXIS_PX = 96, 16, 5, 24, 34
_SHOT_COLORS = ((70, 63, 58), (92, 84, 78))
_GRID = (64, 58, 54)
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600)
_MIN_TICK_PX = 80


class Mark(Enum):
    """What a face is: its colour, and how thick its box is."""

    SINGS = "sings"
    USABLE = "usable"
    UNUSABLE = "not usable"

    @property
    def bgr(self) -> BGR:
        """Colour of its box, tag and bar."""
        return {Mark.SINGS: (90, 225, 60), Mark.USABLE: (245, 245, 245), Mark.UNUSABLE: (80, 170, 255)}[self]


@dataclass(frozen=True)
class Lane:
    """A row of a strip: when a person is there (start, end, what the face is then)."""

    name: str
    spans: tuple[tuple[float, float, Mark], ...]


@dataclass(frozen=True)
class Strip:
    """A span of the clip as a row of shots (start, end, name), with lanes below."""

    start_s: float
    end_s: float
    shots: tuple[tuple[float, float, str], ...]
    lanes: tuple[Lane, ...]


def draw_strip(strip: Strip, width: int) -> U8:
    """The strip as BGR uint8 (h, width, 3), on a page of the colour PAGE."""
    return _Drawing(strip, width).draw()


class _Drawing:
    """One strip in the making."""

    def __init__(self, strip: Strip, width: int) -> None:
        self._strip = strip
        self._left, self._right = SIDE_PX + _LABEL_PX, width - SIDE_PX
        self._scale = (self._right - self._left) / max(strip.end_s - strip.start_s, 1e-9)
        self._bottom = _SHOTS_PX + 8 + len(strip.lanes) * (_LANE_PX + _LANE_GAP)
        self._picture: U8 = np.full((self._bottom + _AXIS_PX, width, 3), PAGE, np.uint8)

    def draw(self) -> U8:
        """All of it."""
        self._axis()
        self._shots()
        for number, lane in enumerate(self._strip.lanes):
            self._lane(lane, _SHOTS_PX + 8 + number * (_LANE_PX + _LANE_GAP))
        return self._picture

    def _x(self, time_s: float) -> int:
        return min(max(self._left + round((time_s - self._strip.start_s) * self._scale), self._left), self._right)

    def _bar(self, start_s: float, end_s: float, y: int, height: int, color: BGR) -> tuple[int, int]:
        """A filled bar, at least a pixel wide."""
        x1 = min(self._x(start_s), self._right - 1)
        x2 = max(self._x(end_s), x1 + 1)
        cv2.rectangle(self._picture, (x1, y), (x2 - 1, y + height - 1), color, -1)
        return x1, x2

    def _shots(self) -> None:
        TextLine("shots", size_px=16).draw(self._picture, SIDE_PX, 1, SOFT)
        for number, (start_s, end_s, name) in enumerate(self._strip.shots):
            x1, x2 = self._bar(start_s, end_s, 0, _SHOTS_PX, _SHOT_COLORS[number % 2])
            if x2 - x1 > 12:  # measuring text takes a while, and a long film has thousands of shots
                label = TextLine(name, size_px=15)
                if label.width + 6 <= x2 - x1:
                    label.draw(self._picture, x1 + 4, 2, INK)

    def _lane(self, lane: Lane, y: int) -> None:
        TextLine(lane.name, size_px=16, room_px=_LABEL_PX - 8).draw(self._picture, SIDE_PX, y - 2, SOFT)
        cv2.line(self._picture, (self._left, y + _LANE_PX // 2), (self._right, y + _LANE_PX // 2), _GRID, 1)
        for start_s, end_s, mark in lane.spans:
            thin = 0 if mark is Mark.SINGS else 3
            self._bar(start_s, end_s, y + thin, _LANE_PX - 2 * thin, mark.bgr)

    def _axis(self) -> None:
        span_s = self._strip.end_s - self._strip.start_s
        step_s = next((tick for tick in _TICKS_S if tick * self._scale >= _MIN_TICK_PX), max(_TICKS_S[-1], span_s / 8))
        for number in range(int(self._strip.start_s / step_s), int(self._strip.end_s / step_s) + 1):
            time_s = number * step_s
            if self._strip.start_s - 1e-6 <= time_s <= self._strip.end_s:
                x = self._x(time_s)
                cv2.line(self._picture, (x, _SHOTS_PX), (x, self._bottom + 4), _GRID, 1)
                TextLine(f"{time_s:g} s", size_px=15).draw(self._picture, x - 8, self._bottom + 6, SOFT)
