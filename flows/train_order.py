"""The order of a training's stages, written once: under Prefect each stage is a task, in process it is a plain call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.order import Wrap, call_plainly
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.launch import launch
from tasks.training.paper.product import TrainedCard, publish


def run_training_stages(
    folder: TrainingFolder,
    *,
    wrap: Wrap = call_plainly,
    on_progress: Callable[[float], None] = lambda _percent: None,
) -> TrainedCard:
    """Train to the end, then write model and card. Each stage does only what is missing."""

    def show() -> None:
        progress = folder.progress()
        if progress is not None:
            on_progress(100.0 * progress.step / progress.num_steps)

    figures: dict[str, float] = wrap("train", launch)(folder, on_wait=show)
    card: Any = wrap("publish", publish)(folder, figures)
    return TrainedCard.model_validate(card)
