"""Takes: the ways a pair was made, one a run that made it; the best one stands, the others are kept and listed.

A run that makes part of another one again (a pass) is a run of its own. It holds the whole plan, so that its report and
its montages are whole, and the plans of the takes before, so that it needs nobody else. Shards are shared through the
store, by their work keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from singalong.contracts import PairPlan, Plan, Row, ShardPlan, ShardResult, SyncScore, Verdict

PASS_SCHEMA_VERSION = 2
"""2: it tells what people asked for."""
_WORST_FIRST = (Verdict.NOT_SCORABLE, Verdict.FAIL, Verdict.REVIEW, Verdict.PASS)


class EarlierRun(Row):
    """A run that made takes before this one; `rejected` are pairs whose take a person sent back."""

    run_id: str
    path: str
    rejected: tuple[str, ...] = ()


class AskedFor(Row):
    """Why a person sent a pair back, and what it was made again with."""

    pair_id: str
    settings: tuple[str, ...] = Field(default=(), description="column=value or section.key=value, see singalong.asked")
    reviewer: str | None = None
    reason: str | None = None


class Pass(Row):
    """What of its parent a run makes again, and why."""

    schema_version: int = PASS_SCHEMA_VERSION
    parent: str = Field(description="run folder")
    parent_run_id: str
    selection: tuple[str, ...] = Field(description="how its pairs were chosen, as on the command line")
    overrides: tuple[str, ...] = Field(default=(), description="settings given for this pass")
    pairs: tuple[str, ...] = Field(description="pairs that are made again; all others are as they were")
    earlier: tuple[EarlierRun, ...] = Field(description="runs whose takes count too, oldest first")
    asked: tuple[AskedFor, ...] = Field(
        default=(), description="of each pair that was ever made again because a person sent it back, the last time"
    )
    rejections: str | None = Field(default=None, description="names the rejections it acts on; None: not told")


@dataclass(frozen=True)
class Heritage:
    """A pass, with the plans of the earlier runs in the order of `Pass.earlier`; of pairs that were made again only."""

    order: Pass
    plans: tuple[Plan, ...]


@dataclass(frozen=True)
class Take:
    """A pair as one run made it, or is to make it."""

    run_id: str
    pair: PairPlan
    shards: tuple[ShardPlan, ...]
    rejected: bool = False


@dataclass(frozen=True)
class JudgedTake:
    """A take with what came of it.

    Attributes:
        results: of its shards, in their order; None unless all are done.
        score: of the whole pair; empty where it is not done or not scorable.
        verdict: of that score; None where it is not done.
    """

    take: Take
    results: tuple[ShardResult, ...] | None
    score: SyncScore
    verdict: Verdict | None


def takes_of(plan: Plan, heritage: Heritage | None) -> dict[str, list[Take]]:
    """The takes of each pair that was ever made again, oldest first; the last is the present plan's own."""
    if heritage is None:
        return {}
    takes: defaultdict[str, list[Take]] = defaultdict(list)
    for run, earlier in zip(heritage.order.earlier, heritage.plans, strict=True):
        for take in _takes_in(earlier, run.run_id, frozenset(run.rejected)):
            takes[take.pair.pair_id].append(take)
    for take in _takes_in(plan, plan.run_id, frozenset()):
        if take.pair.pair_id in takes:
            takes[take.pair.pair_id].append(take)
    return dict(takes)


def best_take(takes: Sequence[JudgedTake]) -> JudgedTake:
    """The take that stands: of those that are done the best by verdict, then by confidence; else the newest.

    One that a person sent back stands only if there is no other. Scores of two scorers do not compare: takes that the
    newest one's scorer did not judge stand back behind it. Of equals the newest stands.

    Args:
        takes: all takes of a pair, oldest first.
    """
    done = [take for take in takes if take.results is not None]
    if not done:
        return takes[-1]
    wanted = [take for take in done if not take.take.rejected] or done
    scorer = wanted[-1].score.scorer
    comparable = [take for take in wanted if take.score.scorer == scorer]
    return max(enumerate(comparable), key=lambda numbered: (*_rank(numbered[1]), numbered[0]))[1]


def with_takes(plan: Plan, chosen: Mapping[str, Take]) -> Plan:
    """The plan with these takes in place of its own; order and everything else stay."""
    pairs = tuple(chosen[pair.pair_id].pair if pair.pair_id in chosen else pair for pair in plan.pairs)
    own = tuple(shard for shard in plan.shards if shard.pair_id not in chosen)
    others = tuple(shard for take in chosen.values() for shard in take.shards)
    return plan.model_copy(update={"pairs": pairs, "shards": own + others})


def _takes_in(plan: Plan, run_id: str, rejected: frozenset[str]) -> list[Take]:
    shards: defaultdict[str, list[ShardPlan]] = defaultdict(list)
    for shard in plan.shards:
        shards[shard.pair_id].append(shard)
    return [
        Take(
            run_id,
            pair,
            tuple(sorted(shards[pair.pair_id], key=lambda shard: shard.start_frame)),
            pair.pair_id in rejected,
        )
        for pair in plan.pairs
    ]


def _rank(take: JudgedTake) -> tuple[int, float]:
    verdict = -1 if take.verdict is None else _WORST_FIRST.index(take.verdict)
    return verdict, take.score.confidence if take.score.confidence is not None else float("-inf")
