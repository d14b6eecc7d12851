"""PREPARE: what the shards of a run need before they can be made, each thing once for all pairs that share it.

    clips ----> analysis ----> speakers, where a pair asks who speaks
    songs ----> mel, voice
    pictures -> look, where a pair's face is to be like one

Idempotent: what the store holds is not made again. A failure blocks the pairs that need what failed, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from singalong.config import Settings
from singalong.contracts import ClipFacts, Failure, PairPlan, Plan
from singalong.errors import ErrorClass, InputError
from singalong.face_choice import SPEAKER, picture_of
from singalong.store import Store
from tasks.analyse import analysis_version
from tasks.clues import LIKENESS_KIND, SPEAKERS_KIND, likeness_version, speakers_version
from tasks.dispatch import Item, Recorder
from tasks.jobs import AnalyseJob, Job, LikenessJob, SongJob, SpeakersJob
from tasks.prepare_song import song_version
from tasks.probe_media import clip_facts, picture_facts, probe_all
from tasks.record import OutcomeRecorder

Dispatch = Callable[[str, Sequence[Item], Recorder], None]
"""Runs the items of a stage to their ends and tells the recorder."""


@dataclass(frozen=True)
class Prepared:
    """What the shards of one pair need: facts of the clip, and cache folders; no song where none was asked for."""

    clip: ClipFacts
    analysis: Path
    song: Path | None
    speakers: Path | None = None
    likeness: Path | None = None


@dataclass(frozen=True)
class Judged:
    """Cache folders of a clip whose speakers were looked for."""

    analysis: Path
    speakers: Path


@dataclass
class Preparation:
    """One preparing of some pairs, with or without their songs: what is known of their files, and what failed."""

    plan: Plan
    settings: Settings
    store: Store
    with_songs: bool = True
    clips: dict[str, ClipFacts] = field(default_factory=dict)
    pictures: dict[str, ClipFacts] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def run(self, pairs: Sequence[PairPlan], dispatch: Dispatch) -> dict[str, Prepared | Failure]:
        """Prepare all that these pairs need; by pair id what there is then, or why there is nothing."""
        self._look_at_files(pairs)
        self._do(dispatch, "prepare", (item for pair in pairs for item in self._first(pair)))
        self._do(dispatch, "speakers", (item for pair in pairs for item in self._after_analysis(pair)))
        return {pair.pair_id: self._of(pair) for pair in pairs}

    def _look_at_files(self, pairs: Sequence[PairPlan]) -> None:
        """Clips and pictures must still be what they were when the run was planned."""
        clips = probe_all(
            (pair.clip for pair in pairs), lambda path: clip_facts(path, settings=self.settings, store=self.store)
        )
        pictures = probe_all(
            (path for pair in pairs if (path := picture_of(pair.face)) is not None),
            lambda path: picture_facts(path, settings=self.settings, store=self.store),
        )
        for pair in pairs:
            self._note(self.clips, _clip_item(pair), clips, pair.clip, pair.clip_sha256)
            path = picture_of(pair.face)
            if path is not None:
                self._note(self.pictures, _likeness_item(pair), pictures, path, pair.picture_sha256)

    def _note(
        self,
        known: dict[str, ClipFacts],
        item_id: str,
        probed: Mapping[str, ClipFacts | InputError],
        path: str,
        sha256: str | None,
    ) -> None:
        facts = probed[path]
        if isinstance(facts, InputError):
            self.failures[item_id] = Failure(error_class=ErrorClass.INPUT, message=str(facts))
        elif facts.sha256 != sha256:
            self.failures[item_id] = _changed(path)
        else:
            known[path] = facts

    def _do(self, dispatch: Dispatch, stage: str, items: Iterable[Item]) -> None:
        distinct = {item.item_id: item for item in items}
        recorder = OutcomeRecorder()
        dispatch(stage, list(distinct.values()), recorder)
        for item_id, outcome in recorder.outcomes.items():
            if outcome.failure is not None:
                self.failures[item_id] = outcome.failure

    def _first(self, pair: PairPlan) -> Iterator[Item]:
        """What needs nothing but the files."""
        if pair.clip in self.clips and self._analysis(pair) is None:
            yield Item(_clip_item(pair), AnalyseJob(clip=self.clips[pair.clip]))
        if self.with_songs and self._song(pair) is None:
            yield Item(_song_item(pair), _song_job(pair))
        path = picture_of(pair.face)
        if path in self.pictures and self._likeness(pair) is None:
            yield Item(_likeness_item(pair), LikenessJob(image=self.pictures[path]))

    def _after_analysis(self, pair: PairPlan) -> Iterator[Item]:
        """What needs an analysis."""
        analysis = self._analysis(pair)
        if pair.face == SPEAKER and pair.clip in self.clips and analysis is not None and self._speakers(pair) is None:
            job: Job = SpeakersJob(clip=self.clips[pair.clip], analysis=str(analysis))
            yield Item(_speakers_item(pair), job)

    def _of(self, pair: PairPlan) -> Prepared | Failure:
        culprit = next((name for name in _items_of(pair) if name in self.failures), None)
        if culprit is not None:
            return self.failures[culprit]
        analysis, song = self._analysis(pair), self._song(pair)
        assert analysis is not None
        assert song is not None or not self.with_songs
        return Prepared(
            clip=self.clips[pair.clip],
            analysis=analysis,
            song=song,
            speakers=self._speakers(pair) if pair.face == SPEAKER else None,
            likeness=self._likeness(pair) if pair.picture_sha256 is not None else None,
        )

    # ---- what the store holds

    def speakers_of(self, pair: PairPlan) -> Judged | None:
        """What is known of who speaks in a pair's clip; None where that is not asked for, or not known."""
        analysis = self._analysis(pair) if pair.face == SPEAKER else None
        speakers = self._speakers(pair) if analysis is not None else None
        return None if analysis is None or speakers is None else Judged(analysis, speakers)

    def _analysis(self, pair: PairPlan) -> Path | None:
        version = analysis_version(self.settings.analysis, self.plan.detector)
        return self.store.cached("analysis", pair.clip_sha256, version)

    def _song(self, pair: PairPlan) -> Path | None:
        version = song_version(finds_voice=pair.finds_voice, channel=pair.voice_channel, separator=pair.separator_id)
        return self.store.cached("songs", pair.voice_sha256, version)

    def _speakers(self, pair: PairPlan) -> Path | None:
        assert self.plan.scorer is not None  # else the pair could not have been planned
        version = speakers_version(self.settings.analysis, self.plan.detector, self.plan.scorer)
        return self.store.cached(SPEAKERS_KIND, pair.clip_sha256, version)

    def _likeness(self, pair: PairPlan) -> Path | None:
        assert pair.picture_sha256 is not None
        version = likeness_version(self.settings.analysis, self.plan.detector)
        return self.store.cached(LIKENESS_KIND, pair.picture_sha256, version)


def _items_of(pair: PairPlan) -> Iterator[str]:
    """Names of all that a pair may need, in the order in which they are to blame."""
    yield _clip_item(pair)
    yield _song_item(pair)
    if pair.picture_sha256 is not None:
        yield _likeness_item(pair)
    if pair.face == SPEAKER:
        yield _speakers_item(pair)


def _clip_item(pair: PairPlan) -> str:
    return f"analyse {pair.clip_sha256[:16]}"


def _speakers_item(pair: PairPlan) -> str:
    return f"speakers {pair.clip_sha256[:16]}"


def _likeness_item(pair: PairPlan) -> str:
    return f"likeness {(pair.picture_sha256 or '')[:16]}"


def _song_item(pair: PairPlan) -> str:
    how = " (finding its voice)" if pair.finds_voice else ""
    how += "" if pair.voice_channel is None else f" (channel {pair.voice_channel})"
    how += "" if pair.separator_id is None else " (separating its voice)"
    return f"song {pair.voice_sha256[:16]}{how}"


def _song_job(pair: PairPlan) -> SongJob:
    return SongJob(
        path=pair.voice,
        sha256=pair.voice_sha256,
        finds_voice=pair.finds_voice,
        channel=pair.voice_channel,
        separates=pair.separator_id is not None,
    )


def _changed(path: str) -> Failure:
    return Failure(
        error_class=ErrorClass.INPUT,
        message=f"{path}: changed since this run was planned. Run the manifest again to plan with the new file.",
    )
