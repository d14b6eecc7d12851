"""Planning a run and bringing it to its end, for the commands that do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from flows.early_workers import current_workers, early_cluster, early_workers
from flows.own_server import begin_server
from flows.terminal import err, out, planning, print_failures, print_outcome, print_warning
from singalong.config import Settings
from singalong.contracts import Status
from singalong.remote_run import run_at
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.film_steps import is_finished
from tasks.metering import meter_finished
from tasks.plan_run import plan_run
from tasks.session import Session
from tasks.summary import RunSummary, summarise


def plan_and_run(
    manifest: str | Path, run: str | Path, settings: Settings, *, require_rights: bool = False
) -> RunSummary | None:
    """Plan a manifest onto a run and bring that to its end; None if it was interrupted."""
    with run_at(run, drive=True) as folder:
        if settings.run.executor == "inprocess":
            return _run_in(folder, manifest, settings, require_rights=require_rights)
        with early_cluster(settings) as early:
            begin = early.begin if _is_unfinished(folder) else _not_yet
            return _run_in(folder, manifest, settings, require_rights=require_rights, on_rows=begin)


def _is_unfinished(run: Path) -> bool:
    """Whether a run never came to its end: else there may be nothing to do, and workers came up for nothing."""
    return not (run / "report.parquet").exists()


def _not_yet() -> None:
    """Begin nothing."""


def _run_in(
    run: Path,
    manifest: str | Path,
    settings: Settings,
    *,
    require_rights: bool,
    on_rows: Callable[[], None] = _not_yet,
) -> RunSummary | None:
    with planning() as progress:
        plan, rows = plan_run(
            manifest,
            settings=settings,
            store=store_of(settings),
            require_rights=require_rights,
            progress=progress,
            note=print_warning,
            on_rows=on_rows,
        )
    folder = RunFolder.create(run, plan, settings, manifest=rows)
    if is_finished(folder):
        err.print("nothing to do: this run is finished")
        summary = summarise(folder)
        meter_finished(folder, complete=summary.complete)
        return summary
    return execute(folder, settings)


def finish(summary: RunSummary | None, *, as_json: bool) -> int:
    """Say what became of a run; its exit code."""
    return print_outcome(summary, complete=lambda done: done.complete, show=_show, as_json=as_json)


def execute(folder: RunFolder, settings: Settings) -> RunSummary | None:
    """Run the flow; None if it was interrupted."""
    if settings.run.executor == "inprocess":
        return execute_plainly(folder)
    begin_server()
    with early_workers(folder):
        return _execute_by_prefect(folder)


def _execute_by_prefect(folder: RunFolder) -> RunSummary | None:
    from flows.watchers import terminal_progress

    with err.status("starting Prefect"):
        from flows.prefect_runs import PrefectFailedError, run_to_end
        from flows.run_flow import run_planned
    try:
        with terminal_progress():
            summary: RunSummary | None = run_to_end(run_planned, str(folder.path))
    except PrefectFailedError as error:
        print_warning(f"going on without Prefect, which only shows the run: {error.problem}")
        return execute_plainly(RunFolder.open(folder.path))
    return summary


def execute_plainly(folder: RunFolder) -> RunSummary:
    """Run the stages without Prefect."""
    from flows.order import run_stages
    from flows.watchers import current_watcher, tell_metrics, terminal_progress

    with terminal_progress(), folder.lock(), Session(folder, current_watcher(), current_workers()) as session:
        tell_metrics(session)
        return run_stages(session)


def _show(summary: RunSummary) -> None:
    for note in summary.notes:
        print_warning(note)
    print_failures(summary.failures, "report")
    if any(count for status, count in summary.shards.items() if status in (Status.FAILED, Status.QUARANTINED)):
        out.print(f"{'logs':<9} singalong logs {shlex.quote(summary.run)} --failed", markup=False)
    states = ", ".join(f"{count} {status}" for status, count in sorted(summary.shards.items()))
    out.print(f"{summary.num_pairs} pairs, {summary.num_shards} shards ({states}), {summary.num_frames:,} frames")
    for label, films in (("videos", summary.films), ("montages", summary.montages)):
        if films:
            out.print(f"{label:<9} {films[0].rpartition('/')[0]} ({len(films)})", markup=False)
    out.print(f"{'report':<9} {summary.report}", markup=False)
