"""Weights made from a seed, the same on every machine: what the `untrained` generator is made of.

The bits come from numpy's Philox, whose stream is guaranteed not to change, and only exactly rounded arithmetic
follows; torch's own initialisers promise neither.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from models.blocks import ConvBlock

# He initialisation keeps the size of activations through a ReLU; residual blocks add up, so theirs must be smaller.
_HE_GAIN = math.sqrt(2.0)
_RESIDUAL_GAIN = 0.4
_WORDS_AT_ONCE = 1 << 18


@torch.no_grad()
def seed_weights(network: nn.Module, seed: int) -> None:
    """Fill a network in place: He-uniform convolutions, biases zero, batch norms the identity.

    Raise `UNTRAINED_SHA256` in `models.cards` when this changes: it stands for these weights in work keys.
    """
    residual = {
        id(block.conv_block[0]) for block in network.modules() if isinstance(block, ConvBlock) and block.residual
    }
    for index, (_, layer) in enumerate(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        fan_in = float(layer.in_channels * math.prod(layer.kernel_size))
        if isinstance(layer, nn.ConvTranspose2d):
            fan_in /= math.prod(layer.stride)  # each output sees only every stride-th tap
        gain = _RESIDUAL_GAIN if id(layer) in residual else _HE_GAIN
        bound = gain * math.sqrt(3.0 / fan_in)
        layer.weight.copy_(_uniform(tuple(layer.weight.shape), bound, key=(seed << 32) + index))
        if layer.bias is not None:
            layer.bias.zero_()


def _uniform(shape: tuple[int, ...], bound: float, key: int) -> Tensor:
    """Float32 in [-bound, bound), from the upper 24 bits of each half of Philox's 64-bit words."""
    size = math.prod(shape)
    stream, unit = np.random.Philox(key=key), np.empty(size, np.float32)
    for first in range(0, size, 2 * _WORDS_AT_ONCE):
        piece = unit[first : first + 2 * _WORDS_AT_ONCE]
        words = stream.random_raw((len(piece) + 1) // 2).astype("<u8", copy=False)
        piece[:] = words.view("<u4")[: len(piece)] >> np.uint32(8)
    unit *= np.float32(2.0**-23)  # these two steps are exact
    unit -= np.float32(1.0)
    unit *= np.float32(bound)
    return torch.from_numpy(unit.reshape(shape))
