"""What a run came to: counts, failures, films, and what a person must know of the models used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from singalong.contracts import Plan, Row, ShardResult, Status
from singalong.plan import montages
from singalong.runfolder import RunFolder
from tasks.doubts import doubts_of
from tasks.films import read_film_record


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
    counts = Counter(str(fold.shards[shard.shard_id].status) for shard in plan.shards)
    failures = [
        FailureNote(name=problem.pair_id, error_class=problem.error_class, message=problem.error_message)
        for problem in plan.problems
    ]
    for shard in plan.shards:
        state = fold.shards[shard.shard_id]
        if state.failure is not None and state.status in (Status.FAILED, Status.QUARANTINED):
            failures.append(
                FailureNote(name=shard.shard_id, error_class=state.failure.error_class, message=state.failure.message)
            )
    films, film_failures = _films(run.path / "outputs", [pair.pair_id for pair in plan.pairs])
    made, montage_failures = _films(run.path / "montages", list(montages(plan.pairs)))
    return RunSummary(
        run=str(run.path),
        run_id=plan.run_id,
        num_pairs=len(plan.pairs) + len(plan.problems),
        num_shards=len(plan.shards),
        shards=dict(counts),
        num_frames=sum(shard.num_frames for shard in plan.shards),
        films=films,
        montages=made,
        failures=(*failures, *film_failures, *montage_failures),
        notes=run_notes(run),
        report=str(run.path / "index.html"),
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
    notes = []
    untrained = sorted({pair.generator.name for pair in run.plan.pairs if not pair.generator.trained})
    if untrained:
        notes.append(
            f"The generator '{untrained[0]}' has untrained weights: mouths are noise, good only for trying the "
            "pipeline. Add a checkpoint with: singalong models add NAME checkpoint.pth"
        )
    if run.plan.scorer is None:
        notes.append("No scorer was used (score.scorer=none), so nothing was scored: every output is 'not scorable'.")
    return (*notes, *doubts_of(run), *_mute(run))


def _mute(run: RunFolder) -> Iterator[str]:
    """Pairs that are done but sing in no frame: a face there is in the clip's span, but not in what is shown of it."""
    states = run.fold().shards
    results: defaultdict[str, list[ShardResult | None]] = defaultdict(list)
    for shard in run.plan.shards:
        results[shard.pair_id].append(states[shard.shard_id].result)
    for pair_id, own in results.items():
        if all(result is not None and result.num_face_frames == 0 for result in own):
            yield (
                f"{pair_id} sings in none of its frames: its face is usable in other parts of the clip's span only. "
                "Choose another span (clip_start_s, clip_end_s) or another face."
            )


def _films(folder: Path, names: list[str]) -> tuple[tuple[str, ...], list[FailureNote]]:
    made, failures = [], []
    for name in names:
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
    return tuple(made), failures
