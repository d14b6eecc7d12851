"""The contact sheets of a plan's clips: analyse each, see who would sing in its pairs, draw.

Clips are analysed one after the other in this process; what is found lands in the store, where a run finds it. A clip
that cannot be shown is reported and stops no other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
from pydantic import Field

from singalong.config import Settings
from singalong.contracts import ClipFacts, Failure, PairPlan, Plan, Row
from singalong.durable import write_atomic
from singalong.errors import InputError, SingalongError, classify
from singalong.media.contact_sheet import draw_sheet
from singalong.media.decode import ClipReader
from singalong.media.frames import U8
from tasks.analyse import load_analysis
from tasks.failures import failure_of
from tasks.jobs import AnalyseJob
from tasks.lipsync import chosen_face
from tasks.preview.people import SpanView, Wish, look_at_span
from tasks.preview.sheet import PersonLine, SpanSheet, pages, span_sheet
from tasks.probe_media import clip_facts
from tasks.worker import Worker

_JPEG_QUALITY = 88
_NAME_CHARS = 48

Progress = Callable[[str, int, int], None]


class ClipPreview(Row):
    """What was made of a clip, and what it shows; files are named relative to the folder."""

    clip: str
    clip_sha256: str
    pairs: tuple[str, ...]
    files: tuple[str, ...] = ()
    num_shots: int = 0
    num_hidden_shots: int = Field(default=0, description="shots that are on no sheet")
    people: tuple[PersonLine, ...] = ()
    problems: tuple[str, ...] = Field(default=(), description="pairs that have no face to sing, and why")
    failure: Failure | None = None


def preview_clips(
    plan: Plan, worker: Worker, folder: Path, progress: Progress = lambda _what, _done, _total: None
) -> Iterator[ClipPreview]:
    """Analyse the clips of a plan and write a contact sheet of each, one at a time."""
    by_clip: defaultdict[str, list[PairPlan]] = defaultdict(list)
    for pair in plan.pairs:
        by_clip[pair.clip_sha256].append(pair)
    for number, pairs in enumerate(by_clip.values()):
        progress("faces", number, len(by_clip))
        yield _preview_clip(pairs, worker, folder)
    progress("faces", len(by_clip), len(by_clip))


def file_stem(name: str, sha256: str) -> str:
    """A file name for something of any name: what is safe of it everywhere, and the beginning of its hash."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_NAME_CHARS].strip("-")
    return f"{safe}-{sha256[:8]}" if safe else sha256[:8]


def write_jpeg(path: Path, bgr: U8) -> None:
    """Write a picture (h, w, 3) in one step."""
    ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert ok
    write_atomic(path, jpeg.tobytes())


def what_is_wrong(error: SingalongError) -> str:
    """An error without the file's name, which stands beside it."""
    expected = f"; expected {error.expected}" if error.expected else ""
    return f"{error.problem}{expected}"


def _preview_clip(pairs: Sequence[PairPlan], worker: Worker, folder: Path) -> ClipPreview:
    preview = ClipPreview(
        clip=pairs[0].clip, clip_sha256=pairs[0].clip_sha256, pairs=tuple(pair.pair_id for pair in pairs)
    )
    try:
        clip = current_facts(pairs[0], worker)
        outcome = worker.run(AnalyseJob(clip=clip))
        if outcome.folder is None:
            return preview.model_copy(update={"failure": outcome.failure})
        return _write_sheets(preview, _Looker(clip, Path(outcome.folder), worker.spec.settings), pairs, folder)
    except Exception as error:  # noqa: BLE001 - one clip that cannot be shown must not hide the others
        return preview.model_copy(update={"failure": failure_of(error)})


def current_facts(pair: PairPlan, worker: Worker) -> ClipFacts:
    """Facts of a pair's clip. Raises InputError where it changed since the plan was made."""
    clip = clip_facts(pair.clip, settings=worker.spec.settings, store=worker.store)
    if clip.sha256 != pair.clip_sha256:
        raise InputError("changed while it was looked at", file=pair.clip, action="Run the command again.")
    return clip


def _write_sheets(preview: ClipPreview, looker: _Looker, pairs: Sequence[PairPlan], folder: Path) -> ClipPreview:
    clip = looker.clip
    views = [looker.view(span, own) for span, own in _spans(pairs, clip)]
    with ClipReader(clip) as reader:
        spans = [span_sheet(view, clip, reader, num_spans=len(views)) for view in views]
    stem = file_stem(Path(clip.path).stem, clip.sha256)
    files = []
    for number, sheet in enumerate(pages(clip, [span.section for span in spans]), start=1):
        files.append(f"{stem}.jpg" if number == 1 else f"{stem}-{number}.jpg")
        write_jpeg(folder / files[-1], draw_sheet(sheet))
    return preview.model_copy(update={"files": tuple(files), **_told(views, spans)})


def _told(views: Sequence[SpanView], spans: Sequence[SpanSheet]) -> dict[str, object]:
    wishes = [wish for view in views for wish in view.wishes if wish.problem]
    return {
        "num_shots": sum(span.num_shots for span in spans),
        "num_hidden_shots": sum(span.num_hidden for span in spans),
        "people": tuple(line for span in spans for line in span.people),
        "problems": tuple(f"{', '.join(wish.pairs)} (face {wish.face}): {wish.problem}" for wish in wishes),
    }


def _spans(pairs: Sequence[PairPlan], clip: ClipFacts) -> list[tuple[tuple[float, float], list[PairPlan]]]:
    """The spans of the clip that pairs use, in time order; of a still, in which time stands still, there is one."""
    by_span: defaultdict[tuple[float, float], list[PairPlan]] = defaultdict(list)
    for pair in pairs:
        by_span[(0.0, float(1 / clip.fps)) if clip.is_still else (pair.clip_start_s, pair.clip_end_s)].append(pair)
    return sorted(by_span.items())


class _Looker:
    """Looks at spans of one clip, by its analysis."""

    def __init__(self, clip: ClipFacts, analysis: Path, settings: Settings) -> None:
        self.clip, self._analysis, self._settings = clip, analysis, settings.analysis

    def view(self, span: tuple[float, float], pairs: Sequence[PairPlan]) -> SpanView:
        """A span that these pairs use."""
        by_face: defaultdict[str, list[PairPlan]] = defaultdict(list)
        for pair in pairs:
            by_face[pair.face].append(pair)
        wishes = [self._wish(face, own) for face, own in by_face.items()]
        found = load_analysis(self._analysis, *span, settings=self._settings)
        return look_at_span(found, *span, wishes)

    def _wish(self, face: str, pairs: Sequence[PairPlan]) -> Wish:
        names = tuple(pair.pair_id for pair in pairs)
        try:
            chosen = chosen_face(pairs[0], self._analysis, self._settings)
        except Exception as error:  # noqa: BLE001 - said on the sheet, where the others are to be seen
            return Wish(face, names, problem=what_is_wrong(classify(error)))
        return Wish(face, names, tracks=frozenset(chosen.track.tolist()))
