"""Checkpoints of a training: written whole or not at all, the last two kept, read without running what they hold."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from singalong.durable import atomic_file, is_temp_name
from singalong.errors import UsageError
from tasks.training.paper.settings import check_same_training
from tasks.training.paper.training import Training

NUM_KEPT = 2
_NAME = re.compile(r"step-(\d{9,})\.pt")
# What torch raises on cut or flipped bytes; a checkpoint of ours holds tensors, numbers and text alone.
_DAMAGED = (
    *(pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError),
    *(TypeError, LookupError, AttributeError, AssertionError),
)
_PARTS = {"identity", "step", "networks", "optimizers", "state", "rng"}


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder by step, newest first."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = {int(match[1]): path for path in paths if (match := _NAME.fullmatch(path.name))}
    return dict(sorted(found.items(), reverse=True))


def save(folder: Path, step: int, training: Training[Any]) -> None:
    """Write the checkpoint after this step, and remove those before the last two.

    The same training at the same step gives the same bytes: there is no time, place or command in it.
    """
    document = {
        "identity": training.settings.identity(),
        "step": step,
        "networks": {name: network.state_dict() for name, network in training.networks.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in training.optimizers.items()},
        "state": dict(training.state),
        "rng": torch.get_rng_state(),
    }
    with atomic_file(folder / f"step-{step:09d}.pt") as temporary, temporary.open("wb") as file:
        torch.save(_canonical(document), file)  # given a path, torch would write its random name into the file
    for path in list(checkpoints(folder).values())[NUM_KEPT:]:
        path.unlink()


def restore(folder: Path, training: Training[Any]) -> int:
    """Bring a training to its newest readable checkpoint; the step it stands at, 0 if there is none.

    Raises UsageError if that checkpoint is of a training with other settings or data.
    """
    for path, document in _readable(folder):
        check_same_training(document["identity"], training.settings, run=path)
        for name, network in training.networks.items():
            network.load_state_dict(document["networks"][name])
        for name, optimizer in training.optimizers.items():
            optimizer.load_state_dict(document["optimizers"][name])
        training.state.update(document["state"])
        torch.set_rng_state(document["rng"])
        return int(document["step"])
    return 0


def read_network(folder: Path, name: str) -> tuple[int, dict[str, torch.Tensor]]:
    """Step and weights of a network in the newest readable checkpoint, on the CPU."""
    for _, document in _readable(folder):
        return int(document["step"]), document["networks"][name]
    raise UsageError(
        "there is no checkpoint", file=folder, action="Train first: singalong train expert or train generator."
    )


def sweep(folder: Path) -> None:
    """Remove what an interrupted write left behind."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_temp_name(path.name):
            path.unlink()


def _canonical(value: Any) -> Any:
    """The same content as new plain containers with interned texts: pickles tell equal objects from identical ones."""
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    return sys.intern(value) if isinstance(value, str) else value


def _readable(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints with their content, newest first; a damaged one is passed over as long as another is left.

    Everything comes to the CPU, where Adam's step counters belong; what belongs on a GPU is copied there.
    """
    found = list(checkpoints(folder).values())
    for index, path in enumerate(found):
        try:
            document = torch.load(path, map_location="cpu", weights_only=True)
            if set(document) != _PARTS:
                raise ValueError("no checkpoint of ours")
        except _DAMAGED as exc:
            if index + 1 < len(found):
                continue
            raise UsageError(
                "the checkpoint is damaged, and there is no other",
                file=path,
                action="Delete the run folder and train anew.",
            ) from exc
        yield path, document
