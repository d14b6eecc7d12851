"""Filling a folder with previews of a plan: sheet by sheet, pair by pair, so that memory stays as it is.

Everything that is found out on the way lands in the store, where a run finds it again.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from singalong.config import Settings
from singalong.contracts import Failure, PairPlan, Plan
from singalong.durable import make_dirs, write_atomic
from singalong.errors import UsageError
from singalong.remote_store import store_of
from tasks.analyse import CACHE_KIND, analysis_version
from tasks.dispatch import Item, Recorder
from tasks.preparation import Preparation, Prepared
from tasks.preview.clips import ClipPreview, KnownClip, empty_preview, preview_clip
from tasks.preview.page import Preview, write_page
from tasks.preview.results import ResultPreview, preview_result
from tasks.probe_media import clip_facts, local_clip
from tasks.session import worker_spec
from tasks.worker import Worker

PAGE_NAME = "index.html"

Progress = Callable[[str, int, int], None]


def make_preview(
    plan: Plan,
    folder: Path,
    *,
    settings: Settings,
    with_results: bool = True,
    progress: Progress = lambda _what, _done, _total: None,
) -> Preview:
    """Write the contact sheets of all clips of a plan, with results a picture of each pair, and a page of it all.

    A clip or a pair that cannot be shown is in the preview with its reason, and stops no other.
    """
    with tempfile.TemporaryDirectory(prefix="singalong-preview-") as scratch:
        maker = _Maker(plan, folder, settings, Path(scratch), with_results=with_results)
        clips: list[ClipPreview] = []
        results: list[ResultPreview] = []
        groups = _by_clip(plan.pairs)
        for number, pairs in enumerate(groups):
            progress("previews", number, len(groups))
            clip, prepared = maker.clip(pairs)
            clips.append(clip)
            results += maker.results(clip, pairs, prepared) if with_results else []
        progress("previews", len(groups), len(groups))
    preview = Preview(folder=str(folder), page=str(folder / PAGE_NAME), clips=tuple(clips), results=tuple(results))
    write_page(plan, preview)
    return preview


def preview_folder(folder: Path) -> Path:
    """The folder, made if it is missing. Raises UsageError where previews cannot be written to it."""
    try:
        make_dirs(folder)
        write_atomic(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as exc:
        raise UsageError(
            f"previews cannot be written there: {exc.strerror}", file=folder, expected="a folder that can be written"
        ) from exc
    return folder


class _Maker:
    """Prepares in the store of the settings, and makes results in one that is thrown away."""

    def __init__(self, plan: Plan, folder: Path, settings: Settings, scratch: Path, *, with_results: bool) -> None:
        self._plan, self._folder, self._settings = plan, folder, settings
        self._with_results = with_results
        self._store = store_of(settings)
        spec = worker_spec(plan, settings)
        self._worker = Worker(spec)
        self._painter = Worker(spec.model_copy(update={"store": str(scratch), "scorer": None}))

    def clip(self, pairs: Sequence[PairPlan]) -> tuple[ClipPreview, dict[str, Prepared | Failure]]:
        """Prepare all that the pairs of one clip need, and write its contact sheets."""
        preparation = Preparation(self._plan, self._settings, self._store, with_songs=self._with_results)
        prepared = preparation.run(pairs, self._dispatch)
        version = analysis_version(self._settings.analysis, self._plan.detector)
        analysis = self._store.cached(CACHE_KIND, pairs[0].clip_sha256, version)
        if analysis is None:
            failure = next(found for found in prepared.values() if isinstance(found, Failure))
            return empty_preview(pairs).model_copy(update={"failure": failure}), prepared
        facts = local_clip(clip_facts(pairs[0].clip, settings=self._settings, store=self._store), self._store)
        return preview_clip(KnownClip(facts, analysis, pairs, prepared, self._settings), self._folder), prepared

    def results(
        self, clip: ClipPreview, pairs: Sequence[PairPlan], prepared: dict[str, Prepared | Failure]
    ) -> Iterator[ResultPreview]:
        """The picture of each pair that has a face to sing."""
        for pair in pairs:
            found = prepared[pair.pair_id]
            if isinstance(found, Prepared) and pair.pair_id not in clip.problems:
                yield preview_result(pair, found, self._painter, self._folder)

    def _dispatch(self, _stage: str, items: Sequence[Item], recorder: Recorder) -> None:
        """One item after the other, in this process."""
        for item in items:
            recorder.started(item)
            recorder.ended(item, self._worker.run(item.job), final=True)


def _by_clip(pairs: Sequence[PairPlan]) -> list[list[PairPlan]]:
    groups: defaultdict[str, list[PairPlan]] = defaultdict(list)
    for pair in pairs:
        groups[pair.clip_sha256].append(pair)
    return list(groups.values())
