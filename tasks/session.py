"""A run in progress: its folder, its settings, its store and its pool, and the steps that move it on.

Each step is idempotent: it looks at what is committed, and does only what is missing.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Protocol

from singalong.config import Settings
from singalong.contracts import Failure, Plan, ShardPlan, Status
from singalong.errors import SingalongError
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.attempt_log_driver import StepLogs
from tasks.credentials import signing_of
from tasks.dispatch import Item, Recorder, TooManyBugsError, dispatch
from tasks.doubts import note_speaker
from tasks.early_pool import Cluster
from tasks.jobs import LipsyncJob, LogPlace, Outcome, Signing, WorkerSpec
from tasks.metering import Meter, metered, open_meter
from tasks.pool import InProcessPool, Pool
from tasks.preparation import Preparation, Prepared
from tasks.record import ShardRecorder, record_blocked, record_reused
from tasks.seen_files import files_to_see
from tasks.standing import Standing, standing


class Watcher(Protocol):
    """Is told of progress, to show it."""

    def begin(self, stage: str, total: int) -> None:
        """A stage with `total` items begins."""

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """An item of the stage came to its end."""


class Session:
    """One driver's hold on a run; use as a context manager, so that the pool is closed whatever happens."""

    def __init__(
        self, run: RunFolder, watcher: Watcher | None = None, open_workers: Callable[[], Pool] | None = None
    ) -> None:
        """`open_workers`: opens the pool in another way than the settings say."""
        self.run, self.watcher = run, watcher or Unwatched()
        self._open_workers = open_workers or partial(open_workers_of, run)
        self.plan: Plan = run.plan
        self.settings: Settings = run.settings
        self.store = store_of(self.settings)
        self.pairs = {pair.pair_id: pair for pair in self.plan.pairs}
        self._pool: Pool | None = None
        self.meter: Meter | None = None
        self._twins: defaultdict[str, list[ShardPlan]] = defaultdict(list)

    def __enter__(self) -> Session:
        self.store.check_reachable()
        self.store.tidy()
        self.meter = open_meter(self.run)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.meter is not None:
            self.meter.leave(kind)
        try:
            if self._pool is not None:
                self._pool.close()
        finally:
            with contextlib.suppress(OSError, SingalongError):  # it is for comfort; what counts is written
                self.run.fold_journal()

    @cached_property
    def signing(self) -> Signing | None:
        """What films are signed with."""
        return signing_of(self.settings)

    @property
    def pool(self) -> Pool:
        """The workers, started when first needed."""
        if self._pool is None:
            self._pool = self._open_workers()
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
        found = self.store.find_many(shard.work_key for shard in self.plan.shards)
        reused = (shard.work_key for shard in self.plan.shards if fold.status_of(shard.shard_id) is not Status.DONE)
        self.store.fetch_frames(found[key] for key in dict.fromkeys(reused) if key in found)
        for shard in self.plan.shards:
            status = fold.status_of(shard.shard_id)
            if status is Status.QUARANTINED:
                continue
            result = found.get(shard.work_key)
            if result is None and not self.run.makes(shard.pair_id):
                continue
            if result is None and shard.work_key in todo:
                self._twins[shard.work_key].append(shard)
            elif result is None:
                todo[shard.work_key] = shard
            elif status is not Status.DONE:
                record_reused(self.run, self.store, shard, result)
        self.run.flush_attempts()
        return list(todo.values())

    # ---- the steps

    def prepare(self, shards: Sequence[ShardPlan]) -> list[Item]:
        """Prepare what these shards need, once each (see `tasks.preparation`); returns the shards' own items.

        Shards for which something cannot be prepared are recorded with that failure and left out.
        """
        pairs = [self.pairs[pair_id] for pair_id in dict.fromkeys(shard.pair_id for shard in shards)]
        preparation = Preparation(self.plan, self.settings, self.store)
        try:
            prepared = preparation.run(pairs, self.dispatch)
        except TooManyBugsError:  # say what stopped the run of the shards it stopped
            self._left_to_make(shards, {pair.pair_id: preparation.failure_of(pair) for pair in pairs})
            raise
        for pair in self.plan.pairs:  # those that are done already, too
            known = preparation.speakers_of(pair)
            if known is not None:
                note_speaker(self.run, pair, analysis=known.analysis, speakers=known.speakers)
        return [self._lipsync_item(shard, found) for shard, found in self._left_to_make(shards, prepared)]

    def _left_to_make(
        self, shards: Sequence[ShardPlan], prepared: Mapping[str, Prepared | Failure | None]
    ) -> list[tuple[ShardPlan, Prepared]]:
        """Record the shards of pairs that could not be prepared; returns those of the others."""
        ready = []
        for shard in shards:
            found = prepared[shard.pair_id]
            if isinstance(found, Failure):
                record_blocked(self.run, [shard, *self._twins[shard.work_key]], found)
            elif found is not None:
                ready.append((shard, found))
        self.run.flush_attempts()
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
        recorder = Watched(StepLogs(recorder, self.run.logs, stage), stage, self.watcher)
        with metered(self.meter, stage, recorder, len(items)) as (recorder, on_tick):
            dispatch(
                items,
                self.pool,
                recorder,
                timeout_s=self.settings.run.shard_timeout_s,
                bug_limit=self.settings.run.bug_limit,
                on_tick=lambda: on_tick(self.pool),
            )

    def _lipsync_item(self, shard: ShardPlan, found: Prepared) -> Item:
        job = LipsyncJob(
            pair=self.pairs[shard.pair_id],
            shard=shard,
            clip=found.clip,
            analysis=str(found.analysis),
            song=str(found.song),
            speakers=None if found.speakers is None else str(found.speakers),
            likeness=None if found.likeness is None else str(found.likeness),
            batch_size=self.settings.run.batch_size,
        )
        return Item(shard.shard_id, job)


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
        self._ended: list[tuple[Item, Outcome]] = []

    def started(self, item: Item) -> LogPlace | None:
        """Pass it on."""
        return self._recorder.started(item)

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Pass it on."""
        self._recorder.ended(item, outcome, final=final)
        if final:
            self._ended.append((item, outcome))

    def commit(self) -> None:
        """Pass it on, then tell the watcher of what came to its end: now it is safe."""
        self._recorder.commit()
        ended, self._ended = self._ended, []
        for item, outcome in ended:
            self._watcher.advance(self._stage, item, outcome)


def worker_spec(plan: Plan, settings: Settings) -> WorkerSpec:
    """What the workers of a plan need to know."""
    return WorkerSpec(
        settings=settings,
        store=settings.store_location,
        detector=plan.detector,
        scorer=plan.scorer,
        enhancer=plan.enhancer,
    )


def spec_of(run: RunFolder) -> WorkerSpec:
    """What the workers of a run need to know."""
    spec = worker_spec(run.plan, run.settings)
    return spec.model_copy(update={"files": files_to_see(run, run.plan)})


def open_workers_of(run: RunFolder) -> Pool:
    """The workers of a run."""
    return open_pool(spec_of(run))


def open_pool(spec: WorkerSpec) -> Pool:
    """The pool the settings ask for: Ray actors, or this process."""
    run = spec.settings.run
    if run.executor == "inprocess":
        return InProcessPool(spec)
    from tasks.actors import RayPool  # ray takes half a second to import

    return RayPool(spec)


def begin_cluster(settings: Settings) -> Cluster:
    """What Ray's workers are to be part of: a local one is started, one that exists is joined with the workers."""
    from tasks.actors import RayCluster

    return RayCluster(settings)
