"""The end product of a training: model.safetensors and card.json, as `singalong models add` takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import torch
from pydantic import Field
from safetensors.torch import save

from models.architectures import num_parameters
from models.cards import ROLES, ModelCard, file_sha256
from singalong.contracts import Row
from singalong.durable import write_atomic
from tasks.training.paper.checkpoint import read_network
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.settings import TrainingSettings

_ARCHITECTURES = {"expert": "lipsync_expert", "generator": "wav2lip_generator"}


class TrainingFacts(Row):
    """How a model was made."""

    settings: TrainingSettings
    num_steps: int
    seconds: float = Field(description="of all sessions, steps that were done again included")
    node: str
    device: str
    torch: str


class TrainedCard(ModelCard):
    """A model card with what is known of the training."""

    training: TrainingFacts


def publish(folder: TrainingFolder, figures: Mapping[str, float]) -> TrainedCard:
    """Write the weights of the newest checkpoint and their card, each whole or not at all; the same weights give the
    same file.

    figures: means of an evaluation of these weights.
    """
    settings = folder.settings()
    step, state = read_network(folder.checkpoints, settings.kind)
    write_atomic(folder.model, save({key: tensor.contiguous() for key, tensor in state.items()}, {"format": "pt"}))
    card = _card(folder, settings, step, state, figures)
    write_atomic(folder.card, card.model_dump_json(indent=2, exclude_none=True).encode() + b"\n")
    return card


def _card(
    folder: TrainingFolder,
    settings: TrainingSettings,
    step: int,
    state: Mapping[str, torch.Tensor],
    figures: Mapping[str, float],
) -> TrainedCard:
    architecture, facts = _ARCHITECTURES[settings.kind], _facts(folder, settings, step)
    return TrainedCard(
        name=_name(folder.path.name),
        architecture=architecture,
        role=ROLES[architecture][0],
        width=settings.width,
        weights=folder.model.name,
        weights_sha256=file_sha256(folder.model),
        num_bytes=folder.model.stat().st_size,
        num_parameters=num_parameters(state),
        source=str(folder.path),
        licence=settings.licence,
        trained_on=f"{settings.num_train_sequences} sequences of {settings.dataset}",
        metrics={f"eval_{name}": value for name, value in figures.items()},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commands=(settings.command,),
        made_on=f"{facts.node}, {facts.device}, {facts.seconds / 3600:.2f} hours",
        training=facts,
    )


def _facts(folder: TrainingFolder, settings: TrainingSettings, step: int) -> TrainingFacts:
    progress = folder.progress()
    return TrainingFacts(
        settings=settings,
        num_steps=step,
        seconds=round(progress.seconds, 1) if progress else 0.0,
        node=progress.node if progress else "unknown",
        device=progress.device if progress else "unknown",
        torch=torch.__version__,
    )


def _name(folder_name: str) -> str:
    """The folder's name as a model may be called."""
    return re.sub(r"[^a-z0-9._-]+", "-", folder_name.lower()).strip("-._")[:64] or "trained"
