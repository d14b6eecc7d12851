"""Starting the loop: in this process, or on workers of Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.engine import pick_device
from tasks.training.paper.context import TrainContext
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.loop import run_training


def launch(folder: TrainingFolder, *, on_wait: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Train to the end; figures of the result. `on_wait` is called now and then while Ray's workers train."""
    settings = folder.settings()
    config = {"run": str(folder.path)}
    if settings.executor == "inprocess":
        return run_training(TrainContext(pick_device(settings.device)), config)
    from tasks.actors import train_on_ray  # ray takes half a second to import

    figures: Any = train_on_ray(
        run_training,
        config,
        num_workers=settings.num_workers,
        use_gpu=None if settings.device is None else settings.device != "cpu",
        storage=folder.path / "ray",
        on_wait=on_wait,
    )
    return dict(figures)
