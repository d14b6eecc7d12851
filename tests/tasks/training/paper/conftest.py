"""A dataset and an expert for all tests of trainings, and trainings small enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.sync_expert import SyncExpert
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.plan import plan_training
from tests.tasks.training.paper.datasets import write_dataset

OPTIONS: dict[str, Any] = {
    "batch_size": 2,
    "num_steps": 8,
    "learning_rate": 1e-4,
    "seed": 3,
    "eval_every": 4,
    "eval_batches": 1,
    "checkpoint_every": 3,
    "width": 0.02,
    "executor": "inprocess",
    "device": "cpu",
    "licence": "CC0",
}

Plan = Callable[..., TrainingFolder]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn talking faces, one of them for validation."""
    return write_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="session")
def expert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a small expert that knows nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("expert") / "expert.safetensors"
    save_file(SyncExpert(0.02).state_dict(), path)
    return path


@pytest.fixture
def plan(dataset: Path, expert_file: Path) -> Plan:
    """plan(kind, run, **changes): the run folder of a small training."""

    def make(kind: str, run: Path, **changes: Any) -> TrainingFolder:
        options = OPTIONS | ({"expert": str(expert_file)} if kind == "generator" else {}) | changes
        folder, _ = plan_training(kind, options.pop("dataset", dataset), run, **options)  # type: ignore[arg-type]
        return folder

    return make
