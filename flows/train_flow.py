"""The Prefect flow of a training: train, then publish the model. The truth lies in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow, task  # noqa: E402
from prefect.artifacts import create_progress_artifact, update_progress_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows.order import Stage  # noqa: E402
from flows.prefect_runs import INTERRUPTS, cancelled, noting_interrupts  # noqa: E402
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
            return run_training_stages(folder, wrap=_as_task, on_progress=_progress_artifact(folder))
    except INTERRUPTS:
        return cancelled()


def _as_task(name: str, stage: Stage) -> Stage:
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(stage)


def _progress_artifact(folder: TrainingFolder) -> Callable[[float], None]:
    created: Any = create_progress_artifact(0.0, key="singalong-training", description=f"training {folder.path}")
    updated = time.monotonic()

    def update(percent: float) -> None:
        nonlocal updated
        if time.monotonic() - updated > _ARTIFACT_EVERY_S:
            update_progress_artifact(created, percent)
            updated = time.monotonic()

    return update
