"""Finding and reading the logs of a run: which attempts a name means, and how far each of them is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from singalong.contracts import AttemptRow, Status
from singalong.errors import UsageError
from singalong.run_logs import LogLine, read_log, worker_part
from singalong.runfolder import RunFolder
from tasks.attempt_log_driver import NOT_TRIED

_MAX_NAMED = 5
_STEPS = "steps"


@dataclass(frozen=True)
class AttemptText:
    """One attempt: whose it was, how it ended as the ledger has it, and what was told of it."""

    name: str
    attempt: int
    num_attempts: int
    outcome: str
    file: Path
    lines: tuple[LogLine, ...]
    blamed: tuple[str, ...] = ()
    """Steps that failed, where it was not tried for their sake."""


def names_of(run: RunFolder, wanted: str) -> list[str]:
    """The logs that a name means: a shard, all shards of a pair, a step, or whatever begins so and is unique.

    Raises UsageError where it means nothing, or several things.
    """
    shards = [shard.shard_id for shard in run.plan.shards]
    pairs = {pair.pair_id for pair in run.plan.pairs}
    if wanted in pairs:
        return [shard.shard_id for shard in run.plan.shards if shard.pair_id == wanted]
    for problem in run.plan.problems:
        if problem.pair_id == wanted:
            where = problem.place or f"row {problem.row}"
            raise UsageError(
                f"{where} could not be planned, so it was never tried: {problem.error_message}", value=wanted
            )
    steps = _steps(run)
    for known in (shards, _former(run), steps):
        if wanted in known:
            return [wanted if known is not steps else steps[wanted]]
    found = [name for name in [*shards, *_former(run), *steps] if name.startswith(wanted)]
    if len(found) == 1:
        return [steps.get(found[0], found[0])]
    if found:
        named = ", ".join(found[:_MAX_NAMED]) + (" …" if len(found) > _MAX_NAMED else "")
        raise UsageError(f"{len(found)} shards and steps begin so: {named}", value=wanted, expected="one of them")
    near = difflib.get_close_matches(wanted, [*pairs, *shards], n=1)
    raise UsageError(
        "this run has no such shard, pair or step",
        value=wanted,
        expected=f"a name from its report{f', perhaps {near[0]}' if near else ''}",
    )


def failed_names(run: RunFolder) -> list[str]:
    """Shards that failed or were quarantined, in the order of the plan."""
    ended = (Status.FAILED, Status.QUARANTINED)
    return [name for name, shard in run.fold().shards.items() if shard.status in ended]


def read_attempt(run: RunFolder, name: str, attempt: int | None = None) -> AttemptText | None:
    """What was told of an attempt, the last by default; None where nothing ever was.

    Raises UsageError where there is no attempt of this number.
    """
    rows = {} if name.startswith(f"{_STEPS}/") else {row.attempt: row for row in run.attempts(name)}
    numbers = sorted({*run.logs.attempts(name), *rows})
    if attempt is not None and attempt not in numbers:
        there = f"one of {', '.join(map(str, numbers))}" if numbers else "no number: it was not tried yet"
        raise UsageError(f"{name} has no such attempt", value=attempt, expected=there)
    if not numbers:
        return None
    number = numbers[-1] if attempt is None else attempt
    file = run.logs.of_shard(name, number)
    lines = _in_order(read_log(file), read_log(worker_part(file)))
    blamed = _blamed(run, name) if lines and lines[-1].message.startswith(NOT_TRIED) else ()
    return AttemptText(name, number, numbers[-1], _outcome(rows.get(number), lines), file, lines, blamed)


def _in_order(driver: list[LogLine], worker: list[LogLine]) -> tuple[LogLine, ...]:
    """The words of both; those of a worker elsewhere between the driver's first and its others."""
    return (*driver[:1], *worker, *driver[1:])


def is_over(run: RunFolder, name: str) -> bool:
    """Whether no line will follow: the last word on the last attempt is there."""
    numbers = run.logs.attempts(name)
    lines = read_log(run.logs.of_shard(name, numbers[-1])) if numbers else []
    return bool(lines) and bool(lines[-1].fields.get("final"))


def shown_lines(lines: Sequence[LogLine]) -> Iterator[LogLine]:
    """Of progress that went on only the last is worth a line: there it ended."""
    for number, line in enumerate(lines, start=1):
        if not (line.level == "debug" and any(following.level == "debug" for following in lines[number : number + 1])):
            yield line


def _outcome(row: AttemptRow | None, lines: Sequence[LogLine]) -> str:
    if row is not None and row.failure is not None:
        return f"failed ({row.failure.error_class})"
    if row is not None:
        return "done without work, the store held it" if row.reused else "done"
    last = lines[-1] if lines else None
    if last is not None and "final" in last.fields:
        return "done" if last.level == "info" else "failed"
    return "not ended"


def _blamed(run: RunFolder, shard_id: str) -> tuple[str, ...]:
    """Steps that failed of those that a shard needs."""
    pair_id = next((shard.pair_id for shard in run.plan.shards if shard.shard_id == shard_id), None)
    pair = next((pair for pair in run.plan.pairs if pair.pair_id == pair_id), None)
    if pair is None:
        return ()
    needs = [sha256[:16] for sha256 in (pair.clip_sha256, pair.voice_sha256, pair.picture_sha256) if sha256]
    found = []
    for item, name in _steps(run).items():
        last = read_attempt(run, name) if any(need in item for need in needs) else None
        if last is not None and last.outcome == "failed":
            found.append(item)
    return tuple(found)


def _former(run: RunFolder) -> list[str]:
    """Shards of former plans that were logged."""
    known = {shard.shard_id for shard in run.plan.shards}
    return sorted(name for name in _folders(run.logs.folder) if name not in known and name != _STEPS)


def _steps(run: RunFolder) -> dict[str, str]:
    """Names of the logs of steps, by what the steps are called."""
    found = {}
    for folder in _folders(run.logs.folder / _STEPS):
        name = f"{_STEPS}/{folder}"
        for number in run.logs.attempts(name)[:1]:
            lines = read_log(run.logs.of_shard(name, number))
            found[str(lines[0].fields.get("item", name)) if lines else name] = name
    return found


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
