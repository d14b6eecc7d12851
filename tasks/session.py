"""A run in progress: its folder, its settings, its store and its pool, and the steps that move it on.

Each step is idempotent: it looks at what is committed, and does only what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from singalong.config import Settings
from singalong.contracts import ClipFacts, Failure, PairPlan, Plan, ShardPlan, Status
from singalong.errors import ErrorClass, InputError
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.analyse import analysis_version
from tasks.credentials import signing_of
from tasks.dispatch import Item, Recorder, TooManyBugsError, dispatch
from tasks.jobs import AnalyseJob, LipsyncJob, Outcome, Signing, SongJob, WorkerSpec
from tasks.pool import InProcessPool, Pool
from tasks.prepare_song import song_version
from tasks.probe_media import clip_facts, probe_all
from tasks.record import OutcomeRecorder, ShardRecorder, record_blocked, record_reused
from tasks.standing import Standing, standing


class Watcher(Protocol):
    """Is told of progress, to show it."""

    def begin(self, stage: str, total: int) -> None:
        """A stage with `total` items begins."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """An item of the stage came to its end."""


class Session:
    """One driver's hold on a run; use as a context manager, so that the pool is closed whatever happens."""

    def __init__(self, run: RunFolder, watcher: Watcher | None = None) -> None:
        self.run, self.watcher = run, watcher or Unwatched()
        self.plan: Plan = run.plan
        self.settings: Settings = run.settings
        self.store = Store(self.settings.store_path)
        self.pairs = {pair.pair_id: pair for pair in self.plan.pairs}
        self._pool: Pool | None = None
        self._twins: defaultdict[str, list[ShardPlan]] = defaultdict(list)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._pool is not None:
            self._pool.close()

    @cached_property
    def signing(self) -> Signing | None:
        """What films are signed with."""
        return signing_of(self.settings)

    @property
    def pool(self) -> Pool:
        """The workers, started when first needed."""
        if self._pool is None:
            self._pool = open_pool(
                WorkerSpec(
                    settings=self.settings,
                    store=str(self.settings.store_path),
                    detector=self.plan.detector,
                    scorer=self.plan.scorer,
                )
            )
        return self._pool

    # ---- what is left to do

    def standing(self) -> Standing:
        """What films are made of at this moment: of every pair the take that stands."""
        return standing(self.run, self.store)

    def pending(self) -> list[ShardPlan]:
        """Shards to do, in the plan's order; of shards that need the same work the first stands for all.

        What the store holds already is recorded as reused on the way.
        A pass does not touch what it was not asked for. Quarantined shards stay so: their input is at fault, and
        another input has another work key. Failed ones are tried again.
        """
        fold = self.run.fold()
        todo: dict[str, ShardPlan] = {}
        self._twins.clear()
        for shard in self.plan.shards:
            status = fold.shards[shard.shard_id].status
            if status is Status.QUARANTINED:
                continue
            result = self.store.find(shard.work_key)
            if result is None and not self.run.makes(shard.pair_id):
                continue
            if result is None and shard.work_key in todo:
                self._twins[shard.work_key].append(shard)
            elif result is None:
                todo[shard.work_key] = shard
            elif status is not Status.DONE:
                record_reused(self.run, self.store, shard, result)
        return list(todo.values())

    # ---- the steps

    def prepare(self, shards: Sequence[ShardPlan]) -> list[Item]:
        """Analyse the clips and prepare the songs these shards need, once each; returns the shards' own items.

        Shards whose clip or song cannot be prepared are recorded with that failure and left out.
        """
        pairs = [self.pairs[pair_id] for pair_id in dict.fromkeys(shard.pair_id for shard in shards)]
        clips, failures = self._clips(pairs)
        items = list(self._preparations(pairs, clips))
        recorder = OutcomeRecorder()
        try:
            self.dispatch("prepare", items, recorder)
        except TooManyBugsError:
            self._set_aside(shards, failures | recorder.failures())
            raise
        ready = self._set_aside(shards, failures | recorder.failures())
        return [self._lipsync_item(pair, shard, clips[pair.clip]) for pair, shard in ready]

    def _set_aside(
        self, shards: Sequence[ShardPlan], failures: Mapping[str, Failure]
    ) -> list[tuple[PairPlan, ShardPlan]]:
        """Record the shards that failed with their clip or song; returns the others, with their pairs."""
        ready = []
        for shard in shards:
            pair = self.pairs[shard.pair_id]
            culprit = next((name for name in (_clip_item(pair), _song_item(pair)) if name in failures), None)
            if culprit:
                record_blocked(self.run, [shard, *self._twins[shard.work_key]], failures[culprit])
            else:
                ready.append((pair, shard))
        return ready

    def lipsync(self, items: Sequence[Item]) -> None:
        """Make these shards; every attempt is recorded as it ends."""
        recorder = ShardRecorder(self.run, self.store, self._twins)
        self.dispatch("lipsync", items, recorder)

    def dispatch(self, stage: str, items: Sequence[Item], recorder: Recorder) -> None:
        """Run items through the pool, which is started for the first of them."""
        self.run.check_is_there()
        if not items:
            return
        self.watcher.begin(stage, len(items))
        dispatch(
            items,
            self.pool,
            Watched(recorder, stage, self.watcher),
            timeout_s=self.settings.run.shard_timeout_s,
            bug_limit=self.settings.run.bug_limit,
        )

    # ---- items

    def _clips(self, pairs: Iterable[PairPlan]) -> tuple[dict[str, ClipFacts], dict[str, Failure]]:
        probed = probe_all(
            (pair.clip for pair in pairs),
            lambda path: clip_facts(path, settings=self.settings, store=self.store),
        )
        clips, failures = {}, {}
        for pair in pairs:
            facts = probed[pair.clip]
            if isinstance(facts, InputError):  # it was sound when it was planned
                failures[_clip_item(pair)] = Failure(
                    error_class=ErrorClass.INPUT, message=str(facts), file_changed=True
                )
            elif facts.sha256 != pair.clip_sha256:
                failures[_clip_item(pair)] = _changed(pair.clip)
            else:
                clips[pair.clip] = facts
        return clips, failures

    def _preparations(self, pairs: Sequence[PairPlan], clips: dict[str, ClipFacts]) -> Iterable[Item]:
        wanted: dict[str, Item] = {}
        for pair in pairs:
            if pair.clip in clips and self._cached_analysis(pair) is None:
                wanted.setdefault(_clip_item(pair), Item(_clip_item(pair), AnalyseJob(clip=clips[pair.clip])))
            if self._cached_song(pair) is None:
                job = SongJob(
                    path=pair.voice,
                    sha256=pair.voice_sha256,
                    finds_voice=pair.finds_voice,
                    channel=pair.voice_channel,
                    separates=pair.separator_id is not None,
                )
                wanted.setdefault(_song_item(pair), Item(_song_item(pair), job))
        return wanted.values()

    def _lipsync_item(self, pair: PairPlan, shard: ShardPlan, clip: ClipFacts) -> Item:
        analysis, song = self._cached_analysis(pair), self._cached_song(pair)
        assert analysis is not None
        assert song is not None
        job = LipsyncJob(
            pair=pair,
            shard=shard,
            clip=clip,
            analysis=str(analysis),
            song=str(song),
            batch_size=self.settings.run.batch_size,
        )
        return Item(shard.shard_id, job)

    def _cached_analysis(self, pair: PairPlan) -> object:
        return self.store.cached("analysis", pair.clip_sha256, self._analysis_version)

    def _cached_song(self, pair: PairPlan) -> object:
        return self.store.cached("songs", pair.voice_sha256, _song_version(pair))

    @cached_property
    def _analysis_version(self) -> str:
        return analysis_version(self.settings.analysis, self.plan.detector)


class Unwatched:
    """Shows nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """Nothing to show."""


class Watched:
    """A recorder that also tells the watcher of final outcomes."""

    def __init__(self, recorder: Recorder, stage: str, watcher: Watcher) -> None:
        self._recorder, self._stage, self._watcher = recorder, stage, watcher

    def started(self, item: Item) -> None:
        """Pass it on."""
        self._recorder.started(item)

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Pass it on, and tell the watcher if it is the last."""
        self._recorder.ended(item, outcome, final=final)
        if final:
            self._watcher.advance(self._stage, item, outcome)


def open_pool(spec: WorkerSpec) -> Pool:
    """The pool the settings ask for: Ray actors, or this process."""
    run = spec.settings.run
    if run.executor == "inprocess":
        return InProcessPool(spec)
    from tasks.actors import RayPool  # ray takes half a second to import

    return RayPool(spec, num_actors=run.num_actors, gpus_per_actor=run.gpus_per_actor, address=run.ray_address)


def _clip_item(pair: PairPlan) -> str:
    return f"analyse {pair.clip_sha256[:16]}"


def _song_item(pair: PairPlan) -> str:
    how = " (finding its voice)" if pair.finds_voice else ""
    how += "" if pair.voice_channel is None else f" (channel {pair.voice_channel})"
    how += "" if pair.separator_id is None else " (separating its voice)"
    return f"song {pair.voice_sha256[:16]}{how}"


def _song_version(pair: PairPlan) -> str:
    return song_version(finds_voice=pair.finds_voice, channel=pair.voice_channel, separator=pair.separator_id)


def _changed(path: str) -> Failure:
    return Failure(
        error_class=ErrorClass.INPUT,
        message=f"{path}: changed since this run was planned. Run the manifest again to plan with the new file.",
        file_changed=True,
    )
