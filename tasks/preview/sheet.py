"""The contact sheets of a clip: which shots are shown, their pictures, and what is said of each person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from singalong.contracts import ClipFacts, Row
from singalong.media.contact_sheet import FaceMark, Note, Panel, Section, Sheet, picture_size
from singalong.media.decode import ClipReader
from singalong.media.frames import U8, Box, frame_to_bgr
from singalong.media.time_strip import Lane, Mark, Strip
from tasks.preview.people import (
    Seen,
    ShotView,
    SpanView,
    best_row,
    moments_of,
    point_of,
    row_at,
    shots_to_show,
    times_of,
)

MAX_SHOTS = 16
"""Shots of a clip that are shown; each span of it has a share of these, but MIN_SHOTS at least."""
MIN_SHOTS = 4
PANELS_OF_PAGE = 16
_MAX_LANES, _MAX_WISHES = 6, 8
_MAX_NAMES = 4
_NOBODY = Note(mark=Mark.UNUSABLE, lines=("no face found in this shot",))


class PersonLine(Row):
    """What a contact sheet says of a person of a shot, as text that can be copied."""

    shot: int
    start_s: float
    end_s: float
    face: str
    at: str | None
    width_px: int
    height_px: int
    seen_share: float
    usable_share: float
    why_not: str
    sings: tuple[str, ...]
    mark: str


@dataclass(frozen=True)
class SpanSheet:
    """A span in pictures: its section of the sheet, its people as text, and how many of its shots are left out."""

    section: Section
    people: tuple[PersonLine, ...]
    num_shots: int
    num_hidden: int


def span_sheet(view: SpanView, clip: ClipFacts, reader: ClipReader, *, num_spans: int) -> SpanSheet:
    """Draw a span of a clip, one of `num_spans`; reads a few frames of it."""
    shown = shots_to_show(view, max(MIN_SHOTS, MAX_SHOTS // num_spans))
    panels: list[Panel] = []
    people: list[PersonLine] = []
    for shot in shown:
        drawn, lines = _shot_panels(view, shot, clip, reader)
        panels += drawn
        people += lines
    num_hidden = len(view.shots) - len(shown)
    section = Section(
        heading=_span_heading(view, clip, num_hidden),
        lines=tuple(_wish_lines(view)),
        panels=tuple(panels),
        strip=None if clip.is_still else _strip(view),
    )
    return SpanSheet(section, tuple(people), len(view.shots), num_hidden)


def pages(clip: ClipFacts, sections: Sequence[Section]) -> Iterator[Sheet]:
    """The sections on as few pages as hold PANELS_OF_PAGE panels each, in order."""
    breaks, on_page = [0], 0
    for number, section in enumerate(sections):
        if on_page and on_page + len(section.panels) > PANELS_OF_PAGE:
            breaks.append(number)
            on_page = 0
        on_page += len(section.panels)
    for number, (first, after) in enumerate(pairwise([*breaks, len(sections)]), start=1):
        page = f" · page {number} of {len(breaks)}" if len(breaks) > 1 else ""
        yield Sheet(Path(clip.path).name + page, _about(clip), tuple(sections[first:after]))


def some_names(names: Sequence[str]) -> str:
    """A few of many names."""
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _about(clip: ClipFacts) -> str:
    size = f"{clip.width}x{clip.height} px"
    return size if clip.is_still else f"{size} · {float(clip.fps):.2f} fps · {clip.duration_s:.2f} s"


def _span_heading(view: SpanView, clip: ClipFacts, num_hidden: int) -> str:
    if clip.is_still:
        return "a still picture"
    noun = "shot" if len(view.shots) == 1 else "shots"
    hidden = f", {num_hidden} of them not shown" if num_hidden else ""
    return f"{view.start_s:.2f} to {view.end_s:.2f} s: {len(view.shots)} {noun}{hidden}"


def _wish_lines(view: SpanView) -> Iterator[tuple[str, bool]]:
    for wish in view.wishes[:_MAX_WISHES]:
        yield f"face {wish.face}: {some_names(wish.pairs)}", False
        if wish.problem:
            yield wish.problem, True
    more = view.wishes[_MAX_WISHES:]
    if more:
        yield f"and {sum(len(wish.pairs) for wish in more)} more pairs", any(wish.problem for wish in more)


def _shot_panels(
    view: SpanView, shot: ShotView, clip: ClipFacts, reader: ClipReader
) -> tuple[list[Panel], list[PersonLine]]:
    moments = moments_of(view, shot)
    # Each person is described once: at the first picture that shows them, or else at the last.
    first_seen = [
        next((n for n, time_s in enumerate(moments) if row_at(view, person, time_s) is not None), len(moments) - 1)
        for person in shot.people
    ]
    panels, lines = [], []
    for number, time_s in enumerate(moments):
        own = [person for person, n in zip(shot.people, first_seen, strict=True) if n == number]
        own_lines = [_person_line(view, shot, person, time_s) for person in own]
        pictures = f", picture {number + 1} of {len(moments)}" if len(moments) > 1 else ""
        where = f"{shot.start_s:.2f} to {shot.end_s:.2f} s, here at {time_s:.2f} s"
        notes = tuple(_note(line, person, clip) for line, person in zip(own_lines, own, strict=True))
        panels.append(
            Panel(
                heading="" if clip.is_still else f"shot {shot.shot}{pictures}: {where}",
                bgr=_picture(reader, clip, time_s),
                faces=tuple(_faces(view, shot, clip, time_s)),
                notes=notes if shot.people else (_NOBODY,),
            )
        )
        lines += own_lines
    return panels, lines


def _person_line(view: SpanView, shot: ShotView, person: Seen, time_s: float) -> PersonLine:
    row = row_at(view, person, time_s)
    return PersonLine(
        shot=shot.shot,
        start_s=shot.start_s,
        end_s=shot.end_s,
        face=person.name,
        at=point_of(view, person, best_row(view, person) if row is None else row),
        width_px=person.size_px[0],
        height_px=person.size_px[1],
        seen_share=person.seen_share,
        usable_share=person.usable_share,
        why_not=person.why_not,
        sings=person.sings,
        mark=person.mark.value,
    )


def _note(line: PersonLine, person: Seen, clip: ClipFacts) -> Note:
    lines = [line.face + (f" sings in {some_names(line.sings)}" if line.sings else "")]
    lines.append(line.at or "no point picks this face alone")
    lines.append(f"{line.width_px}x{line.height_px} px")
    if not clip.is_still:
        lines.append(f"seen {line.seen_share:.0%}, usable {line.usable_share:.0%} of the shot")
    if line.why_not:
        lines.append(("not usable: " if not person.usable.any() else "at times ") + line.why_not)
    return Note(mark=person.mark, lines=tuple(lines))


def _faces(view: SpanView, shot: ShotView, clip: ClipFacts, time_s: float) -> Iterator[FaceMark]:
    """The people in the frame of a time, boxes in pixels of the panel's picture."""
    width, height = picture_size(*_shown_size(clip))
    scale = np.array([width / clip.width, height / clip.height] * 2)
    for person in shot.people:
        row = row_at(view, person, time_s)
        if row is not None:
            x1, y1, x2, y2 = np.round(view.analysis.tracks.boxes[row] * scale).astype(int).tolist()
            box: Box = (x1, y1, max(x2, x1 + 2), max(y2, y1 + 2))
            yield FaceMark("-" if person.index is None else str(person.index), box, person.mark)


def _picture(reader: ClipReader, clip: ClipFacts, time_s: float) -> U8:
    bgr = frame_to_bgr(reader.read_chunk([time_s])[0])
    size = picture_size(*_shown_size(clip))
    shrinks = size[0] < bgr.shape[1]
    return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def _shown_size(clip: ClipFacts) -> tuple[int, int]:
    """Width and height in square pixels."""
    return max(1, round(clip.width * clip.sample_aspect_ratio)), clip.height


def _strip(view: SpanView) -> Strip:
    lanes: dict[int | None, list[tuple[float, float, Mark]]] = {}
    for shot in view.shots:
        for person in shot.people:
            lanes.setdefault(person.index, []).extend(times_of(view, person))
    counted = sorted(index for index in lanes if index is not None)[:_MAX_LANES]
    named = [(f"index:{index}", lanes[index]) for index in counted]
    if None in lanes:
        named.append(("others", lanes[None]))
    return Strip(
        start_s=view.start_s,
        end_s=view.end_s,
        shots=tuple((shot.start_s, shot.end_s, str(shot.shot)) for shot in view.shots),
        lanes=tuple(Lane(name, tuple(spans)) for name, spans in named),
    )
