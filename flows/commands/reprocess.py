"""`singalong reprocess`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.exit_codes import EXIT_OK
from flows.running import execute, finish
from flows.terminal import err, out, planning, print_facts, print_json, print_table, print_warning
from singalong.errors import UsageError
from singalong.plan import estimate_cost, montages
from singalong.remote_run import run_at
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.film_steps import is_finished
from tasks.reprocess import PlannedPass, begin_pass, inherit_failures, pass_folder, plan_pass
from tasks.selection import Wanted
from tasks.summary import summarise

_MAX_NAMED = 8


def reprocess_command(
    run: str | Path,
    wanted: Wanted,
    *,
    child: str | Path | None,
    overrides: list[str],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make part of a run again, in a run of its own; exit code 0 all done, 1 something failed, 130 interrupted."""
    if not wanted.words():
        raise UsageError(
            "nothing says which pairs are to be made again",
            expected="at least one of --failed, --rejected, --below X, --where SQL",
        )
    with run_at(run) as folder:
        return _reprocess(RunFolder.open(folder), wanted, child, overrides, dry_run=dry_run, as_json=as_json)


def _reprocess(
    parent: RunFolder,
    wanted: Wanted,
    child: str | Path | None,
    overrides: list[str],
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    place, begun = pass_folder(parent, wanted, overrides, child)
    if begun and not dry_run:
        with run_at(place, drive=True) as path:
            folder = RunFolder.open(path)
            inherit_failures(folder, parent)
            return _go_on(folder, as_json=as_json)
    planned = _plan(parent, wanted, overrides)
    if planned is None:
        return _nothing(as_json=as_json)
    if dry_run or not planned.reasons or not as_json:
        _show(planned, parent, place, as_json=as_json)
    if dry_run or not planned.reasons:
        return EXIT_OK
    with run_at(place, drive=True) as path:
        return _go_on(begin_pass(path, planned, parent), as_json=as_json)


def _plan(parent: RunFolder, wanted: Wanted, overrides: list[str]) -> PlannedPass | None:
    with planning() as progress:
        return plan_pass(
            parent,
            store_of(parent.settings),
            wanted,
            overrides=overrides,
            progress=progress,
        )


def _go_on(folder: RunFolder, *, as_json: bool) -> int:
    if is_finished(folder):
        err.print("nothing to do: this pass is finished")
        return finish(summarise(folder), as_json=as_json)
    return finish(execute(folder, folder.settings), as_json=as_json)


def _nothing(*, as_json: bool) -> int:
    if as_json:
        print_json({"pairs": []})
    else:
        out.print("nothing to do: no pair of this run is chosen")
    return EXIT_OK


def _show(planned: PlannedPass, parent: RunFolder, path: str | Path, *, as_json: bool) -> None:
    document = _document(planned, parent, path)
    if as_json:
        print_json(document)
        return
    rows: list[list[object]] = [
        [pair_id, "; ".join(why), ", ".join(planned.asked.get(pair_id, ()))] for pair_id, why in planned.reasons.items()
    ]
    total = len(parent.plan.pairs) + len(parent.plan.problems)
    print_table(f"{len(rows)} of {total} pairs", ["pair", "why", "asked for"], rows)
    for message, names in _by_message(planned.refused).items():
        print_warning(f"{names}: {message}")
    if not planned.reasons:
        out.print("nothing to do: every pair that was chosen stays as it is")
        return
    print_facts({name: document[name] for name in ("run", "shards", "frames")} | {"montages": document["montages"]})


def _by_message(refused: dict[str, str]) -> dict[str, str]:
    """The pairs that stay as they are by why: of hundreds with one reason the first few are named."""
    groups: dict[str, list[str]] = {}
    for pair_id, message in refused.items():
        groups.setdefault(message, []).append(pair_id)
    return {
        message: ", ".join(names[:_MAX_NAMED])
        + (f" and {len(names) - _MAX_NAMED} more" if names[_MAX_NAMED:] else "")
        + (" stay as they are" if names[1:] else " stays as it is")
        for message, names in groups.items()
    }


def _document(planned: PlannedPass, parent: RunFolder, path: str | Path) -> dict[str, Any]:
    again = [pair for pair in planned.plan.pairs if pair.pair_id in planned.reasons]
    shards = tuple(shard for shard in planned.plan.shards if shard.pair_id in planned.reasons)
    store = store_of(planned.settings)
    there = {shard.work_key for shard in shards if store.find(shard.work_key) is not None}
    cost = estimate_cost(planned.plan.model_copy(update={"pairs": tuple(again), "shards": shards}), there)
    return {
        "run": str(path),
        "parent": parent.location,
        "pairs": [
            {"pair_id": pair_id, "reasons": list(why), "asked": list(planned.asked.get(pair_id, ()))}
            for pair_id, why in planned.reasons.items()
        ],
        "refused": planned.refused,
        "shards": cost.num_todo_shards,
        "frames": cost.num_todo_frames,
        "montages": sorted(montages(again)),
    }
