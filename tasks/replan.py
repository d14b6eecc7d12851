"""Planning the pairs of a pass: as they were, as people asked for them, or anew where their files have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from singalong.asked import SPAN_CELLS, Asked, key_of, without
from singalong.config import Settings
from singalong.contracts import PairPlan, PairRow, RowProblem
from singalong.face_choice import LIKE, SPEAKER, picture_of
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.plan_run import Progress, generator_resolver, plan_rows

_GENERATOR = "lipsync.generator"


@dataclass
class Replanned:
    """The rows of the new run.

    Attributes:
        rows: of its manifest, with what was asked for in their cells.
        pairs: all pairs, in the order of the manifest.
        problems: rows that cannot be planned.
        moved: pairs that were not chosen but take another part of the song now.
        refused: why chosen pairs cannot be planned any more, by pair id; they stay as they were.
    """

    rows: list[PairRow] = field(default_factory=list)
    pairs: list[PairPlan] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


class Replanner:
    """Plans the pairs of a pass: as they were wherever their files are and nothing else is asked for, else anew."""

    def __init__(
        self, parent: RunFolder, store: Store, settings: Settings, overrides: Iterable[str], progress: Progress
    ) -> None:
        """`overrides` are settings for the whole pass, which `settings` have already; they take the place of what
        the rows of chosen pairs say.
        """
        self._store, self._settings, self._progress = store, settings, progress
        self._given = frozenset(map(key_of, overrides))
        self._generator_for = generator_resolver(settings)
        self._before = {row.pair_id: row for row in parent.manifest}
        self._pairs = {pair.pair_id: pair for pair in parent.plan.pairs}
        self._problems = {problem.pair_id: problem for problem in parent.plan.problems}

    def plan(self, chosen: frozenset[str], asked: Mapping[str, Asked]) -> Replanned:
        """Plan all pairs of the new run, of which these are chosen; what was asked for beats the pass's settings."""
        wanted = {pair_id: self._row(pair_id, asked.get(pair_id)) for pair_id in chosen}
        anew, refused = self._planned_anew(wanted)
        found = Replanned(refused=refused)
        for pair_id, row in self._before.items():
            before, now = self._pairs.get(pair_id), anew.get(pair_id)
            is_wanted = pair_id in chosen and pair_id not in refused
            found.rows.append(wanted[pair_id] if is_wanted else row)
            if isinstance(now, PairPlan) and (is_wanted or not _lies_alike(now, before)):
                found.pairs.append(now)
                found.moved += [] if is_wanted else [pair_id]
            elif before is not None:
                found.pairs.append(self._again(before, wanted[pair_id]) if is_wanted and now is None else before)
            else:
                problem = now or self._problems[pair_id]
                assert isinstance(problem, RowProblem)
                found.problems.append(problem)
        return found

    def _row(self, pair_id: str, asked: Asked | None) -> PairRow:
        row = self._before[pair_id]
        row = row.model_copy(
            update={
                "generator": None if _GENERATOR in self._given else row.generator,
                "overrides": without(row.overrides, self._given),
            }
        )
        return asked.applied(row) if asked else row

    def _again(self, pair: PairPlan, row: PairRow) -> PairPlan:
        """A pair of the same files, with what its row asks for now."""
        return pair.model_copy(
            update={
                "generator": self._generator_for(row.generator),
                "face": row.face,
                "picture_sha256": pair.picture_sha256 if row.face == pair.face else None,
                "overrides": row.overrides,
            }
        )

    def _planned_anew(self, wanted: dict[str, PairRow]) -> tuple[dict[str, PairPlan | RowProblem], dict[str, str]]:
        """New plans of what cannot stay as it is, and of what is laid end to end behind it; why some is refused.

        A row that cannot be planned as it was asked for is left as it was, so that nothing behind it moves.
        """
        refused: dict[str, str] = {}
        while True:
            rows = {name: row for name, row in wanted.items() if name not in refused}
            disturbed = [name for name, row in rows.items() if self._is_disturbed(name, row)]
            anew = self._plan(rows, disturbed) if disturbed else {}
            problems = {name: now.error_message for name, now in anew.items() if isinstance(now, RowProblem)}
            newly = {name: why for name, why in problems.items() if name in self._pairs and name in rows}
            refused |= newly
            if not newly:
                return anew, refused

    def _plan(self, wanted: Mapping[str, PairRow], disturbed: list[str]) -> dict[str, PairPlan | RowProblem]:
        films = {self._before[pair_id].montage for pair_id in disturbed} - {None}
        rows = [
            wanted.get(row.pair_id, row)
            for row in self._before.values()
            if row.pair_id in disturbed or (row.montage in films and row.pair_id not in self._problems)
        ]
        plan = plan_rows(rows, settings=self._settings, store=self._store, progress=self._progress)
        needed = {*disturbed, *(row.pair_id for row in rows if row.is_laid_end_to_end)}
        found: dict[str, PairPlan | RowProblem] = {pair.pair_id: pair for pair in plan.pairs if pair.pair_id in needed}
        # what was there before and is not chosen stays, even if its file is gone by now
        return found | {problem.pair_id: problem for problem in plan.problems if problem.pair_id in wanted}

    def _is_disturbed(self, pair_id: str, row: PairRow) -> bool:
        """Whether a pair could not be planned before, is asked for otherwise, or has a file that is another now."""
        pair, before = self._pairs.get(pair_id), self._before[pair_id]
        if pair is None or _is_laid_otherwise(row, before):
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


def _is_laid_otherwise(row: PairRow, before: PairRow) -> bool:
    """Whether its files have to be looked at again for what a row asks for now."""
    names = ("fit", "vocals", *SPAN_CELLS)
    if any(getattr(row, name) != getattr(before, name) for name in names):
        return True
    return row.face != before.face and (row.face == SPEAKER or row.face.startswith(LIKE))


def _lies_alike(pair: PairPlan, before: PairPlan | None) -> bool:
    return before is not None and _place(pair) == _place(before)


def _place(pair: PairPlan) -> tuple[object, ...]:
    return pair.clip_start_s, pair.clip_end_s, pair.song_start_s, pair.song_end_s, pair.num_frames
