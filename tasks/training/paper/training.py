"""What the loop asks of a training: networks and optimizers, and what a step, an evaluation and a sheet are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.training.paper.context import TrainContext
from tasks.training.paper.precision import Network, set_precision
from tasks.training.paper.settings import TrainingSettings
from tasks.training.paper.windows import Sequences

Batch = TypeVar("Batch")


class Training(ABC, Generic[Batch]):
    """One worker's part of a training.

    networks and optimizers: by name, all that learns. state: numbers that belong to a checkpoint besides.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        context: TrainContext,
        *,
        train: Sequences,
        val: Sequences,
        **networks: Network,
    ) -> None:
        self.settings, self.context, self.train, self.val = settings, context, train, val
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.state: dict[str, float] = {}
        for name, network in networks.items():
            set_precision(network, settings.precision, context.device)
            self.networks[name] = network.to(context.device)
            self.optimizers[name] = torch.optim.Adam(
                network.parameters(), lr=settings.learning_rate, betas=settings.betas
            )
        self._wrapped: dict[str, nn.Module] = {}

    def begin(self) -> None:
        """Join the other workers; after the weights of a checkpoint are in place."""
        self._wrapped = {name: self.context.wrap(network) for name, network in self.networks.items()}

    def learner(self, name: str) -> nn.Module:
        """A network in the form that averages gradients over the workers."""
        return self._wrapped[name]

    def share(self) -> range:
        """The items of a batch that are this worker's."""
        num = self.settings.batch_size // self.context.world_size
        return range(self.context.rank * num, (self.context.rank + 1) * num)

    def whole(self) -> range:
        """All items of a batch; evaluations share out batches, not items."""
        return range(self.settings.batch_size)

    def on_device(self, array: NDArray[np.generic]) -> Tensor:
        """An array where this worker computes."""
        return torch.from_numpy(array).to(self.context.device)

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The part of a step's batch that is this worker's; called from other threads."""

    @abstractmethod
    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """One step; its figures, scalars."""

    @abstractmethod
    def measure(self, index: int) -> dict[str, Tensor]:
        """Figures of one batch of the evaluation, scalars; the networks stay as they are."""

    def evaluated(self, figures: Mapping[str, float]) -> None:
        """An evaluation was made, with these means."""

    def sheet(self) -> NDArray[np.uint8] | None:
        """A sample sheet (H, W, 3) BGR of what the networks can do now, if there is anything to see."""
        return None
