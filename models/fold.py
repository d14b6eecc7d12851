"""Folding batch norms into the convolutions before them: in eval mode both are linear, so one of them will do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.blocks import ConvBlock, UpConvBlock

_CHANNELS_AT_ONCE = 64
"""Of a weight being folded: the float64 copy of the largest in one piece would be half as large as the network."""


@torch.no_grad()
def fold_batch_norms(network: nn.Module, finish: Callable[[nn.Module], object] | None = None) -> None:
    """Replace every convolution with batch norm of our blocks by one convolution, in place; for inference only.

    `finish` is given each convolution once it is folded, to bring it to where and how it is used: so the network is
    never in memory twice.

    With scale = weight / sqrt(var + eps), convolution and norm together are the convolution of weights
    weight * scale and bias (bias - mean) * scale + shift. Computed in float64, so that float32 results stay the same
    to rounding.
    """
    for block in network.modules():
        if isinstance(block, ConvBlock | UpConvBlock):
            layer, norm = block.conv_block
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            assert isinstance(norm, nn.BatchNorm2d)
            _fold(layer, norm)
            block.conv_block = nn.Sequential(layer)
            if finish is not None:
                finish(layer)


def _fold(layer: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    assert layer.bias is not None
    scale = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    bias = (layer.bias.double() - mean.double()) * scale + norm.bias.double()
    layer.bias.copy_(bias.to(layer.bias.dtype))
    # Output channels are the second axis of a transposed convolution's weight.
    weight: Tensor = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    for first in range(0, len(weight), _CHANNELS_AT_ONCE):
        piece = weight[first : first + _CHANNELS_AT_ONCE]
        piece.copy_((piece.double() * scale[first : first + len(piece), None, None, None]).to(piece.dtype))
