"""REPROCESS: a run that makes part of another one again, and joins anew only what that touches.

The new run holds the whole plan: pairs that are not made again keep their shards, whose results the store has, and
their films are taken over. So its report and its montages are whole, and it can be reprocessed in turn.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from singalong.asked import Asked, read_asked
from singalong.config import Settings, with_overrides
from singalong.contracts import AttemptRow, PairRow, Plan, ShardPlan, Status
from singalong.errors import UsageError
from singalong.heritage import read_pass
from singalong.objects import is_url
from singalong.plan import shards_of
from singalong.remote_run import is_empty, run_at
from singalong.report import Report
from singalong.reviews import Ruling, inherit_decisions, read_decisions
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.takes import AskedFor, EarlierRun, Heritage, Pass
from singalong.versions import ALGORITHM_VERSION
from tasks.plan_run import Progress, new_run_id, resolve_models
from tasks.replan import Replanned, Replanner
from tasks.report import fold_run
from tasks.selection import Wanted, select_pairs
from tasks.standing import Standing, standing

_SAME = (
    "it would come out just as it is. Ask for something else in the review (key s: another face, generator, mask, part "
    "of the song), or give --set for all, e.g. --set lipsync.mask=box"
)


Judged = Mapping[str, Mapping[str, Any]]
"""By pair id what pairs.parquet says of where it stands and of what a person decided."""


@dataclass(frozen=True)
class PlannedPass:
    """A pass that was planned, and not yet begun.

    Attributes:
        plan: of the new run.
        settings: of the new run.
        heritage: what goes into its folder beside the plan.
        manifest: rows of the new run, with what was asked for.
        reasons: why each of its pairs is made again, by pair id; where it is empty there is nothing to do.
        refused: why pairs that were chosen are not made again, by pair id; they stay as they were.
        asked: what people asked for as they rejected a pair, and the pass does, by pair id.
    """

    plan: Plan
    settings: Settings
    heritage: Heritage
    manifest: list[PairRow]
    reasons: dict[str, tuple[str, ...]]
    refused: dict[str, str]
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)


def plan_pass(
    parent: RunFolder,
    store: Store,
    wanted: Wanted,
    *,
    overrides: list[str],
    progress: Progress = lambda _what, _done, _total: None,
) -> PlannedPass | None:
    """Plan what of a run is to be made again; None where nothing is chosen. Writes nothing.

    Args:
        parent: the run; finished or not.
        store: of its work.
        wanted: which pairs.
        overrides: settings for this pass, `section.key=value`; all others are the parent's. They take the place of what
            rows say, and what a person asked for as they rejected a pair takes theirs.
        progress: is told of media that is looked at again.

    The present take of a pair that a person rejected stands back behind any other. What would only come out as it is
    is refused.
    A pair whose files have changed is planned anew, and so are the rows of its montage that are laid behind it.

    Raises UsageError for a query or a setting that cannot be used, InputError for models that are not installed.
    """
    settings = with_overrides(parent.settings, overrides)
    stands = standing(parent, store)
    report = fold_run(parent, store, stands)
    judged = _judged(report)
    rejected = frozenset(pair_id for pair_id, pair in judged.items() if pair["review_ruling"] == Ruling.REJECT)
    selection = select_pairs(report, wanted)
    if not selection.reasons:
        return None
    asked, unreadable = _asked(parent, judged, frozenset(selection.reasons) & rejected, settings)
    chosen = frozenset(selection.reasons) - unreadable.keys()
    replanner = Replanner(parent, store, settings, overrides, progress)
    found = replanner.plan(chosen, asked)
    same = _same_as_before(found, chosen - found.refused.keys(), settings, stands, judged)
    if same:  # once more without them, so that nothing of theirs is touched
        chosen -= same.keys()
        found = replanner.plan(chosen, asked)
    refused = {**unreadable, **found.refused, **same}
    reasons = {pair_id: why for pair_id, why in selection.reasons.items() if pair_id not in refused}
    reasons |= dict.fromkeys(found.moved, ("a row before it takes another part of the song now",))
    order = Pass(
        parent=parent.location,
        parent_run_id=parent.run_id,
        selection=wanted.words(),
        overrides=tuple(overrides),
        pairs=tuple(reasons),
        earlier=_earlier(parent, stands, rejected & reasons.keys()),
        asked=_asked_for(parent, judged, rejected & reasons.keys()),
        rejections=_rejections(parent, wanted),
    )
    return PlannedPass(
        plan=_plan(parent.plan, found, settings, made=frozenset(reasons)),
        settings=settings,
        heritage=Heritage(order, _earlier_plans(parent, frozenset(reasons))),
        manifest=found.rows,
        reasons=reasons,
        refused=refused,
        asked={one.pair_id: one.settings for one in order.asked if one.pair_id in reasons and one.settings},
    )


def begin_pass(path: Path, planned: PlannedPass, parent: RunFolder) -> RunFolder:
    """Make the folder of a planned pass."""
    child = RunFolder.create(path, planned.plan, planned.settings, manifest=planned.manifest, heritage=planned.heritage)
    inherit_failures(child, parent)
    inherit_decisions(
        child.path, parent.path, parent.run_id, [row.pair_id for row in child.manifest if not child.makes(row.pair_id)]
    )
    return child


def inherit_failures(child: RunFolder, parent: RunFolder) -> None:
    """Have the child know why pairs that are not for it to make came to nothing; what it knows it keeps."""
    theirs, ours = parent.fold(), child.fold()
    failed = {*theirs.having(Status.FAILED, Status.QUARANTINED, Status.PENDING)}
    for number, shard in enumerate(child.plan.shards):
        if child.makes(shard.pair_id) or shard.shard_id not in failed or ours.num_attempts[number]:
            continue
        failure = theirs.shards[shard.shard_id].failure
        if failure is None:
            continue
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        attempt = AttemptRow(
            run_id=child.run_id,
            shard_id=shard.shard_id,
            attempt=child.next_attempt(shard.shard_id),
            work_key=shard.work_key,
            failure=failure,
            started_at=now,
            finished_at=now,
        )
        child.record(attempt, flush=False)
    child.flush_attempts()


def pass_folder(
    parent: RunFolder, wanted: Wanted, overrides: list[str], place: str | Path | None
) -> tuple[str | Path, bool]:
    """The folder or URL for a pass, and whether it holds this very pass already, to be gone on with.

    With no `place` it is `<parent>.2`, `<parent>.3` and so on: the first that holds this pass, or that is free.

    Raises UsageError where `place` holds something else.
    """
    if place is not None:
        place = str(place) if is_url(place) else Path(place).expanduser().absolute()
        if is_empty(place):
            return place, False
        if not _is_same(place, parent, wanted, overrides):
            raise UsageError(
                "the folder holds another run",
                file=place,
                expected="a new folder, or the one of the same pass of the same run",
            )
        return place, True
    number = 2
    while not is_empty(folder := _numbered(parent, number)):
        if _is_same(folder, parent, wanted, overrides):
            return folder, True
        number += 1
    return folder, False


def _numbered(parent: RunFolder, number: int) -> str | Path:
    place = f"{parent.location}.{number}"
    return place if is_url(place) else Path(place)


def _is_same(place: str | Path, parent: RunFolder, wanted: Wanted, overrides: list[str]) -> bool:
    with run_at(place) as folder:
        order = read_pass(folder)
    if order is None or order.rejections not in (None, _rejections(parent, wanted)):
        return False
    return (order.parent_run_id, order.selection, order.overrides) == (
        parent.run_id,
        wanted.words(),
        tuple(overrides),
    )


def _rejections(parent: RunFolder, wanted: Wanted) -> str:
    """Names what stands rejected in a run, so that a pass that acted on other rejections is told from this one."""
    if not wanted.rejected:
        return ""
    stands = read_decisions(parent.path)
    words = [
        [pair_id, decision.reviewer, decision.decided_at, *decision.settings]
        for pair_id, decision in sorted(stands.items())
        if decision.ruling is Ruling.REJECT
    ]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


def _asked(
    parent: RunFolder, judged: Judged, rejected: frozenset[str], settings: Settings
) -> tuple[dict[str, Asked], dict[str, str]]:
    """What people asked for as they rejected these pairs; and why some of it cannot be read, by pair id.

    What can be asked for was checked as it was, but files go, and decisions of earlier versions were not.
    """
    rows = {row.pair_id: row for row in parent.manifest}
    asked, unreadable = {}, {}
    for pair_id, pair in judged.items():
        if pair_id in rejected and pair["review_settings"]:
            try:
                asked[pair_id] = read_asked(tuple(pair["review_settings"]), row=rows[pair_id], settings=settings)
            except UsageError as error:
                unreadable[pair_id] = f"what {pair['reviewer']} asked for cannot be done: {error}"
    return asked, unreadable


def _judged(report: Report) -> Judged:
    columns = ("pair_id", "status", "review_ruling", "review_settings", "reviewer", "review_reason")
    return {row["pair_id"]: row for batch in report.pairs(columns).to_batches() for row in batch.to_pylist()}


def _asked_for(parent: RunFolder, judged: Judged, made: frozenset[str]) -> tuple[AskedFor, ...]:
    """Why the rejected pairs that are made were sent back; of all others what earlier passes say."""
    now = [
        AskedFor(
            pair_id=pair_id,
            settings=tuple(pair["review_settings"]),
            reviewer=pair["reviewer"],
            reason=pair["review_reason"],
        )
        for pair_id, pair in judged.items()
        if pair_id in made
    ]
    earlier = parent.heritage.order.asked if parent.heritage else ()
    return (*(one for one in earlier if one.pair_id not in made), *now)


def _same_as_before(
    found: Replanned, chosen: Iterable[str], settings: Settings, stands: Standing, judged: Judged
) -> dict[str, str]:
    """Pairs that are done and would come out just as they are, by pair id, each with what to do about it."""
    done = {pair_id for pair_id, pair in judged.items() if pair["status"] == Status.DONE}.intersection(chosen)
    if not done:
        return {}
    again = [pair for pair in found.pairs if pair.pair_id in done]
    now = _keys_of(shards_of(again, settings, resolve_models(settings).work_keys(settings)))
    before = _keys_of(shard for shard in stands.plan.shards if shard.pair_id in done)
    return {pair_id: _SAME for pair_id, keys in now.items() if keys == before[pair_id]}


def _keys_of(shards: Iterable[ShardPlan]) -> dict[str, set[str]]:
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for shard in shards:
        keys[shard.pair_id].add(shard.work_key)
    return keys


def _plan(parent: Plan, found: Replanned, settings: Settings, *, made: frozenset[str]) -> Plan:
    """The plan of the new run; shards of pairs that are as they were are those of the parent."""
    models = resolve_models(settings)
    again = [pair for pair in found.pairs if pair.pair_id in made]
    shards = [shard for shard in parent.shards if shard.pair_id not in made]
    shards += shards_of(again, settings, models.work_keys(settings))
    now = datetime.now(UTC)
    return Plan(
        run_id=new_run_id(now),
        parent_run_id=parent.run_id,
        created_at=now.isoformat(timespec="seconds"),
        algorithm_version=ALGORITHM_VERSION,
        detector=models.detector,
        scorer=models.scorer,
        enhancer=models.enhancer,
        pairs=tuple(found.pairs),
        shards=tuple(shards),
        problems=tuple(found.problems),
    )


def _earlier(parent: RunFolder, stands: Standing, rejected: frozenset[str]) -> tuple[EarlierRun, ...]:
    """The runs whose takes count, oldest first, the parent last; each with the pairs whose take was sent back."""
    sent_back: defaultdict[str, set[str]] = defaultdict(set)
    for pair_id in rejected:
        best = stands.best(pair_id)
        sent_back[best.take.run_id if best else parent.run_id].add(pair_id)
    heritage = parent.heritage
    before = list(heritage.order.earlier) if heritage else []
    runs = [*before, EarlierRun(run_id=parent.run_id, path=parent.location)]
    return tuple(
        run.model_copy(update={"rejected": tuple(sorted({*run.rejected, *sent_back[run.run_id]}))}) for run in runs
    )


def _earlier_plans(parent: RunFolder, made: frozenset[str]) -> tuple[Plan, ...]:
    """The plans of those runs, of the parent's what is made again."""
    own = parent.plan.model_copy(
        update={
            "pairs": tuple(pair for pair in parent.plan.pairs if pair.pair_id in made),
            "shards": tuple(shard for shard in parent.plan.shards if shard.pair_id in made),
            "problems": (),
        }
    )
    return (*(parent.heritage.plans if parent.heritage else ()), own)
