"""The Prefect flow of a run: stages in order, each a task that waits while the pool works.

Shards are not Prefect tasks: they go through the pool in waves, a task a wave, so that a run of a hundred thousand
shards stays at about a hundred task runs. The truth lies in the run folder; Prefect only shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402

from flows.early_workers import current_workers  # noqa: E402
from flows.order import run_stages  # noqa: E402
from flows.prefect_runs import INTERRUPTS, as_task, cancelled, noting_interrupts, progress_artifact  # noqa: E402
from flows.watchers import current_watcher, tell_metrics  # noqa: E402
from singalong.runfolder import RunFolder  # noqa: E402
from tasks.session import Session  # noqa: E402
from tasks.summary import FailureNote  # noqa: E402

MAX_TABLE_ROWS = 200


@flow(name="singalong-run", persist_result=False)
def run_planned(run: str) -> Any:
    """Bring a planned run to its end: prepare, lip-sync, join, montages, report.

    Returns the RunSummary, or the state Cancelled when it was interrupted; every step is resumable.
    """
    folder = RunFolder.open(Path(run))
    try:
        with folder.lock(), Session(folder, current_watcher(), current_workers()) as session, noting_interrupts():
            tell_metrics(session)
            summary = run_stages(session, wrap=as_task, on_progress=progress_artifact(f"run {folder.location}"))
    except INTERRUPTS:
        return cancelled()
    publish_failures(summary.failures, summary.run)
    return summary


def publish_failures(failures: Sequence[FailureNote], of: str) -> None:
    """Show failures as a table, if there are any."""
    if failures:
        rows = [failure.model_dump(mode="json") for failure in failures[:MAX_TABLE_ROWS]]
        create_table_artifact(rows, key="singalong-failures", description=f"failures of {of}")
