"""What a training is asked to do, and which changes of it a training that goes on may meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from models.losses import GAN_SYNC_WEIGHT, PERCEPTUAL_WEIGHT, SYNC_SWITCH, SYNC_WEIGHT
from singalong.contracts import Row
from singalong.errors import UsageError

Kind = Literal["expert", "generator"]

_EVAL_BATCHES = {"expert": 1400, "generator": 701, "gan": 302}
"""Batches of an evaluation in the reference; at most so many in one pass over the videos, but for `generator`, where
the videos come round again until there are so many."""


class ExpertChoice(Row):
    """The frozen expert of a generator's training."""

    name: str
    path: str
    sha256: str


class TrainingSettings(Row):
    """All that decides a training; `training.json` in the run folder. Defaults are in the command line."""

    format_version: int = 1
    kind: Kind
    gan: bool = False
    dataset: str
    train_digest: str = Field(description="identity of the training sequences, see SequenceSet.digest")
    val_digest: str
    num_train_sequences: int
    num_val_sequences: int
    expert: ExpertChoice | None = None
    batch_size: int = Field(gt=0, description="items of a step, shared by all workers")
    num_steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    seed: int = Field(ge=0)
    eval_every: int = Field(gt=0, description="steps")
    eval_batches: int = Field(gt=0)
    checkpoint_every: int = Field(gt=0, description="steps")
    sync_switch: float = SYNC_SWITCH
    width: float = Field(default=1.0, gt=0, description="inner channels relative to the paper's networks")
    precision: Literal["float32", "bfloat16"] = "float32"
    num_workers: int = Field(default=1, gt=0)
    device: str | None = None
    executor: Literal["ray", "inprocess"] = "ray"
    licence: str
    command: str = Field(default="", description="what was typed, for the card")

    @property
    def expert_sha256(self) -> str | None:
        """Digest of the expert's weights."""
        return self.expert.sha256 if self.expert else None

    def identity(self) -> dict[str, Any]:
        """What decides the weights: plain values by name."""
        return {name: getattr(self, name) for name in DECISIVE}

    @property
    def betas(self) -> tuple[float, float]:
        """Of Adam, all networks: the reference lowers the first for the GAN variant."""
        return (0.5, 0.999) if self.gan else (0.9, 0.999)

    @property
    def sync_weight(self) -> float:
        """Weight of the sync loss once it is switched on."""
        return GAN_SYNC_WEIGHT if self.gan else SYNC_WEIGHT

    @property
    def perceptual_weight(self) -> float:
        """Weight of the discriminator's verdict in the generator's loss."""
        return PERCEPTUAL_WEIGHT if self.gan else 0.0

    @property
    def evaluates_first(self) -> bool:
        """Whether there is an evaluation at step 1 already, as in the reference's training without GAN alone."""
        return self.kind == "generator" and not self.gan


DECISIVE = {
    "kind": "train expert or train generator",
    "gan": "--gan",
    "train_digest": "the training sequences of the dataset",
    "val_digest": "the validation sequences of the dataset",
    "expert_sha256": "--expert",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "seed": "--seed",
    "eval_every": "--eval-every",
    "eval_batches": "--eval-batches",
    "sync_switch": "--sync-switch",
    "width": "--width",
    "precision": "--precision",
}
"""What decides the weights, as a user knows it. All else may change: how long, where, how often it saves."""


def default_eval_batches(kind: Kind, *, gan: bool, num_val_sequences: int, batch_size: int) -> int:
    """Batches of an evaluation as in the reference: one pass over the videos, up to a limit; without GAN 701 always."""
    most = _EVAL_BATCHES["gan" if gan else kind]
    if kind == "generator" and not gan:
        return most
    return min(most, -(-num_val_sequences // batch_size))


def check_same_training(before: Mapping[str, object], now: TrainingSettings, *, run: object) -> None:
    """Raise UsageError that names what differs if a training with the identity `before` would give other weights."""
    changes = [
        f"{DECISIVE[name]}: {_shown(before.get(name))} then, {_shown(value)} now"
        for name, value in now.identity().items()
        if before.get(name) != value
    ]
    if changes:
        raise UsageError(
            f"this folder holds another training ({'; '.join(changes)})",
            file=str(run),
            expected="the settings and data it was started with",
            action="Go on with those, or choose another folder with --run.",
        )


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
