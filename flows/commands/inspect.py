"""`singalong status` and `singalong report`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from rich.live import Live

from flows.exit_codes import EXIT_OK
from flows.terminal import facts_text, out, print_facts, print_json, print_table
from singalong.contracts import Status
from singalong.remote_run import location_of, refresh, run_at
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.compare import Change, Comparison, PairState, compare_runs
from tasks.progress import RunProgress, WorkerState, progress_of
from tasks.report import write_reports

_MAX_PAIRS_SHOWN = 40
_MAX_WORKERS_SHOWN = 16
_WATCH_EVERY_S = 2.0


def status_command(run: str | Path, *, watch: bool, as_json: bool) -> int:
    """Show how far a run is, once or until nobody works on it any more; safe while it goes on."""
    with run_at(run) as path:
        progress = progress_of(RunFolder.open(path))
        if watch and not as_json:
            progress = _watch(path, progress)
        if as_json:
            _print_states(path, progress, again=watch)
        else:
            print_facts(_facts(progress))
    return EXIT_OK


def _watch(run: Path, progress: RunProgress) -> RunProgress:
    """Show a run as it goes on; what it was in the end."""
    with Live(facts_text(_facts(progress)), console=out, transient=True, auto_refresh=False) as live:
        while progress.holder is not None:
            progress = _later(run)
            live.update(facts_text(_facts(progress)), refresh=True)
    return progress


def _later(run: Path) -> RunProgress:
    """How far the run is after a while; it may have been given another plan."""
    time.sleep(_WATCH_EVERY_S)
    refresh(run)
    return progress_of(RunFolder.open(run))


def _print_states(run: Path, progress: RunProgress, *, again: bool) -> None:
    """One JSON document; or one a line for as long as somebody works on the run."""
    if not again:
        print_json(progress.model_dump(mode="json"))
        return
    while True:
        sys.stdout.write(progress.model_dump_json() + "\n")
        sys.stdout.flush()
        if progress.holder is None:
            return
        progress = _later(run)


def report_command(runs: Sequence[str | Path], *, as_json: bool) -> int:
    """Write the reports of runs, finished or not; of several also say what changed from the first to the last."""
    with ExitStack() as opened:
        folders = [RunFolder.open(opened.enter_context(run_at(run))) for run in runs]
        written = [path for folder in folders for path in write_reports(folder, store_of(folder.settings))]
        comparison = compare_runs(folders) if len(folders) > 1 else None
        places = {path.name: location_of(path) for path in written}
        lines = [location_of(path) for path in written]
    if as_json and comparison is not None:
        print_json(comparison.model_dump(mode="json"))
    elif as_json:
        print_json(places)
    else:
        for line in lines:
            out.print(line, markup=False)
        if comparison is not None:
            _show_comparison(comparison)
    return EXIT_OK


def _show_comparison(comparison: Comparison) -> None:
    totals: list[list[object]] = [
        [
            Path(run.run).name,
            f"{run.num_done} of {run.num_pairs}",
            _counts(run.verdicts),
            None if run.mean_confidence is None else f"{run.mean_confidence:.2f}",
        ]
        for run in comparison.runs
    ]
    print_table("runs", ["run", "pairs done", "verdicts", "mean confidence"], totals)
    changed = [pair for pair in comparison.pairs if pair.change is not Change.SAME]
    rows: list[list[object]] = [
        [
            pair.pair_id,
            pair.change.value,
            None if pair.confidence_change is None else f"{pair.confidence_change:+.2f}",
            *(_state_text(state) for state in pair.runs),
        ]
        for pair in changed[:_MAX_PAIRS_SHOWN]
    ]
    names = [Path(run.run).name for run in comparison.runs]
    print_table(_counts(comparison.changes) or "no pairs", ["pair", "change", "confidence", *names], rows)
    if len(changed) > _MAX_PAIRS_SHOWN:
        out.print(f"... and {len(changed) - _MAX_PAIRS_SHOWN} more; --json lists all")


def _state_text(state: PairState | None) -> str:
    if state is None:
        return "-"
    if state.status is not Status.DONE:
        return f"{state.status.value} {state.error_class or ''}".strip()
    confidence = "" if state.sync_confidence is None else f" {state.sync_confidence:.2f}"
    return f"{state.verdict.value if state.verdict else 'done'}{confidence}"


def _facts(progress: RunProgress) -> dict[str, object]:
    facts: dict[str, object] = {
        "run": progress.run,
        "driver": progress.holder or "none: nobody is working on it",
        "pairs": f"{progress.num_pairs} ({progress.num_problems} rows cannot be used)",
        "shards": _counts(progress.shards) or "none",
        "frames": f"{progress.frames_done:,} of {progress.frames_total:,}",
    }
    if progress.failures:
        facts["failures"] = _counts(progress.failures)
    if progress.running:
        facts["running"] = ", ".join(progress.running)
    if progress.frames_per_s is not None:
        facts["rate"] = f"{progress.frames_per_s:.1f} frames/s"
    if progress.seconds_left is not None:
        facts["left"] = str(timedelta(seconds=round(progress.seconds_left)))
    if progress.slowest:
        slowest = (f"{shard.shard_id} ({shard.frames_per_s:.1f} frames/s)" for shard in progress.slowest)
        facts["slowest"] = ", ".join(slowest)
    if progress.holder is not None and progress.workers:
        facts["workers"] = "\n".join(map(_worker_text, progress.workers[:_MAX_WORKERS_SHOWN]))
    return facts


def _worker_text(state: WorkerState) -> str:
    failed = f", {state.num_failed} failed" if state.num_failed else ""
    seen = f"last seen {timedelta(seconds=round(state.last_seen_s))} ago"
    return f"{state.worker}: {state.num_done} done{failed}, {seen}" + (" (quiet)" if state.quiet else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
