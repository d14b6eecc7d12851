"""The Prefect flow that prepares a training dataset: waves of videos, each a task that waits while the pool works.

The truth lies in the dataset's folder; Prefect only shows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow  # noqa: E402

from flows.prefect_runs import INTERRUPTS, as_task, cancelled, noting_interrupts, progress_artifact  # noqa: E402
from flows.prepare_order import prepare_stages  # noqa: E402
from flows.run_flow import publish_failures  # noqa: E402
from flows.watchers import current_watcher  # noqa: E402
from singalong.config import Settings  # noqa: E402
from singalong.contracts import ModelRef  # noqa: E402
from tasks.training.prepare import PrepareSession  # noqa: E402


@flow(name="singalong-prepare", persist_result=False)
def prepare_dataset(
    folder: str, dataset: str, settings: dict[str, Any], detector: dict[str, Any], scorer: dict[str, Any] | None
) -> Any:
    """Prepare a folder of videos into a dataset; settings and models as their records' JSON.

    Returns the PrepareSummary, or the state Cancelled when it was interrupted; it is resumable at any moment.
    """
    try:
        with (
            noting_interrupts(),
            PrepareSession(
                Path(folder),
                Path(dataset),
                Settings.model_validate(settings),
                detector=ModelRef.model_validate(detector),
                scorer=ModelRef.model_validate(scorer) if scorer else None,
                watcher=current_watcher(),
            ) as session,
        ):
            progress = progress_artifact(f"dataset {dataset}")
            summary = prepare_stages(session, wrap=as_task, on_progress=progress)
    except INTERRUPTS:
        return cancelled()
    publish_failures(summary.failures, dataset)
    return summary
