"""What one worker of a training knows of the others: alone in this process, or one of several under Ray Train."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn


class TrainContext:
    """A worker's place among the others; as it is, that of a worker alone.

    rank: 0 is the one that writes files. world_size: number of workers. device: where this one computes.
    """

    def __init__(self, device: torch.device, *, rank: int = 0, world_size: int = 1) -> None:
        assert 0 <= rank < world_size, (rank, world_size)
        self.device, self.rank, self.world_size = device, rank, world_size

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network to call when learning: it averages gradients over all workers. Its weights are the given ones."""
        assert self.world_size == 1
        return network

    def report(self, figures: Mapping[str, float]) -> None:
        """Tell whoever watches the workers of an evaluation; every worker calls it."""

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            distributed.barrier()

    def total(self, values: Tensor) -> Tensor:
        """Sums over all workers."""
        if self.world_size > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values.cpu()

    def share_buffers(self, network: nn.Module) -> None:
        """Give all workers the batch-norm statistics of the first, which are those that are kept."""
        if self.world_size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)
