"""The Prefect flow of a training: train, then publish the model. The truth lies in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow  # noqa: E402

from flows.prefect_runs import INTERRUPTS, as_task, cancelled, noting_interrupts, progress_artifact  # noqa: E402
from flows.train_order import run_training_stages  # noqa: E402
from tasks.training.paper.folder import TrainingFolder  # noqa: E402

_ARTIFACT_EVERY_S = 15.0


@flow(name="singalong-train", persist_result=False)
def train_planned(run: str) -> Any:
    """Bring a planned training to its end.

    Returns the TrainedCard, or the state Cancelled when it was interrupted; a training goes on from its last
    checkpoint.
    """
    folder = TrainingFolder(Path(run))
    try:
        with noting_interrupts(), folder.lock():
            progress = progress_artifact(
                f"training {folder.path}", key="singalong-training", at_most_every_s=_ARTIFACT_EVERY_S
            )
            return run_training_stages(folder, wrap=as_task, on_progress=progress)
    except INTERRUPTS:
        return cancelled()
