"""Convolution blocks shared by the generator, the sync expert and the visual quality discriminator.

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM
MM). Reference implementation: github.com/Rudrabha/Wav2Lip. Module names reproduce its state-dict keys:
`conv_block.0` is the (transposed) convolution, `conv_block.1` its batch norm.

Shape suffixes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

Pair = int | tuple[int, int]


class Activated(Protocol):
    """Anything that maps feature maps to feature maps."""

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """One step of a network."""


class Conv(NamedTuple):
    """One row of an architecture table."""

    num_in: int
    num_out: int
    kernel: Pair = 3
    stride: Pair = 1
    padding: Pair = 1
    residual: bool = False


class ConvBlock(nn.Module):
    """Convolution, batch norm, [+ input], ReLU; the residual is added before the ReLU.

    Maps (B, num_in, H, W) to (B, num_out, H', W').
    """

    def __init__(self, spec: Conv) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(*spec[:5]),
            nn.BatchNorm2d(spec.num_out),
        )
        self.act = nn.ReLU(inplace=True)
        self.residual = spec.residual

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Features (B, num_out, H', W'), never negative."""
        out_BCHW: Tensor = self.conv_block(x_BCHW)
        if self.residual:
            out_BCHW += x_BCHW
        activated_BCHW: Tensor = self.act(out_BCHW)
        return activated_BCHW


class UpConvBlock(nn.Module):
    """Transposed convolution, batch norm, ReLU. The weight is stored as (in, out, kernel, kernel)."""

    def __init__(self, spec: Conv, output_padding: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ConvTranspose2d(*spec[:5], output_padding),
            nn.BatchNorm2d(spec.num_out),
        )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Features (B, num_out, H', W'), never negative."""
        activated_BCHW: Tensor = self.act(self.conv_block(x_BCHW))
        return activated_BCHW


class PlainConvBlock(nn.Module):
    """Convolution and LeakyReLU of slope 0.01, without normalisation."""

    def __init__(self, spec: Conv) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(*spec[:5]))
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Features (B, num_out, H', W')."""
        activated_BCHW: Tensor = self.act(self.conv_block(x_BCHW))
        return activated_BCHW


def scaled(num_channels: int, width: float) -> int:
    """Channels of a network `width` times as wide as the paper's; at least one."""
    return max(1, round(num_channels * width))


def scale_specs(specs: Iterable[Conv], width: float) -> list[Conv]:
    """An architecture table at another width; the input channels of its first row are data and stay."""
    rows = [row._replace(num_in=scaled(row.num_in, width), num_out=scaled(row.num_out, width)) for row in specs]
    first = next(iter(specs))
    rows[0] = rows[0]._replace(num_in=first.num_in)
    return rows


def audio_encoder_specs(*, extra_block: bool) -> list[Conv]:
    """The audio encoder of generator and expert: mel (B, 1, 80, 16) to (B, 512, 1, 1).

    The expert's has one more residual block at 256 channels (`extra_block`).
    """
    return [
        Conv(1, 32),
        Conv(32, 32, residual=True),
        Conv(32, 32, residual=True),
        Conv(32, 64, stride=(3, 1)),
        Conv(64, 64, residual=True),
        Conv(64, 64, residual=True),
        Conv(64, 128, stride=3),
        Conv(128, 128, residual=True),
        Conv(128, 128, residual=True),
        Conv(128, 256, stride=(3, 2)),
        *[Conv(256, 256, residual=True)] * (2 if extra_block else 1),
        Conv(256, 512, padding=0),
        Conv(512, 512, kernel=1, padding=0),
    ]
