"""What a run came to: counts, failures, films, and what a person must know of the models used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from singalong.contracts import Plan, Row, Status
from singalong.errors import ErrorClass
from singalong.plan import montages
from singalong.remote_run import location_of, names_in
from singalong.runfolder import RunFolder
from tasks.doubts import doubts_of
from tasks.films import read_film_record

_MAX_NAMED = 5
_NOTED = ("pair_id", "montage", "generator_name", "generator_trained")
_NOT_JOINED = "its shards were finished, but their files are no longer in the store. Run again to make it anew."


class FailureNote(Row):
    """One shard, row or film that came to nothing, and why."""

    name: str
    error_class: str
    message: str


class RunSummary(Row):
    """The end of a run in numbers."""

    run: str
    run_id: str
    num_pairs: int
    num_shards: int
    shards: dict[str, int] = Field(description="shards by status")
    num_frames: int
    films: tuple[str, ...] = Field(description="finished pairs")
    montages: tuple[str, ...] = Field(description="finished montages")
    failures: tuple[FailureNote, ...]
    notes: tuple[str, ...] = Field(description="what to know of the models used, and what to look at")
    report: str

    @property
    def complete(self) -> bool:
        """Whether everything planned was made."""
        return not self.failures and self.shards.get(Status.DONE, 0) == self.num_shards


def summarise(run: RunFolder) -> RunSummary:
    """Fold the run folder into a summary; the folder is all it needs. Of a pass: what it was to make."""
    plan, fold = _own_part(run), run.fold()
    counts = Counter(str(fold.status_of(shard.shard_id)) for shard in plan.shards)
    failures = [
        FailureNote(name=problem.pair_id, error_class=problem.error_class, message=problem.error_message)
        for problem in plan.problems
    ]
    own = {shard.shard_id for shard in plan.shards}
    for shard_id in fold.having(Status.FAILED, Status.QUARANTINED):
        state = fold.shards[shard_id]
        if state.failure is not None and shard_id in own:
            failures.append(
                FailureNote(name=shard_id, error_class=state.failure.error_class, message=state.failure.message)
            )
    done = set(fold.having(Status.DONE))
    unfinished = {shard.pair_id for shard in plan.shards if shard.shard_id not in done}
    films, film_failures = _films(
        run.path / "outputs", {pair.pair_id: pair.pair_id not in unfinished for pair in plan.pairs}
    )
    planned = montages(plan.pairs)
    made, montage_failures = _films(
        run.path / "montages",
        {name: any(pair.pair_id not in unfinished for pair in pairs) for name, pairs in planned.items()},
    )
    return RunSummary(
        run=run.location,
        run_id=plan.run_id,
        num_pairs=len(plan.pairs) + len(plan.problems),
        num_shards=len(plan.shards),
        shards=dict(counts),
        num_frames=sum(shard.num_frames for shard in plan.shards),
        films=films,
        montages=made,
        failures=(*failures, *film_failures, *montage_failures),
        notes=run_notes(run),
        report=location_of(run.path / "index.html"),
    )


def _own_part(run: RunFolder) -> Plan:
    plan = run.plan
    if run.heritage is None:
        return plan
    own = {
        name: tuple(row for row in getattr(plan, name) if run.makes(row.pair_id))
        for name in ("pairs", "shards", "problems")
    }
    return plan.model_copy(update=own)


def run_notes(run: RunFolder) -> tuple[str, ...]:
    """What must be said of a run's models, doubts and mute pairs, in the terminal and in the report alike."""
    notes, plan = [], run.plan_table(_NOTED)
    untrained = pc.unique(plan["generator_name"].filter(pc.invert(plan["generator_trained"]))).to_pylist()
    if untrained:
        notes.append(
            f"The generator '{min(untrained)}' has untrained weights: mouths are noise, good only for trying the "
            "pipeline. Add a checkpoint with: singalong models add NAME checkpoint.pth"
        )
    if run.outline.head.scorer is None:
        notes.append("No scorer was used (score.scorer=none), so nothing was scored: every output is 'not scorable'.")
    return (*notes, *doubts_of(run), *_mute(run, plan), *_left_behind(run, plan))


def _left_behind(run: RunFolder, plan: pa.Table) -> Iterator[str]:
    """Films of pairs and montages that an earlier manifest asked for: they are somebody's, so nothing removes them."""
    problems = run.outline.head.problems
    unplanned: dict[str, set[str | None]] = {
        "outputs": {problem.pair_id for problem in problems},
        "montages": {problem.montage for problem in problems},
    }
    for folder, column in (("outputs", "pair_id"), ("montages", "montage")):
        films = [Path(name).stem for name in names_in(run.path / folder) if name.endswith(".mp4")]
        planned = pc.is_in(pa.array(films, pa.string()), value_set=pc.unique(plan[column]).cast(pa.string()))
        over = sorted(
            film
            for film, is_planned in zip(films, planned.to_pylist(), strict=True)
            if not is_planned and film not in unplanned[folder]
        )
        if over:
            more = f" and {len(over) - _MAX_NAMED} more" if len(over) > _MAX_NAMED else ""
            yield (
                f"{len(over)} in {folder}/ that the manifest no longer asks for: {', '.join(over[:_MAX_NAMED])}{more}. "
                "They stay until you delete them, and are in no table."
            )


def _mute(run: RunFolder, plan: pa.Table) -> Iterator[str]:
    """Pairs that are done but sing in no frame: a face there is in the clip's span, but not in what is shown of it."""
    faces = run.fold().outcomes(["result_num_face_frames"])["result_num_face_frames"]
    sings = pc.fill_null(pc.not_equal(faces, 0), True)
    maybe = pc.unique(plan["pair_id"].filter(pc.invert(sings)))
    heard = pc.unique(plan["pair_id"].filter(sings)) if len(maybe) else maybe
    for pair_id in maybe.filter(pc.invert(pc.is_in(maybe, value_set=heard))).to_pylist() if len(maybe) else ():
        yield (
            f"{pair_id} sings in none of its frames: its face is usable in other parts of the clip's span only. "
            "Choose another span (clip_start_s, clip_end_s) or another face."
        )


def _films(folder: Path, names: Mapping[str, bool]) -> tuple[tuple[str, ...], list[FailureNote]]:
    """The films that stand, and why others do not. `names` says of each whether its shards are done."""
    made, failures = [], []
    for name, is_due in names.items():
        record = read_film_record(folder / f"{name}.json")
        if record is not None and record.film is not None:
            made.append(record.film.path)
            failures += [
                FailureNote(name=name, error_class="INPUT", message=f"made without {pair_id}, which has no film")
                for pair_id in record.missing
            ]
        elif record is not None and record.failure is not None:
            failures.append(
                FailureNote(name=name, error_class=record.failure.error_class, message=record.failure.message)
            )
        elif is_due:
            failures.append(FailureNote(name=name, error_class=ErrorClass.TRANSIENT_IO, message=_NOT_JOINED))
    return tuple(made), failures
