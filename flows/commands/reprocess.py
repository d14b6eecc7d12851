"""`singalong reprocess`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from flows.commands.run import execute, finish
from flows.terminal import err, out, planning, print_facts, print_json, print_table, print_warning
from singalong.errors import UsageError
from singalong.plan import estimate_cost, montages
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.film_steps import is_finished
from tasks.reprocess import PlannedPass, begin_pass, inherit_failures, pass_folder, plan_pass
from tasks.selection import Wanted
from tasks.summary import summarise


def reprocess_command(
    run: Path, wanted: Wanted, *, child: Path | None, overrides: list[str], dry_run: bool, as_json: bool
) -> int:
    """Make part of a run again, in a run of its own; exit code 0 all done, 1 something failed, 130 interrupted."""
    if not wanted.words():
        raise UsageError(
            "nothing says which pairs are to be made again",
            expected="at least one of --failed, --rejected, --below X, --where SQL",
        )
    parent = RunFolder.open(run)
    path, begun = pass_folder(parent, wanted, overrides, child)
    if begun and not dry_run:
        folder = RunFolder.open(path)
        inherit_failures(folder, parent)
        return _go_on(folder, as_json=as_json)
    planned = _plan(parent, wanted, overrides)
    if planned is None:
        return _nothing(as_json=as_json)
    if dry_run:
        _show(planned, parent, path, as_json=as_json)
        return 0
    if not as_json:
        _show(planned, parent, path, as_json=False)
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
    return 0


def _show(planned: PlannedPass, parent: RunFolder, path: Path, *, as_json: bool) -> None:
    document = _document(planned, parent, path)
    if as_json:
        print_json(document)
        return
    rows: list[list[object]] = [[pair_id, "; ".join(why)] for pair_id, why in planned.reasons.items()]
    print_table(f"{len(rows)} of {len(parent.plan.pairs) + len(parent.plan.problems)} pairs", ["pair", "why"], rows)
    for pair_id, message in planned.refused.items():
        print_warning(f"{pair_id} stays as it is: {message}")
    _show_asked(planned, parent)
    print_facts({name: document[name] for name in ("run", "shards", "frames")} | {"montages": document["montages"]})


def _show_asked(planned: PlannedPass, parent: RunFolder) -> None:
    """Say what people asked for that this pass does not do, and the command that does it."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for pair_id, asked in planned.asked.items():
        if not set(asked) <= set(planned.heritage.order.overrides):
            groups.setdefault(asked, []).append(pair_id)
    for asked, pairs in groups.items():
        names = ", ".join("'" + pair_id.replace("'", "''") + "'" for pair_id in pairs)
        command = ["singalong", "reprocess", str(parent.path), "--where", f"pair_id IN ({names})"]
        command += [word for one in asked for word in ("--set", one)]
        print_warning(f"{len(pairs)} were rejected to be made with {', '.join(asked)}: {shlex.join(command)}")


def _document(planned: PlannedPass, parent: RunFolder, path: Path) -> dict[str, Any]:
    again = [pair for pair in planned.plan.pairs if pair.pair_id in planned.reasons]
    shards = tuple(shard for shard in planned.plan.shards if shard.pair_id in planned.reasons)
    store = store_of(planned.settings)
    there = {shard.work_key for shard in shards if store.find(shard.work_key) is not None}
    cost = estimate_cost(planned.plan.model_copy(update={"pairs": tuple(again), "shards": shards}), there)
    return {
        "run": str(path),
        "parent": str(parent.path),
        "pairs": [
            {"pair_id": pair_id, "reasons": list(why), "asked": list(planned.asked.get(pair_id, ()))}
            for pair_id, why in planned.reasons.items()
        ],
        "refused": planned.refused,
        "shards": cost.num_todo_shards,
        "frames": cost.num_todo_frames,
        "montages": sorted(montages(again)),
    }
