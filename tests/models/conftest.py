"""Fixtures for the networks: the reference vectors when they are at hand, small random networks otherwise."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    if not (REFERENCE / "make_weights.py").is_file():
        pytest.skip("the reference vectors are not beside this checkout (../shared/reference)")
    return REFERENCE


def _script(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def make_weights(reference_dir: Path) -> ModuleType:
    return _script(reference_dir, "make_weights")


@pytest.fixture(scope="session")
def make_inputs(reference_dir: Path) -> ModuleType:
    return _script(reference_dir, "make_inputs")


@pytest.fixture(scope="session")
def vectors(reference_dir: Path) -> Callable[[str], dict[str, np.ndarray]]:
    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(reference_dir / "golden" / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def reference_state(reference_dir: Path, make_weights: ModuleType) -> Callable[[str], dict[str, Tensor]]:
    """The deterministic weights of one reference network, by its name."""

    def build(model: str) -> dict[str, Tensor]:
        path = reference_dir / "golden" / "shapes" / f"{model}.json"
        shapes = json.loads(path.read_text(encoding="utf-8"))["shapes"]
        return {key: torch.as_tensor(value) for key, value in make_weights.make_state(shapes, model).items()}

    return build


@pytest.fixture
def randomize() -> Callable[[nn.Module], nn.Module]:
    """Puts a network in eval mode with batch norms that are not the identity, reproducibly."""

    def fill(network: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        for key, tensor in network.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            if key.endswith("running_var"):
                tensor.copy_(0.5 + noise)
            elif tensor.dim() >= 2:
                tensor.copy_((noise - 0.5) * (4.5 / tensor[0].numel() ** 0.5))
            else:
                tensor.copy_(noise + (0.5 if key.endswith("weight") else -0.5))
        return network.eval()

    return fill
