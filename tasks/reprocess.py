"""REPROCESS: a run that makes part of another one again, and joins anew only what that touches.

The new run holds the whole plan: pairs that are not made again keep their shards, whose results the store has, and
their films are taken over. So its report and its montages are whole, and it can be reprocessed in turn.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from singalong.config import Settings, with_overrides
from singalong.contracts import AttemptRow, PairPlan, Plan, RowProblem
from singalong.errors import UsageError
from singalong.face_choice import picture_of
from singalong.heritage import read_pass
from singalong.plan import shards_of
from singalong.reviews import Ruling, inherit_decisions
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.takes import EarlierRun, Heritage, Pass
from singalong.versions import ALGORITHM_VERSION
from tasks.plan_run import Progress, generator_resolver, new_run_id, plan_rows, resolve_models
from tasks.report import fold_run
from tasks.selection import Wanted, select_pairs
from tasks.standing import Standing, standing

_GENERATOR = "lipsync.generator"


@dataclass(frozen=True)
class PlannedPass:
    """A pass that was planned, and not yet begun.

    Attributes:
        plan: of the new run.
        settings: of the new run.
        heritage: what goes into its folder beside the plan.
        reasons: why each of its pairs is made again, by pair id.
        refused: why pairs that were chosen cannot be made again, by pair id; they stay as they were.
        asked: the settings that people asked for as they rejected a pair, by pair id. A pass has one set of settings
            for all, so they are told and not taken.
    """

    plan: Plan
    settings: Settings
    heritage: Heritage
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
        overrides: settings for this pass, `section.key=value`; all others are the parent's. A generator given here
            takes the place of those that rows name.
        progress: is told of media that is looked at again.

    The present take of a pair that a person rejected stands back behind any other.
    A pair whose files have changed is planned anew, and so are the rows of its montage that are laid behind it.

    Raises UsageError for a query or a setting that cannot be used, InputError for models that are not installed.
    """
    settings = with_overrides(parent.settings, overrides)
    stands = standing(parent, store)
    report = fold_run(parent, store, stands)
    rejected = frozenset(pair.pair_id for pair in report.pairs if pair.review_ruling is Ruling.REJECT)
    selection = select_pairs(report, wanted)
    if not selection.reasons:
        return None
    named = any(override.split("=")[0].strip() == _GENERATOR for override in overrides)
    found = _Replanner(parent, store, settings, named, progress).plan(frozenset(selection.reasons))
    reasons = {pair_id: why for pair_id, why in selection.reasons.items() if pair_id not in found.refused}
    reasons |= dict.fromkeys(found.moved, ("a row before it takes another part of the song now",))
    plan = _plan(parent.plan, found, settings, made=frozenset(reasons))
    order = Pass(
        parent=str(parent.path),
        parent_run_id=parent.run_id,
        selection=wanted.words(),
        overrides=tuple(overrides),
        pairs=tuple(reasons),
        earlier=_earlier(parent, stands, rejected & reasons.keys()),
    )
    heritage = Heritage(order, _earlier_plans(parent, frozenset(reasons)))
    asked = {pair.pair_id: pair.review_settings for pair in report.pairs if pair.review_settings}
    return PlannedPass(
        plan, settings, heritage, reasons, found.refused, {name: asked[name] for name in reasons if name in asked}
    )


def begin_pass(path: Path, planned: PlannedPass, parent: RunFolder) -> RunFolder:
    """Make the folder of a planned pass."""
    child = RunFolder.create(path, planned.plan, planned.settings, manifest=parent.manifest, heritage=planned.heritage)
    inherit_failures(child, parent)
    inherit_decisions(
        child.path, parent.path, parent.run_id, [row.pair_id for row in child.manifest if not child.makes(row.pair_id)]
    )
    return child


def inherit_failures(child: RunFolder, parent: RunFolder) -> None:
    """Have the child know why pairs that are not for it to make came to nothing; what it knows it keeps."""
    theirs, ours = parent.fold().shards, child.fold().shards
    for shard in child.plan.shards:
        state = theirs.get(shard.shard_id)
        if child.makes(shard.pair_id) or state is None or state.failure is None or ours[shard.shard_id].num_attempts:
            continue
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        child.record(
            AttemptRow(
                run_id=child.run_id,
                shard_id=shard.shard_id,
                attempt=child.next_attempt(shard.shard_id),
                work_key=shard.work_key,
                failure=state.failure,
                started_at=now,
                finished_at=now,
            )
        )


def pass_folder(parent: RunFolder, wanted: Wanted, overrides: list[str], path: Path | None) -> tuple[Path, bool]:
    """The folder for a pass, and whether it holds this very pass already, to be gone on with.

    With no `path` it is `<parent>.2`, `<parent>.3` and so on: the first that holds this pass, or that is free.

    Raises UsageError where `path` holds something else.
    """
    if path is not None:
        path = path.expanduser().absolute()
        if not path.exists() or not any(path.iterdir()):
            return path, False
        if not _is_same(path, parent, wanted, overrides):
            raise UsageError(
                "the folder holds another run",
                file=path,
                expected="a new folder, or the one of the same pass of the same run",
            )
        return path, True
    number = 2
    while (folder := parent.path.with_name(f"{parent.path.name}.{number}")).exists():
        if _is_same(folder, parent, wanted, overrides):
            return folder, True
        number += 1
    return folder, False


def _is_same(folder: Path, parent: RunFolder, wanted: Wanted, overrides: list[str]) -> bool:
    order = read_pass(folder)
    return order is not None and (order.parent_run_id, order.selection, order.overrides) == (
        parent.run_id,
        wanted.words(),
        tuple(overrides),
    )


@dataclass
class _Replanned:
    """The rows of the new run.

    Attributes:
        pairs: all pairs, in the order of the manifest.
        problems: rows that cannot be planned.
        moved: pairs that were not chosen but take another part of the song now.
        refused: why chosen pairs cannot be planned any more, by pair id; they stay as they were.
    """

    pairs: list[PairPlan] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class _Replanner:
    """Plans the pairs of a pass: as they were wherever their files are, else anew."""

    def __init__(
        self, parent: RunFolder, store: Store, settings: Settings, generator_named: bool, progress: Progress
    ) -> None:
        self._parent, self._store, self._settings = parent, store, settings
        self._generator_named, self._progress = generator_named, progress
        self._generator_for = generator_resolver(settings)
        self._rows = {row.pair_id: row for row in parent.manifest}
        self._pairs = {pair.pair_id: pair for pair in parent.plan.pairs}
        self._problems = {problem.pair_id: problem for problem in parent.plan.problems}

    def plan(self, chosen: frozenset[str]) -> _Replanned:
        """Plan all pairs of the new run, of which these are chosen."""
        disturbed = [pair_id for pair_id in chosen if self._is_disturbed(pair_id)]
        anew = self._planned_anew(chosen, disturbed) if disturbed else {}
        found = _Replanned()
        for pair_id in self._rows:
            before, now = self._pairs.get(pair_id), anew.get(pair_id)
            if isinstance(now, PairPlan) and (pair_id in chosen or not _lies_alike(now, before)):
                found.pairs.append(now)
                found.moved += [] if pair_id in chosen else [pair_id]
            elif before is not None and pair_id in chosen and now is None:
                found.pairs.append(self._again(before))
            elif before is not None:
                found.pairs.append(before)
                found.refused |= {pair_id: now.error_message} if isinstance(now, RowProblem) else {}
            else:
                problem = now or self._problems[pair_id]
                assert isinstance(problem, RowProblem)
                found.problems.append(problem)
        return found

    def _again(self, pair: PairPlan) -> PairPlan:
        """A pair as it was, with the generator of this pass."""
        name = None if self._generator_named else self._rows[pair.pair_id].generator
        return pair.model_copy(update={"generator": self._generator_for(name)})

    def _is_disturbed(self, pair_id: str) -> bool:
        """Whether a pair could not be planned before, or one of its files is not what it was."""
        pair = self._pairs.get(pair_id)
        if pair is None:
            return True
        files = [(pair.clip, pair.clip_sha256), (pair.song, pair.song_sha256), (pair.voice, pair.voice_sha256)]
        picture = picture_of(pair.face)
        files += [(picture, pair.picture_sha256)] if picture and pair.picture_sha256 else []
        return any(self._content_of(path) != sha256 for path, sha256 in files)

    def _content_of(self, path: str) -> str | None:
        try:
            return self._store.file_sha256(path)
        except OSError:
            return None

    def _planned_anew(self, chosen: frozenset[str], disturbed: list[str]) -> dict[str, PairPlan | RowProblem]:
        """New plans of the disturbed pairs, and of what is laid end to end in their montages."""
        rows = [row for row in self._rows.values() if row.pair_id in chosen or row.pair_id not in self._problems]
        if self._generator_named:
            rows = [row.model_copy(update={"generator": None}) if row.pair_id in chosen else row for row in rows]
        plan = plan_rows(rows, settings=self._settings, store=self._store, progress=self._progress)
        films = {self._rows[pair_id].montage for pair_id in disturbed} - {None}
        wanted = {
            *disturbed,
            *(row.pair_id for row in rows if row.montage in films and row.is_laid_end_to_end),
        }
        found: dict[str, PairPlan | RowProblem] = {pair.pair_id: pair for pair in plan.pairs if pair.pair_id in wanted}
        # what was there before and is not chosen stays, even if its file is gone by now
        return found | {problem.pair_id: problem for problem in plan.problems if problem.pair_id in chosen}


def _lies_alike(pair: PairPlan, before: PairPlan | None) -> bool:
    return before is not None and _place(pair) == _place(before)


def _place(pair: PairPlan) -> tuple[object, ...]:
    return pair.clip_start_s, pair.clip_end_s, pair.song_start_s, pair.song_end_s, pair.num_frames


def _plan(parent: Plan, found: _Replanned, settings: Settings, *, made: frozenset[str]) -> Plan:
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
    runs = [*before, EarlierRun(run_id=parent.run_id, path=str(parent.path))]
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
