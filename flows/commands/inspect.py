"""`singalong status` and `singalong report`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flows.terminal import out, print_facts, print_json
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.progress import RunProgress, progress_of
from tasks.report import write_reports


def status_command(run: Path, *, as_json: bool) -> int:
    """Show how far a run is; safe while it goes on."""
    progress = progress_of(RunFolder.open(run))
    if as_json:
        print_json(progress.model_dump(mode="json"))
    else:
        print_facts(_facts(progress))
    return 0


def report_command(run: Path, *, as_json: bool) -> int:
    """Write the reports of a run, finished or not."""
    folder = RunFolder.open(run)
    written = write_reports(folder, Store(folder.settings.store_path))
    if as_json:
        print_json({path.name: str(path) for path in written})
    else:
        for path in written:
            out.print(str(path), markup=False)
    return 0


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
