"""Folding batch norms into the convolutions before them: in eval mode both are linear, so one of them will do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import ConvBlock, UpConvBlock


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> None:
    """Replace every convolution with batch norm of our blocks by one convolution, in place; for inference only.

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


def _fold(layer: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    assert layer.bias is not None
    scale = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    # Output channels are the second axis of a transposed convolution's weight.
    shape = (1, -1, 1, 1) if isinstance(layer, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    _set(layer.weight, layer.weight.double() * scale.view(shape))
    _set(layer.bias, (layer.bias.double() - mean.double()) * scale + norm.bias.double())


def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.copy_(value.to(parameter.dtype))
