"""PREPARE a folder of talking videos as a training dataset: the driver's steps, each of which does what is missing.

    videos --SURVEY--> facts, faces --spans--> CUT --> sequences + markers --fold--> prepared.parquet

The unit of work is a span of a video. What is finished is known by the video's content and the dataset's version, so a
stopped run goes on where it was, and a video that comes a second time under another name is not prepared twice.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import Field

from singalong.config import Settings
from singalong.contracts import ModelRef, Row
from singalong.media.units import SCORE_FPS
from singalong.runlock import run_lock
from tasks.dispatch import Item, dispatch
from tasks.jobs import SequencesJob, Survey, SurveyJob, WorkerSpec
from tasks.pool import Pool
from tasks.record import OutcomeRecorder
from tasks.session import Unwatched, Watched, Watcher, open_pool
from tasks.summary import FailureNote
from tasks.training.prepare_records import (
    PreparedRow,
    all_rows,
    forget_failure,
    identity_of,
    open_dataset,
    resolve_settings,
    write_failure,
    write_table,
)
from tasks.training.prepare_survey import Video, find_videos, num_spans
from tasks.training.sequences import committed, remove_sequence, splits_of

_NEVER_S = 1e9
"""The last span goes on to the end, however long the container says the video is."""


class PrepareSummary(Row):
    """What a dataset holds now."""

    dataset: str
    table: str
    num_videos: int = Field(description="in the folder")
    num_duplicates: int = Field(description="of them with the content of another")
    num_candidates: int = Field(description="of all videos ever prepared into this dataset")
    num_sequences: int
    num_frames: int
    seconds: float = Field(description="of sequences")
    sources: dict[str, int] = Field(description="videos with sequences, by split")
    reasons: dict[str, int] = Field(description="candidates that were not kept")
    median_confidence: float | None
    offsets: dict[int, int] = Field(description="sequences by the offset that was corrected")
    scorer: str | None
    min_confidence: float | None
    failures: tuple[FailureNote, ...]


class PrepareSession:
    """One driver's hold on a dataset; use as a context manager, so that lock and pool go whatever happens."""

    def __init__(
        self,
        folder: Path,
        dataset: Path,
        settings: Settings,
        *,
        detector: ModelRef,
        scorer: ModelRef | None,
        watcher: Watcher | None = None,
    ) -> None:
        """Raises UsageError where the folder has no videos, or the dataset was prepared in another way."""
        self.folder, self.dataset = folder.absolute(), dataset.absolute()
        self.settings = resolve_settings(settings, scorer)
        self.videos = find_videos(self.folder)
        self._detector, self._scorer = detector, scorer
        self._watcher = watcher or Unwatched()
        identity = identity_of(self.settings, detector=detector, scorer=scorer)
        open_dataset(self.dataset, identity)
        self._version = identity.version
        self._sources: dict[str, str] = {}
        self._num_duplicates = 0
        self._pool: Pool | None = None
        self._lock: AbstractContextManager[None] = run_lock(self.dataset / "driver.lock", run=self.dataset)

    def __enter__(self) -> PrepareSession:
        self._lock.__enter__()
        self._sweep()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.close()
        self._lock.__exit__(None, None, None)

    def _sweep(self) -> None:
        """Take out sequences that no marker names: their span was cut short, and may now be cut in another way."""
        named = {row.sequence_id for row in all_rows(self.dataset, version=self._version)}
        for facts in list(committed(self.dataset)):
            if facts.sequence_id not in named:
                remove_sequence(self.dataset, facts.sequence_id)

    # ---- the steps

    def prepare(self, videos: Sequence[Video]) -> None:
        """Survey these videos and cut what is missing of them; those that fail are recorded and do not stop others."""
        surveys = [
            Item(video.source, SurveyJob(path=str(video.path), dataset=str(self.dataset), version=self._version))
            for video in videos
        ]
        items: list[Item] = []
        for source, survey in self._dispatch("survey", surveys).items():
            if self._sources.setdefault(survey.clip.sha256, source) == source:
                items += self._span_items(source, survey)
            else:
                self._num_duplicates += 1
        self._dispatch("sequences", items)

    def finish(self) -> PrepareSummary:
        """Write prepared.parquet; what the dataset holds."""
        rows = list(all_rows(self.dataset, version=self._version))
        table = write_table(self.dataset, rows)
        return self._summary(table, rows)

    def _span_items(self, source: str, survey: Survey) -> list[Item]:
        span_s = self.settings.prepare.span_s
        last = num_spans(survey.clip, span_s) - 1
        return [
            Item(
                f"{source}\n{span}",
                SequencesJob(
                    clip=survey.clip,
                    source=source,
                    analysis=survey.analysis,
                    dataset=str(self.dataset),
                    version=self._version,
                    span=span,
                    start_s=span * span_s,
                    end_s=_NEVER_S if span == last else (span + 1) * span_s,
                ),
            )
            for span in survey.spans
        ]

    def _dispatch(self, stage: str, items: Sequence[Item]) -> dict[str, Survey]:
        """Run items through the pool and record their failures; surveys by source."""
        if not items:
            return {}
        recorder = OutcomeRecorder()
        self._watcher.begin(stage, len(items))
        run = self.settings.run
        dispatch(
            items,
            self.pool,
            Watched(recorder, stage, self._watcher),
            timeout_s=run.shard_timeout_s,
            bug_limit=run.bug_limit,
        )
        surveys = {}
        for item in items:
            outcome = recorder.outcomes[item.item_id]
            source = item.job.source if isinstance(item.job, SequencesJob) else item.item_id
            span = item.job.span if isinstance(item.job, SequencesJob) else None
            if outcome.failure is not None:
                write_failure(self.dataset, source, span, outcome.failure)
            else:
                forget_failure(self.dataset, source, span)
            if outcome.survey is not None:
                surveys[source] = outcome.survey
        return surveys

    @property
    def pool(self) -> Pool:
        """The workers, started when first needed."""
        if self._pool is None:
            spec = WorkerSpec(
                settings=self.settings,
                store=self.settings.store_location,
                detector=self._detector,
                scorer=self._scorer,
            )
            self._pool = open_pool(spec)
        return self._pool

    def _summary(self, table: Path, rows: Sequence[PreparedRow]) -> PrepareSummary:
        kept = [row for row in rows if row.kept]
        confidences = [row.confidence for row in kept if row.confidence is not None]
        here = {video.source for video in self.videos}
        splits = splits_of(self.dataset, {row.source_sha256 or "": row.source for row in kept})
        return PrepareSummary(
            dataset=str(self.dataset),
            table=str(table),
            num_videos=len(self.videos),
            num_duplicates=self._num_duplicates,
            num_candidates=sum(row.track is not None for row in rows),
            num_sequences=len(kept),
            num_frames=sum(row.num_frames for row in kept),
            seconds=sum(row.num_frames for row in kept) / SCORE_FPS,
            sources=dict(Counter(splits.values())),
            reasons=dict(Counter(str(row.reason) for row in rows if row.reason is not None).most_common()),
            median_confidence=statistics.median(confidences) if confidences else None,
            offsets=dict(sorted(Counter(row.offset_frames for row in kept if row.offset_frames is not None).items())),
            scorer=self._scorer.name if self._scorer else None,
            min_confidence=self.settings.prepare.min_confidence,
            failures=tuple(
                FailureNote(name=row.source, error_class=row.error_class, message=row.error_message or "")
                for row in rows
                if row.error_class is not None and row.source in here
            ),
        )
