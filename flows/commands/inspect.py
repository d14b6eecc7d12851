"""`singalong status` and `singalong report`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flows.terminal import out, print_facts, print_json, print_table
from singalong.contracts import Status
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.compare import Change, Comparison, PairState, compare_runs
from tasks.progress import RunProgress, progress_of
from tasks.report import write_reports

_MAX_PAIRS_SHOWN = 40


def status_command(run: Path, *, as_json: bool) -> int:
    """Show how far a run is; safe while it goes on."""
    progress = progress_of(RunFolder.open(run))
    if as_json:
        print_json(progress.model_dump(mode="json"))
    else:
        print_facts(_facts(progress))
    return 0


def report_command(runs: list[Path], *, as_json: bool) -> int:
    """Write the reports of runs, finished or not; of several also say what changed from the first to the last."""
    folders = [RunFolder.open(run) for run in runs]
    written = [path for folder in folders for path in write_reports(folder, Store(folder.settings.store_path))]
    comparison = compare_runs(folders) if len(folders) > 1 else None
    if as_json and comparison is not None:
        print_json(comparison.model_dump(mode="json"))
    elif as_json:
        print_json({path.name: str(path) for path in written})
    else:
        for path in written:
            out.print(str(path), markup=False)
        if comparison is not None:
            _show_comparison(comparison)
    return 0


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
    return facts


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
