"""How many frames to compute at once: as many as the device's memory holds, found out while working.

A batch starts small and doubles as long as what the last one took says that twice as much would fit. Memory that runs
out all the same halves it, for good: what fitted is remembered for as long as the network stays loaded. On a CPU larger
batches gain nothing, so there it never grows.
"""

from __future__ import annotations

from typing import Protocol

import torch

_SPARE = 0.1
"""Share of a GPU's memory that is left alone: cuDNN asks for workspace of its own, fragments cannot be used."""
_CONTEXT_BYTES = 600 << 20
"""What CUDA itself takes in every process and torch does not count: 400 to 600 MB on data-centre GPUs, by NVIDIA's and
torch's documentation; not measured here."""
LARGEST_BATCH = 512


class DeviceMemory(Protocol):
    """What is known of the memory that a network computes in."""

    def start(self) -> None:
        """A batch begins."""

    def taken_bytes(self) -> int:
        """Most that was taken at once since `start`, beyond what was there then."""

    def allowed_bytes(self) -> int:
        """What may be taken beyond what is held between batches."""


class CudaMemory:
    """A process's share of one GPU: actors that share a card may not eat each other's."""

    def __init__(self, device: torch.device, share: float) -> None:
        """`share` of the card's memory, in (0, 1]; torch itself refuses this process more."""
        self._device, self._share = device, share
        total = torch.cuda.mem_get_info(device)[1]
        self._own = max(int(total * share * (1 - _SPARE)) - _CONTEXT_BYTES, total // 64)
        torch.cuda.set_per_process_memory_fraction(min(1.0, self._own / total), device)
        self._before = 0

    def start(self) -> None:
        """Count from here."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def taken_bytes(self) -> int:
        """By torch's own count of what was allocated."""
        return torch.cuda.max_memory_allocated(self._device) - self._before

    def allowed_bytes(self) -> int:
        """The rest of the share, and never more than what the card has free or torch holds in reserve."""
        allocated, reserved = torch.cuda.memory_allocated(self._device), torch.cuda.memory_reserved(self._device)
        free = torch.cuda.mem_get_info(self._device)[0]
        return max(0, min(self._own - allocated, free + reserved - allocated))


class BatchFit:
    """The size of the batches of one network on one device.

    Attributes:
        size: frames to compute at once.
    """

    def __init__(self, size: int, memory: DeviceMemory | None = None) -> None:
        """Start with `size`; without a memory to look at it never grows."""
        assert size >= 1, size
        self.size = size
        self._memory = memory
        self._ceiling = LARGEST_BATCH if memory is not None else size

    @property
    def can_grow(self) -> bool:
        """Whether it follows a device's memory at all."""
        return self._memory is not None

    @property
    def wanted(self) -> int:
        """Frames worth giving at once: more than `size` where it may still grow."""
        return max(self.size, min(2 * self.size, self._ceiling))

    def limit(self, size: int) -> None:
        """Never again more than this: an earlier try ran out of memory elsewhere."""
        self._ceiling = min(self._ceiling, size)
        self.size = min(self.size, size)

    def start(self) -> None:
        """A batch begins."""
        if self._memory is not None:
            self._memory.start()

    def fitted(self, num_frames: int) -> None:
        """A batch of so many frames came to its end: grow, if twice as much would fit."""
        if self._memory is None or num_frames < self.size or self.size >= self._ceiling:
            return
        taken = self._memory.taken_bytes()
        if taken <= 0:
            return
        if 2 * taken <= self._memory.allowed_bytes():
            self.size = self.wanted
        else:
            self._ceiling = self.size

    def failed(self, num_frames: int) -> bool:
        """Memory ran out with so many frames: halve, for good; False where there is nothing left to halve."""
        if num_frames <= 1:
            return False
        self.limit(num_frames // 2)
        return True


def memory_of(device: torch.device, share: float) -> DeviceMemory | None:
    """The memory to grow into: a share of a GPU; None on a CPU."""
    return CudaMemory(device, share) if device.type == "cuda" else None
