"""The contact sheets of a clip: who is in it, and who would sing in the pairs that use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from singalong.config import Settings
from singalong.contracts import ClipFacts, Failure, PairPlan, Row
from singalong.errors import SingalongError, classify
from singalong.media.contact_sheet import draw_sheet
from singalong.media.decode import ClipReader
from tasks.analyse import load_analysis
from tasks.failures import failure_of
from tasks.preparation import Prepared
from tasks.preview.files import file_stem, write_jpeg
from tasks.preview.people import SpanView, Wish, look_at_span
from tasks.preview.results import face_of
from tasks.preview.sheet import PersonLine, SpanSheet, pages, span_sheet


class ClipPreview(Row):
    """What was made of a clip, and what it shows; files are named relative to the folder."""

    clip: str
    clip_sha256: str
    pairs: tuple[str, ...]
    files: tuple[str, ...] = ()
    num_shots: int = 0
    num_hidden_shots: int = Field(default=0, description="shots that are on no sheet")
    people: tuple[PersonLine, ...] = ()
    problems: dict[str, str] = Field(default={}, description="by pair that has no face to sing: why")
    failure: Failure | None = None


@dataclass(frozen=True)
class KnownClip:
    """A clip that was analysed, the pairs that use it, and what is prepared for each, or why it is not."""

    facts: ClipFacts
    analysis: Path
    pairs: Sequence[PairPlan]
    prepared: Mapping[str, Prepared | Failure]
    settings: Settings


def preview_clip(clip: KnownClip, folder: Path) -> ClipPreview:
    """Write the contact sheets of a clip."""
    preview = empty_preview(clip.pairs)
    try:
        views = [_view(clip, span, own) for span, own in _spans(clip)]
        with ClipReader(clip.facts) as reader:
            spans = [span_sheet(view, clip.facts, reader, num_spans=len(views)) for view in views]
        files = _write_pages(clip.facts, spans, folder)
    except Exception as error:  # noqa: BLE001 - one clip that cannot be shown must not hide the others
        return preview.model_copy(update={"failure": failure_of(error)})
    return preview.model_copy(update={"files": files, **_told(views, spans)})


def empty_preview(pairs: Sequence[PairPlan]) -> ClipPreview:
    """What is known of the clip of these pairs before it is looked at."""
    names = tuple(pair.pair_id for pair in pairs)
    return ClipPreview(clip=pairs[0].clip, clip_sha256=pairs[0].clip_sha256, pairs=names)


def what_is_wrong(error: SingalongError) -> str:
    """An error without the file's name, which stands beside it."""
    expected = f"; expected {error.expected}" if error.expected else ""
    return f"{error.problem}{expected}"


def _write_pages(clip: ClipFacts, spans: Sequence[SpanSheet], folder: Path) -> tuple[str, ...]:
    stem = file_stem(Path(clip.path).stem, clip.sha256)
    files = []
    for number, sheet in enumerate(pages(clip, [span.section for span in spans]), start=1):
        files.append(f"{stem}.jpg" if number == 1 else f"{stem}-{number}.jpg")
        write_jpeg(folder / files[-1], draw_sheet(sheet))
    return tuple(files)


def _told(views: Sequence[SpanView], spans: Sequence[SpanSheet]) -> dict[str, object]:
    wishes = [wish for view in views for wish in view.wishes]
    return {
        "num_shots": sum(span.num_shots for span in spans),
        "num_hidden_shots": sum(span.num_hidden for span in spans),
        "people": tuple(line for span in spans for line in span.people),
        "problems": {pair: wish.problem for wish in wishes if wish.problem for pair in wish.pairs},
    }


def _spans(clip: KnownClip) -> list[tuple[tuple[float, float], list[PairPlan]]]:
    """The spans of the clip that pairs use, in time order; of a still, in which time stands still, there is one."""
    by_span: defaultdict[tuple[float, float], list[PairPlan]] = defaultdict(list)
    still = (0.0, float(1 / clip.facts.fps))
    for pair in clip.pairs:
        by_span[still if clip.facts.is_still else (pair.clip_start_s, pair.clip_end_s)].append(pair)
    return sorted(by_span.items())


def _view(clip: KnownClip, span: tuple[float, float], pairs: Sequence[PairPlan]) -> SpanView:
    by_face: defaultdict[str, list[PairPlan]] = defaultdict(list)
    for pair in pairs:
        by_face[pair.face].append(pair)
    wishes = [_wish(clip, face, own) for face, own in by_face.items()]
    found = load_analysis(clip.analysis, *span, settings=clip.settings.analysis)
    return look_at_span(found, *span, wishes)


def _wish(clip: KnownClip, face: str, pairs: Sequence[PairPlan]) -> Wish:
    names, found = tuple(pair.pair_id for pair in pairs), clip.prepared[pairs[0].pair_id]
    if isinstance(found, Failure):
        return Wish(face, names, problem=found.message)
    try:
        chosen = face_of(pairs[0], found, clip.settings)
    except Exception as error:  # noqa: BLE001 - said on the sheet, where the others are to be seen
        return Wish(face, names, problem=what_is_wrong(classify(error)))
    return Wish(face, names, tracks=frozenset(chosen.track.tolist()))
