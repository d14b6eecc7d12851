"""The visual quality discriminator of the GAN variant: does this lower face look real?

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM
MM), section 4.3. Reference implementation: github.com/Rudrabha/Wav2Lip, `models/wav2lip.py`; same state-dict
keys.

Shape suffixes: B batch, T frames of a window, C channels, H height, W width, N = B * T frames, time-major.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, PlainConvBlock, scale_specs

_STAGES: tuple[tuple[Conv, ...], ...] = (
    (Conv(3, 32, kernel=7, padding=3),),
    (Conv(32, 64, kernel=5, stride=(1, 2), padding=2), Conv(64, 64, kernel=5, padding=2)),
    (Conv(64, 128, kernel=5, stride=2, padding=2), Conv(128, 128, kernel=5, padding=2)),
    (Conv(128, 256, kernel=5, stride=2, padding=2), Conv(256, 256, kernel=5, padding=2)),
    (Conv(256, 512, stride=2), Conv(512, 512)),
    (Conv(512, 512, stride=2), Conv(512, 512)),
    (Conv(512, 512, padding=0), Conv(512, 512, kernel=1, padding=0)),
)


class VisualQualityDiscriminator(nn.Module):
    """Probability that a face is a real one, judged by its lower half; no normalisation layers."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        flat = scale_specs([spec for stage in _STAGES for spec in stage], width)
        num_last = flat[-1].num_out
        self.face_encoder_blocks = nn.ModuleList()
        for stage in _STAGES:
            rows, flat = flat[: len(stage)], flat[len(stage) :]
            self.face_encoder_blocks.append(nn.Sequential(*[PlainConvBlock(row) for row in rows]))
        self.binary_pred = nn.Sequential(nn.Conv2d(num_last, 1, kernel_size=1), nn.Sigmoid())

    def forward(self, frames: Tensor) -> Tensor:
        """Probabilities (B * T, 1), time-major, of faces (B, 3, T, 96, 96) BGR in [0, 1]."""
        x_NCHW = frames[:, :, :, frames.shape[3] // 2 :].permute(2, 0, 1, 3, 4).flatten(0, 1)
        for stage in self.face_encoder_blocks:
            x_NCHW = stage(x_NCHW)
        real_N1: Tensor = self.binary_pred(x_NCHW).flatten(1)
        return real_N1

    def perceptual_loss(self, frames: Tensor) -> Tensor:
        """The generator's side of the game: mean cross entropy of faces against "real", a scalar."""
        real_N1 = self(frames)
        return functional.binary_cross_entropy(real_N1, torch.ones_like(real_N1))
