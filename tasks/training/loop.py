"""Training steps with a schedule and checkpoints: a run that was stopped goes on as if it had not been.

A checkpoint holds networks, optimizer, step and torch's random state. Batches are functions of seed and step, so
there is no other data position.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from singalong.durable import write_atomic

CHECKPOINT_FILE = "checkpoint.pt"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, how fast, how often.

    num_steps: of the whole run; the schedule depends on it. learning_rate: its peak. warmup_steps: linear rise; a
    cosine to zero follows. checkpoint_every and log_every: steps. clip_norm: of the gradients.
    """

    num_steps: int
    learning_rate: float
    warmup_steps: int = 60
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    log_every: int = 25


@dataclass
class TrainingState:
    """All that a run is, between two steps."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    base_rates: list[float] = field(default_factory=list)

    @classmethod
    def new(cls, network: nn.Module, settings: LoopSettings, rates: Mapping[str, float] | None = None) -> TrainingState:
        """A fresh run; `rates` multiplies the learning rate of parameters whose names start with a prefix."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            factor = next((rate for prefix, rate in (rates or {}).items() if name.startswith(prefix)), 1.0)
            groups.setdefault(factor, []).append(parameter)
        rows = [{"params": row, "lr": settings.learning_rate * factor} for factor, row in groups.items()]
        optimizer = torch.optim.AdamW(rows, weight_decay=settings.weight_decay)
        return cls(network, optimizer, base_rates=[settings.learning_rate * factor for factor in groups])

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        document = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
        }
        temporary = path.with_suffix(".part")
        torch.save(document, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same run."""
        document = torch.load(path, weights_only=True)
        self.network.load_state_dict(document["network"])
        self.optimizer.load_state_dict(document["optimizer"])
        self.step, self.seconds = document["step"], document["seconds"]
        torch.set_rng_state(document["rng"])


def learning_rate_factor(step: int, settings: LoopSettings) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine to zero."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.num_steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def train(
    state: TrainingState,
    loss_of_step: Callable[[int], tuple[Tensor, dict[str, float]]],
    settings: LoopSettings,
    folder: Path,
    *,
    stop_at: int | None = None,
) -> None:
    """Run to `num_steps` (or `stop_at`), resuming from `folder`/checkpoint.pt where there is one.

    loss_of_step(step) gives the loss and figures for the log; figures go to `folder`/log.jsonl as means over
    `log_every` steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT_FILE
    if checkpoint.exists():
        state.load(checkpoint)
        _cut_log(folder, state.step)
        _log.info("resumed at step %d", state.step)
    sums: dict[str, float] = {}
    started = time.perf_counter()
    while state.step < min(settings.num_steps, stop_at or settings.num_steps):
        for name, value in _step(state, loss_of_step, settings).items():
            sums[name] = sums.get(name, 0.0) + value
        if state.step % settings.log_every == 0:
            now = time.perf_counter()
            state.seconds, started = state.seconds + now - started, now
            _write_log(folder, state, {name: value / settings.log_every for name, value in sums.items()})
            sums = {}
        if state.step % settings.checkpoint_every == 0 or state.step == settings.num_steps:
            state.save(checkpoint)


def _step(
    state: TrainingState, loss_of_step: Callable[[int], tuple[Tensor, dict[str, float]]], settings: LoopSettings
) -> dict[str, float]:
    """One step, and its figures; a step whose gradient is not finite changes nothing."""
    for group, rate in zip(state.optimizer.param_groups, state.base_rates, strict=True):
        group["lr"] = rate * learning_rate_factor(state.step, settings)
    state.network.train()
    loss, figures = loss_of_step(state.step)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip_norm)
    if math.isfinite(float(norm)):
        state.optimizer.step()
    state.step += 1
    return {"loss": float(loss.detach()), "norm": float(norm), **figures}


def _cut_log(folder: Path, step: int) -> None:
    """Forget the rows after a step: they will be written again."""
    path = folder / "log.jsonl"
    if path.exists():
        rows = path.read_text(encoding="utf-8").splitlines()
        write_atomic(path, "".join(f"{row}\n" for row in rows if json.loads(row)["step"] <= step).encode())


def _write_log(folder: Path, state: TrainingState, figures: dict[str, float]) -> None:
    row = {"step": state.step, "seconds": round(state.seconds, 1)}
    row |= {name: round(value, 4) for name, value in figures.items()}
    _log.info("%s", row)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
