"""bfloat16 inside the networks, float32 around them: weights, gradients, optimizers and losses stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from models.discriminator import VisualQualityDiscriminator
from models.generator import Generator
from models.sync_expert import SyncExpert

Precision = Literal["float32", "bfloat16"]
Network = Generator | SyncExpert | VisualQualityDiscriminator


def set_precision(network: Network, precision: Precision, device: torch.device) -> None:
    """Let a network compute in this precision from now on.

    In bfloat16 the convolutions run under autocast; embeddings are normalised, and the last layers of generator and
    discriminator computed, in float32: rounded cosines and probabilities would spoil the cross entropies.
    """
    if precision == "bfloat16":
        for part in _inner_parts(network):
            part.forward = _autocast(part.forward, device.type)


def exact_kernels() -> None:
    """Let a GPU compute the same bits every time, and float32 in float32: no TF32, no kernels chosen by the clock."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _inner_parts(network: Network) -> Iterable[nn.Module]:
    if isinstance(network, SyncExpert):
        return (network.face_encoder, network.audio_encoder)
    if isinstance(network, VisualQualityDiscriminator):
        return network.face_encoder_blocks
    stages = (*network.face_encoder_blocks, *network.face_decoder_blocks)
    return (network.audio_encoder, *stages, network.output_block[0])


def _autocast(forward: Callable[[Tensor], Tensor], device_type: str) -> Callable[[Tensor], Tensor]:
    def in_bfloat16(x: Tensor) -> Tensor:
        with torch.autocast(device_type, torch.bfloat16):
            return forward(x).float()

    return in_bfloat16
