"""Contact sheets: pictures of a clip with its people boxed and numbered, and strips that show when they are seen.

Draws what it is told; who is who is decided in `tasks.preview.people`. Boxes are x1, y1, x2, y2 in pixels of the
panel's picture, times are seconds of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from singalong.media.frames import U8, Box
from singalong.media.lettering import BGR, TextLine, wrapped
from singalong.media.time_strip import BAD, INK, PAGE, SIDE_PX, SOFT, Mark, Strip, draw_strip

PANEL_PX = 776
"""Width of a panel, its notes included."""
_WIDE = 1.1
"""Pictures wider than this for their height have their notes below, others beside them."""
_NARROW_PX = 400
_GAP = 24
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class FaceMark:
    """A face in a picture: a short tag such as its number, its box, and what it is."""

    tag: str
    box: Box
    mark: Mark


@dataclass(frozen=True)
class Note:
    """A few lines about one person; the first is its heading."""

    mark: Mark
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """A picture (h, w, 3) of a shot, of the size `picture_size` gives, with its faces, under a heading."""

    heading: str
    bgr: U8
    faces: tuple[FaceMark, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Section:
    """Panels and strip (None: time stands still) of one span, and lines about it: (text, whether it is bad news)."""

    heading: str
    lines: tuple[tuple[str, bool], ...]
    panels: tuple[Panel, ...]
    strip: Strip | None


@dataclass(frozen=True)
class Sheet:
    """A page about one clip."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def picture_size(width: int, height: int) -> tuple[int, int]:
    """Size at which a picture shown as `width` x `height` stands in a panel, its aspect kept."""
    shown_width = PANEL_PX if width >= _WIDE * height else _NARROW_PX
    shown_height = round(height * shown_width / width)
    most = 2 * PANEL_PX  # a picture far higher than wide would make the sheet endless
    if shown_height > most:
        shown_width, shown_height = max(1, round(shown_width * most / shown_height)), most
    return shown_width, max(1, shown_height)


def draw_sheet(sheet: Sheet) -> U8:
    """The sheet as BGR uint8 (h, w, 3): one panel wide where no section has more, else two."""
    columns = 2 if any(len(section.panels) > 1 for section in sheet.sections) else 1
    width = columns * PANEL_PX + (columns - 1) * _GAP + 2 * SIDE_PX
    parts = [_header(sheet, width)]
    for section in sheet.sections:
        parts.append(_text_block(_section_lines(section), width))
        for first in range(0, len(section.panels), columns):
            parts.append(_row([_panel(panel) for panel in section.panels[first : first + columns]], width))
        if section.strip is not None:
            parts.append(draw_strip(section.strip, width))
    parts.append(_blank(_GAP, width))
    return np.vstack(parts)


def mark_face(picture: U8, face: FaceMark, scale: float = 1.0) -> None:
    """Draw a face's box: solid and thick for the one that sings, thin, or dashed where it cannot be used."""
    x1, y1, x2, y2 = face.box
    thick = max(1, round((5 if face.mark is Mark.SINGS else 2) * scale))
    # dark beneath light: one of them shows on any picture
    if face.mark is Mark.UNUSABLE:
        for start, end in _dashes(face.box, max(4, round(9 * scale))):
            cv2.line(picture, start, end, _BLACK, thick + 2)
            cv2.line(picture, start, end, face.mark.bgr, thick)
        return
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _BLACK, thick + 3)
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), face.mark.bgr, thick)


def _blank(height: int, width: int) -> U8:
    return np.full((height, width, 3), PAGE, np.uint8)


def _header(sheet: Sheet, width: int) -> U8:
    block = _text_block([(sheet.title, 30, 700, INK), (sheet.subtitle, 19, 500, SOFT)], width)
    legend, x = _blank(34, width), SIDE_PX
    for mark in Mark:
        face = FaceMark("", (x, 4, x + 20, 28), mark)
        mark_face(legend, face, scale=0.8)
        text = TextLine(mark.value, size_px=17)
        text.draw(legend, x + 30, 4, mark.bgr)
        x += text.width + 60
    return np.vstack([block, legend])


def _section_lines(section: Section) -> list[tuple[str, int, int, BGR]]:
    lines: list[tuple[str, int, int, BGR]] = [(section.heading, 22, 650, INK)]
    return lines + [(text, 18, 500, BAD if is_bad else SOFT) for text, is_bad in section.lines]


def _text_block(lines: list[tuple[str, int, int, BGR]], width: int) -> U8:
    room = width - 2 * SIDE_PX
    drawn = [
        (line, color)
        for text, size, weight, color in lines
        for line in wrapped(text, size_px=size, weight=weight, room_px=room)
    ]
    block, y = _blank(_GAP + sum(line.height for line, _ in drawn) + _GAP // 2, width), _GAP
    for line, color in drawn:
        line.draw(block, SIDE_PX, y, color)
        y += line.height
    return block


def _row(panels: list[U8], width: int) -> U8:
    row, x = _blank(max(panel.shape[0] for panel in panels) + _GAP, width), SIDE_PX
    for panel in panels:
        row[: panel.shape[0], x : x + PANEL_PX] = panel
        x += PANEL_PX + _GAP
    return row


def _panel(panel: Panel) -> U8:
    picture = np.ascontiguousarray(panel.bgr.copy())
    for face in sorted(panel.faces, key=lambda face: face.mark is Mark.SINGS):
        mark_face(picture, face)
    for face in panel.faces:
        _tag(picture, face)
    height, width = picture.shape[:2]
    beside = width <= PANEL_PX - 200
    notes = _notes(panel.notes, PANEL_PX - width - _GAP if beside else PANEL_PX)
    heading = TextLine(panel.heading, size_px=18, weight=600, room_px=PANEL_PX)
    top = heading.height + 6
    below = 0 if beside else height + 8
    drawn = _blank(top + max(height, below + notes.shape[0]), PANEL_PX)
    heading.draw(drawn, 0, 0, INK)
    drawn[top : top + height, :width] = picture
    x = width + _GAP if beside else 0
    drawn[top + below : top + below + notes.shape[0], x : x + notes.shape[1]] = notes
    return drawn


def _notes(notes: tuple[Note, ...], width: int) -> U8:
    """Notes one below the other, or in two columns where there is room."""
    columns = 2 if width >= PANEL_PX and len(notes) > 1 else 1
    each = (width - (columns - 1) * _GAP) // columns
    drawn = [_note(note, each) for note in notes]
    rows = [drawn[first : first + columns] for first in range(0, len(drawn), columns)]
    heights = [max(note.shape[0] for note in row) for row in rows]
    block, y = _blank(max(1, sum(heights)), width), 0
    for row, height in zip(rows, heights, strict=True):
        for column, note in enumerate(row):
            x = column * (each + _GAP)
            block[y : y + note.shape[0], x : x + each] = note
        y += height
    return block


def _note(note: Note, width: int) -> U8:
    bar, size = 14, 18
    lines = [
        TextLine(text, size_px=size, weight=500 if index else 700, room_px=width - bar)
        for index, text in enumerate(note.lines)
    ]
    drawn, y = _blank(sum(line.height for line in lines) + 12, width), 0
    cv2.rectangle(drawn, (0, 2), (5, drawn.shape[0] - 14), note.mark.bgr, -1)
    for index, line in enumerate(lines):
        line.draw(drawn, bar, y, SOFT if index else note.mark.bgr)
        y += line.height
    return drawn


def _tag(picture: U8, face: FaceMark) -> None:
    """The face's number in a filled box at its upper left corner, inside the picture."""
    height, width = picture.shape[:2]
    line = TextLine(face.tag, size_px=22, weight=700, room_px=width)
    w, h = line.width + 12, line.height
    x = min(max(face.box[0] - 3, 0), max(0, width - w))
    y = face.box[1] - h if face.box[1] >= h else min(max(face.box[1], 0), max(0, height - h))
    cv2.rectangle(picture, (x - 1, y - 1), (x + w, y + h), _BLACK, -1)
    cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), face.mark.bgr, -1)
    line.draw(picture, x + 6, y, (10, 10, 10))


def _dashes(box: Box, length: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    x1, y1, x2, y2 = box[0], box[1], box[2] - 1, box[3] - 1
    across = [(x, min(x + length, x2)) for x in range(x1, x2, 2 * length)]
    down = [(y, min(y + length, y2)) for y in range(y1, y2, 2 * length)]
    return [((a, y), (b, y)) for a, b in across for y in (y1, y2)] + [
        ((x, a), (x, b)) for a, b in down for x in (x1, x2)
    ]
