"""The worker: a plain class that does jobs one after the other and keeps its models warm between them.

Usable and tested without Ray; `tasks.actors` wraps it where it is launched. Models load at the first job that needs
them, in the worker's own process.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from singalong.asked import settings_for
from singalong.contracts import ModelRef
from singalong.errors import BugError, InputError, ResourceError, SingalongError, TransientIOError, classify
from singalong.objects import is_url
from singalong.remote_store import open_store
from singalong.store import Store
from singalong.traffic import take
from tasks.attempt_log import attempt_log
from tasks.attempt_log_lines import tell_begin, tell_end
from tasks.checked_store import PlannedFile, checked_store
from tasks.failures import failure_of
from tasks.jobs import (
    AnalyseJob,
    ConformJob,
    Job,
    JoinJob,
    LikenessJob,
    LipsyncJob,
    Outcome,
    SequencesJob,
    SongJob,
    SpeakersJob,
    SurveyJob,
    WorkerSpec,
)
from tasks.localise import Localiser
from tasks.memory import keep_pandas_out, release_code, release_memory

if TYPE_CHECKING:
    from models.detectors import Detector
    from models.engine import Engine
    from models.enhancer import Enhancer
    from models.scorers import Scorer


_SPARE_BYTES = 32 << 20
"""More than malloc keeps at hand (its threshold for asking the kernel is 32 MB at most), less than any shard needs."""
_AGAIN = "Run again to make it anew."


class Worker:
    """Does jobs; holds one detector, one scorer and the last generator used."""

    def __init__(self, spec: WorkerSpec, *, owns_process: bool = False) -> None:
        """`owns_process`: it is alone in its process, whose crashes are its own."""
        self.spec, self._owns_process = spec, owns_process
        run = spec.settings.run
        self.store = open_store(spec.store, cache_dir=run.cache_dir, cache_gb=run.cache_gb)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._generator: tuple[ModelRef, Engine] | None = None
        if owns_process:
            keep_pandas_out()

    def run(self, job: Job) -> Outcome:
        """Do one job. Never raises for a failed job: the failure is in the outcome."""
        with attempt_log(job.log, owns_process=self._owns_process):
            tell_begin(job, self.spec)
            outcome = self._outcome(job)
            tell_end(outcome)
        return outcome

    def _outcome(self, job: Job) -> Outcome:
        started = time.monotonic()
        store, localiser = checked_store(self.store, list(_planned_files(job))), Localiser(self.store)
        with self.store.using():
            try:
                job = localiser.job(job)
                outcome = self._dispatch(job, store)
            except Exception as error:  # noqa: BLE001 - the border where every error becomes a row
                outcome = Outcome(failure=localiser.told(failure_of(_cause(error, job, store))))
        release_memory()
        told = {"seconds": time.monotonic() - started, "worker": self.name, "traffic": take()}
        return outcome.model_copy(update=told)

    def _dispatch(self, job: Job, store: Store) -> Outcome:
        match job:
            case AnalyseJob():
                return self._analyse(job, store)
            case SongJob():
                return self._prepare_song(job, store)
            case SpeakersJob():
                return self._find_speakers(job, store)
            case LikenessJob():
                return self._find_likeness(job, store)
            case LipsyncJob():
                return self._lipsync(job, store)
            case JoinJob():
                return self._join(job, store)
            case ConformJob():
                from tasks.join import conform

                return Outcome(folder=str(conform(job, self.store)))
            case SurveyJob():
                return self._survey(job)
            case SequencesJob():
                from tasks.training.prepare_span import prepare_span

                return Outcome(folder=str(prepare_span(job, settings=self.spec.settings, scorer=self.scorer)))

    def _analyse(self, job: AnalyseJob, store: Store) -> Outcome:
        from singalong.media.codecs import choose_decoder
        from tasks.analyse import analyse_clip

        folder = analyse_clip(
            job.clip,
            detector=self.detector,
            detector_ref=self.spec.detector,
            settings=self.spec.settings.analysis,
            store=store,
            decoder=choose_decoder(self.spec.settings.run.decoder),
        )
        return Outcome(folder=str(folder))

    def _prepare_song(self, job: SongJob, store: Store) -> Outcome:
        from tasks.prepare_song import Separation, prepare_song

        settings = self.spec.settings
        folder = prepare_song(
            Path(job.path),
            sha256=job.sha256,
            store=store,
            finds_voice=job.finds_voice,
            channel=job.channel,
            separation=Separation.of(settings) if job.separates else None,
        )
        return Outcome(folder=str(folder))

    def _find_speakers(self, job: SpeakersJob, store: Store) -> Outcome:
        from tasks.clues import speakers_version
        from tasks.speakers import find_speakers

        spec = self.spec
        assert spec.scorer is not None
        assert self.scorer is not None
        folder = find_speakers(
            job.clip,
            analysis=Path(job.analysis),
            version=speakers_version(spec.settings.analysis, spec.detector, spec.scorer),
            scorer=self.scorer,
            scorer_ref=spec.scorer,
            store=store,
        )
        return Outcome(folder=str(folder))

    def _find_likeness(self, job: LikenessJob, store: Store) -> Outcome:
        from tasks.clues import likeness_version
        from tasks.likeness import find_likeness

        settings = self.spec.settings.analysis
        folder = find_likeness(
            job.image,
            version=likeness_version(settings, self.spec.detector),
            detector=self.detector,
            settings=settings,
            store=store,
        )
        return Outcome(folder=str(folder))

    def _lipsync(self, job: LipsyncJob, store: Store) -> Outcome:
        from tasks.lipsync import lipsync_shard

        self.__dict__.pop("detector", None)  # 50 MB that shards have no use for; it loads in 0.1 s
        result = lipsync_shard(
            job,
            settings=settings_for(self.spec.settings, job.pair.overrides),
            analysis=Path(job.analysis),
            song=Path(job.song),
            generator=self.generator(job.pair.generator, batch_size=job.batch_size),
            scorer=self.scorer,
            enhancer=self.enhancer,
            store=store,
        )
        return Outcome(shard=result)

    def _join(self, job: JoinJob, store: Store) -> Outcome:
        from tasks.join import join

        film = join(job, store, check=store.check)
        try:
            store.check()
        except SingalongError:
            if not is_url(job.output):
                Path(job.output).unlink(missing_ok=True)  # it may hold another song than it says
            raise
        return Outcome(film=film)

    def _survey(self, job: SurveyJob) -> Outcome:
        from tasks.training.prepare_survey import survey_video

        survey = survey_video(
            job,
            settings=self.spec.settings,
            detector=lambda: self.detector,
            detector_ref=self.spec.detector,
            store=self.store,
        )
        return Outcome(survey=survey)

    @cached_property
    def detector(self) -> Detector:
        """The face detector, loaded once."""
        from models.detectors import load_detector

        return load_detector(self.spec.detector)

    @cached_property
    def scorer(self) -> Scorer | None:
        """The sync scorer, loaded once; None where none is installed."""
        if self.spec.scorer is None:
            return None
        from models.scorers import load_scorer

        return load_scorer(self.spec.scorer, device=self.spec.device)

    @cached_property
    def enhancer(self) -> Enhancer | None:
        """The face enhancer, loaded once; None where none is to be used."""
        if self.spec.enhancer is None:
            return None
        from models.enhancer import Enhancer

        return Enhancer(self.spec.enhancer)

    def generator(self, ref: ModelRef, *, batch_size: int) -> Engine:
        """The generator of this name; the last one used stays loaded, and with it the batch size that fitted.

        A batch size below the settings' comes of a try that ran out of memory: it is never exceeded again.
        """
        from models.engine import load_engine

        if self._generator is None or self._generator[0] != ref:
            self._generator = None  # free the old one first: two may not fit
            engine = load_engine(
                ref,
                device=self.spec.device,
                precision=self.spec.settings.lipsync.precision,
                batch_size=batch_size,
                gpu_share=self.spec.settings.run.gpus_per_actor,
            )
            self._generator = (ref, engine)
            release_memory()  # weights are read in float32 and kept in less
            if self._owns_process:
                release_code()
        engine = self._generator[1]
        if batch_size < self.spec.settings.run.batch_size:
            engine.fit.limit(batch_size)
        return engine


def _planned_files(job: Job) -> Iterator[PlannedFile]:
    """What of the user's files a job reads, and what they held when the run was planned."""
    match job:
        case AnalyseJob() | LipsyncJob() | SpeakersJob():
            yield job.clip.path, job.clip.file_sha256 or job.clip.sha256
        case SongJob():
            yield job.path, job.sha256
        case LikenessJob():
            yield job.image.path, job.image.sha256
        case JoinJob():
            yield from ((span.path, span.sha256) for span in job.audio if span.sha256 is not None)


def _prepared(job: Job) -> Iterator[Path]:
    """Cache folders that a job reads."""
    if isinstance(job, LipsyncJob):
        folders = (job.analysis, job.song, job.speakers, job.likeness)
        yield from (Path(folder) for folder in folders if folder is not None)


def _has_memory() -> bool:
    """Whether any is left: libraries that could not allocate fail in ways of their own, some without saying why."""
    try:
        return len(bytearray(_SPARE_BYTES)) > 0
    except MemoryError:
        return False


def _cause(error: Exception, job: Job, store: Store) -> Exception:
    """What is behind an error: a file that changed meanwhile is no fault of the file that was planned.

    And what is missing from the store, or damaged there, was sound before: no fault of the input, nor of ours.
    """
    known = classify(error)
    is_missing = isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError)
    if is_missing and Path(str(known.file)).is_relative_to(store.root):
        return TransientIOError("work vanished from the store", file=known.file, action=_AGAIN)
    if isinstance(known, BugError) and not _has_memory():
        return ResourceError(f"out of memory: {known.problem}", action="Run fewer workers or smaller batches.")
    if isinstance(known, InputError):
        try:
            store.check()
        except (SingalongError, OSError) as changed:
            return changed
    if isinstance(known, InputError | BugError):
        damaged = [folder for folder in _prepared(job) if store.drop_if_damaged(folder)]
        if damaged:
            return TransientIOError("what was prepared is damaged on the disk", file=damaged[0], action=_AGAIN)
    return error
