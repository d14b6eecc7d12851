"""What a run's films and its report are made of: of every pair the take that stands.

For a run of its own that is its plan and its ledger as they are. In a pass the best take of each pair is chosen, by
score, from what the store holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models import registry
from singalong.config import default_models_home
from singalong.contracts import Plan, ShardResult, Status, SyncScore
from singalong.errors import InputError
from singalong.fold import STATUSES, RunFold
from singalong.frames_table import DISTANCES, MISMATCHED, UNTOUCHED, read_frames
from singalong.plan_table import plan_to_table
from singalong.report import Judge
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds, combine_rows, verdict
from singalong.store import Store
from singalong.takes import JudgedTake, Take, best_take, takes_of, with_takes

_SCORE_COLUMNS = [DISTANCES, MISMATCHED, UNTOUCHED]


@dataclass(frozen=True)
class Standing:
    """The takes that stand.

    Attributes:
        run: the run.
        store: of its work.
        fold: where the shards of the plan of these takes stand.
        takes: all takes of each pair that was made more than once, oldest first, by pair id.
    """

    run: RunFolder
    store: Store
    fold: RunFold
    takes: Mapping[str, Sequence[JudgedTake]] = field(default_factory=dict)
    _plan: Plan | None = None

    @property
    def plan(self) -> Plan:
        """The run's plan, with earlier takes in place of its own where they are better."""
        return self._plan or self.run.plan

    def plan_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The table of that plan, or some of its columns; much smaller than the plan."""
        if self._plan is None:
            return self.run.plan_table(columns)
        table = plan_to_table(self._plan)
        return table if columns is None else table.select(columns)

    @cached_property
    def results(self) -> dict[str, ShardResult]:
        """The results of its finished shards that the store still holds, by shard id."""
        done = np.flatnonzero(self.fold.status == STATUSES.index(Status.DONE))
        keys = self.work_keys_at(done)
        found = self.store.find_many(keys)
        ids = (self.fold.shard_ids[number] for number in done.tolist())
        return {shard_id: found[key] for shard_id, key in zip(ids, keys, strict=True) if key in found}

    def work_keys_at(self, numbers: NDArray[np.int64]) -> list[str]:
        """The work keys of shards by their numbers in the plan."""
        return [self._work_keys[number] for number in numbers.tolist()]

    @cached_property
    def _work_keys(self) -> Sequence[str]:
        if self._plan is None:
            return self.run.outline.work_keys
        return [shard.work_key for shard in self._plan.shards]

    def work_keys_of(self, pair_ids: Iterable[str]) -> list[str]:
        """The work keys of these pairs' shards, in the order of the plan."""
        places = sorted(place for pair_id in pair_ids for place in self._places[pair_id])
        return [self.plan.shards[place].work_key for place in places]

    @cached_property
    def _places(self) -> Mapping[str, Sequence[int]]:
        """Where each pair's shards are in the plan."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, shard in enumerate(self.plan.shards):
            places[shard.pair_id].append(place)
        return places

    def best(self, pair_id: str) -> JudgedTake | None:
        """The take of a pair that stands; None where it has one take only."""
        return best_take(self.takes[pair_id]) if pair_id in self.takes else None


def standing(run: RunFolder, store: Store, *, thresholds: Thresholds | None = None) -> Standing:
    """Find out what stands. `thresholds` decide the verdicts; by default those on the card of the score's scorer."""
    fold, judge = run.fold(), judge_of(thresholds)
    if run.heritage is None:
        return Standing(run, store, fold)
    plan = run.plan
    known = takes_of(plan, run.heritage)
    found = store.find_many(shard.work_key for own in known.values() for take in own for shard in take.shards)
    takes = {pair_id: [_judged(take, found, run, store, judge) for take in own] for pair_id, own in known.items()}
    best = {pair_id: best_take(own) for pair_id, own in takes.items()}
    others = {pair_id: chosen for pair_id, chosen in best.items() if chosen.take.run_id != plan.run_id}
    if not others:
        return Standing(run, store, fold, takes)
    plan = with_takes(plan, {pair_id: chosen.take for pair_id, chosen in others.items()})
    return Standing(run, store, _folded(plan, fold, others.values()), takes, plan)


def score_of_pair(
    shard_ids: Sequence[str], results: Sequence[ShardResult], run: RunFolder, store: Store
) -> SyncScore | None:
    """The score of finished shards as one pair, merged from their frames tables in the store, or else in the run.

    None where these cannot be read any more.
    """
    if len(results) == 1:
        return results[0].score
    scorer = results[0].score.scorer
    if scorer is None:
        return SyncScore()
    try:
        tables = [
            _score_rows(shard_id, result, run, store) for shard_id, result in zip(shard_ids, results, strict=True)
        ]
    except (OSError, pa.ArrowException):
        return None
    return combine_rows(tables, scorer=scorer, min_windows=run.settings.score.min_windows)


def judge_of(thresholds: Thresholds | None = None) -> Judge:
    """Gives verdicts, by these thresholds or by those of each score's own scorer."""
    if thresholds is not None:
        return lambda score: verdict(score, thresholds)
    known = cache(scorer_thresholds)
    return lambda score: verdict(score, known(score.scorer))


def scorer_thresholds(scorer: str | None) -> Thresholds | None:
    """The thresholds on a scorer's card; None where there is no scorer, no card, or nothing on it."""
    if scorer is None:
        return None
    try:
        values = registry.find_card(scorer, default_models_home()).thresholds
        return Thresholds.model_validate(values) if values else None
    except (InputError, ValueError):
        return None  # the model was removed or its card edited since the run: scores stay, people judge


def _judged(take: Take, found: Mapping[str, ShardResult], run: RunFolder, store: Store, judge: Judge) -> JudgedTake:
    results = tuple(found[shard.work_key] for shard in take.shards if shard.work_key in found)
    if len(results) != len(take.shards) or not results:
        return JudgedTake(take, None, SyncScore(), None)
    score = score_of_pair([shard.shard_id for shard in take.shards], results, run, store) or SyncScore()
    return JudgedTake(take, results, score, judge(score))


def _score_rows(shard_id: str, result: ShardResult, run: RunFolder, store: Store) -> pa.Table:
    kept = run.frames_path(shard_id)
    if store.fetches and kept.exists():
        return read_frames(kept, _SCORE_COLUMNS)
    with store.using():
        path: Path = store.frames_path(result)
        return read_frames(path if path.exists() else kept, _SCORE_COLUMNS)


def _folded(plan: Plan, fold: RunFold, chosen: Iterable[JudgedTake]) -> RunFold:
    """The fold of a plan in which these takes, all done, stand in place of its own."""
    results = {
        shard.shard_id: result
        for judged in chosen
        for shard, result in zip(judged.take.shards, judged.results or (), strict=True)
    }
    return fold.with_results([shard.shard_id for shard in plan.shards], results)
