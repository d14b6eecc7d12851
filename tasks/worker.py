"""The worker: a plain class that does jobs one after the other and keeps its models warm between them.

Usable and tested without Ray; `tasks.actors` wraps it where it is launched. Models load at the first job that needs
them, in the worker's own process.
"""

from __future__ import annotations

import os
import socket
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from singalong.contracts import ModelRef
from singalong.store import Store
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
from tasks.memory import release_memory

if TYPE_CHECKING:
    from models.detectors import Detector
    from models.engine import Engine
    from models.enhancer import Enhancer
    from models.scorers import Scorer


class Worker:
    """Does jobs; holds one detector, one scorer and the last generator used."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.store = Store(Path(spec.store))
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._generator: tuple[ModelRef, Engine] | None = None

    def run(self, job: Job) -> Outcome:
        """Do one job. Never raises for a failed job: the failure is in the outcome."""
        started = time.monotonic()
        try:
            outcome = self._dispatch(job)
        except Exception as error:  # noqa: BLE001 - the border where every error becomes a row
            outcome = Outcome(failure=failure_of(error))
        release_memory()
        return outcome.model_copy(update={"seconds": time.monotonic() - started, "worker": self.name})

    def _dispatch(self, job: Job) -> Outcome:
        match job:
            case AnalyseJob():
                return self._analyse(job)
            case SongJob():
                return self._prepare_song(job)
            case SpeakersJob():
                return self._find_speakers(job)
            case LikenessJob():
                return self._find_likeness(job)
            case LipsyncJob():
                return self._lipsync(job)
            case JoinJob():
                from tasks.join import join

                return Outcome(film=join(job))
            case ConformJob():
                from tasks.join import conform

                return Outcome(folder=str(conform(job, self.store)))
            case SurveyJob():
                return self._survey(job)
            case SequencesJob():
                from tasks.training.prepare_span import prepare_span

                return Outcome(folder=str(prepare_span(job, settings=self.spec.settings, scorer=self.scorer)))

    def _analyse(self, job: AnalyseJob) -> Outcome:
        from tasks.analyse import analyse_clip

        folder = analyse_clip(
            job.clip,
            detector=self.detector,
            detector_ref=self.spec.detector,
            settings=self.spec.settings.analysis,
            store=self.store,
        )
        return Outcome(folder=str(folder))

    def _prepare_song(self, job: SongJob) -> Outcome:
        from tasks.prepare_song import Separation, prepare_song

        settings = self.spec.settings
        folder = prepare_song(
            Path(job.path),
            sha256=job.sha256,
            store=self.store,
            finds_voice=job.finds_voice,
            channel=job.channel,
            separation=Separation.of(settings) if job.separates else None,
        )
        return Outcome(folder=str(folder))

    def _find_speakers(self, job: SpeakersJob) -> Outcome:
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
            store=self.store,
        )
        return Outcome(folder=str(folder))

    def _find_likeness(self, job: LikenessJob) -> Outcome:
        from tasks.clues import likeness_version
        from tasks.likeness import find_likeness

        settings = self.spec.settings.analysis
        folder = find_likeness(
            job.image,
            version=likeness_version(settings, self.spec.detector),
            detector=self.detector,
            settings=settings,
            store=self.store,
        )
        return Outcome(folder=str(folder))

    def _lipsync(self, job: LipsyncJob) -> Outcome:
        from tasks.lipsync import lipsync_shard

        result = lipsync_shard(
            job,
            settings=self.spec.settings,
            analysis=Path(job.analysis),
            song=Path(job.song),
            generator=self.generator(job.pair.generator, batch_size=job.batch_size),
            scorer=self.scorer,
            enhancer=self.enhancer,
            store=self.store,
        )
        return Outcome(shard=result)

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
        """The generator of this name; the last one used stays loaded."""
        from models.engine import load_engine

        if self._generator is None or self._generator[0] != ref:
            self._generator = None  # free the old one first: two may not fit
            engine = load_engine(
                ref,
                device=self.spec.device,
                precision=self.spec.settings.lipsync.precision,
                batch_size=batch_size,
            )
            self._generator = (ref, engine)
        engine = self._generator[1]
        engine.batch_size = batch_size
        return engine
