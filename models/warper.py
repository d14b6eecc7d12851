"""The small generator: a face and 0.2 s of sound to a bend of that face and a patch for what the bend cannot show.

Not the paper's painting network. Skin, beard and lips are bent (a dense flow), teeth and the mouth's inside are painted
(a patch with coverage); both are smooth fields that scale to the face's native size, so skin keeps its sharpness. The
sound steers the face's features by FiLM (Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer",
AAAI 2018); the sound's encoder is that of the expert (`models.sync_expert`), from which training starts.

Shape suffixes: B batch, C channels, H and W 96 pixels, M 80 mel bands, S 16 mel steps, D sound embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, ConvBlock, audio_encoder_specs, scale_specs

MAX_FLOW = 0.25
"""The longest bend along one axis, as a share of the crop."""

NUM_SOUND_FEATURES = 128
_AUDIO_WIDTH = NUM_SOUND_FEATURES / 512
# Channels at 48, 24, 12 and 6 pixels.
_CHANNELS = (24, 48, 96, 128)
# Coverage of the patch before training: little.
_COVER_BIAS = -2.0


class Warper(nn.Module):
    """Bends and paints a face; 1.4 million weights."""

    def __init__(self) -> None:
        super().__init__()
        channels = _CHANNELS
        rows = scale_specs(audio_encoder_specs(extra_block=True), _AUDIO_WIDTH)
        self.audio_encoder = nn.Sequential(*[ConvBlock(row) for row in rows])
        num_in = 3
        self.down = nn.ModuleList()
        for index, num in enumerate(channels):
            first = Conv(num_in, num, kernel=5 if index == 0 else 3, stride=2, padding=2 if index == 0 else 1)
            residual = [Conv(num, num, residual=True)] * (2 if index == len(channels) - 1 else 1)
            self.down.append(nn.Sequential(*[ConvBlock(row) for row in (first, *residual)]))
            num_in = num
        self.steer = nn.ModuleList([nn.Linear(NUM_SOUND_FEATURES, 2 * num) for num in channels])
        self.up = nn.ModuleList(
            [_Up(below, num) for below, num in zip(channels[1:], channels[:-1], strict=True)],
        )
        self.bottom = ConvBlock(Conv(channels[-1], channels[-1], residual=True))
        self.flow_head = nn.Conv2d(channels[0], 2, 3, padding=1)
        # Sub-pixel convolution (Shi et al., CVPR 2016): four values of each channel a cell, at a quarter of the cost.
        self.patch_block = ConvBlock(Conv(channels[0], channels[0]))
        self.patch_head = nn.Conv2d(channels[0], 4 * 4, 3, padding=1)
        self._start_plain()

    def _start_plain(self) -> None:
        """Start as the identity: no bend, little patch, and sound without influence."""
        for layer in (*self.steer, self.flow_head):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        bias = self.patch_head.bias
        assert bias is not None
        nn.init.zeros_(bias)
        nn.init.constant_(bias[12:], _COVER_BIAS)

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """How to change faces so that they say what the mel spectrogram says.

        mel (B, 1, 80, 16) in [-4, 4]; faces (B, 3, 96, 96) BGR in [0, 1], unmasked. Returns flow (B, 96, 96, 2): where
        each pixel comes from, (x, y), relative to itself, as shares of the crop's sides; patch (B, 4, 96, 96): BGR and
        coverage in [0, 1], laid over the bent face. See `singalong.media.warp.apply_warp`.
        """
        fields: tuple[Tensor, Tensor] = self.change(self.hear(mel), faces)
        return fields

    def hear(self, mel_B1MS: Tensor) -> Tensor:
        """The sound's embedding (B, D)."""
        sound_BD: Tensor = self.audio_encoder(mel_B1MS).flatten(1)
        return sound_BD

    def change(self, sound_BD: Tensor, faces_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Flow and patch, as `forward`, for sounds already embedded."""
        x_BCHW, skips = faces_B3HW - 0.5, []
        for stage in self.down:
            x_BCHW = stage(x_BCHW)
            skips.append(x_BCHW)
        x_BCHW = self.bottom(_steered(skips.pop(), self.steer[-1], sound_BD))
        for index in range(len(self.up) - 1, -1, -1):
            x_BCHW = self.up[index](x_BCHW, skips.pop(), self.steer[index], sound_BD)
        flow_B2HW = MAX_FLOW * torch.tanh(self.flow_head(x_BCHW).float())
        flow_B2HW = functional.interpolate(flow_B2HW, scale_factor=2.0, mode="bilinear", align_corners=False)
        patch_B4HW = functional.pixel_shuffle(self.patch_head(self.patch_block(x_BCHW)), 2)
        return flow_B2HW.permute(0, 2, 3, 1), torch.sigmoid(patch_B4HW.float())


class _Up(nn.Module):
    """Twice as fine, beside the features of that size, steered by the sound."""

    def __init__(self, num_below: int, num_out: int) -> None:
        super().__init__()
        self.join = ConvBlock(Conv(num_below + num_out, num_out))
        self.refine = ConvBlock(Conv(num_out, num_out, residual=True))

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor, steer: nn.Module, sound_BD: Tensor) -> Tensor:
        fine_BCHW = functional.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)
        joined_BCHW = self.join(torch.cat((fine_BCHW, skip_BCHW), dim=1))
        refined_BCHW: Tensor = self.refine(_steered(joined_BCHW, steer, sound_BD))
        return refined_BCHW


def _steered(x_BCHW: Tensor, steer: nn.Module, sound_BD: Tensor) -> Tensor:
    scale_BC, shift_BC = steer(sound_BD).chunk(2, dim=1)
    steered_BCHW: Tensor = x_BCHW * (1 + scale_BC[..., None, None]) + shift_BC[..., None, None]
    return steered_BCHW


def bend(faces_BCHW: Tensor, flow_BHW2: Tensor) -> Tensor:
    """Faces (B, C, H, W) bent by a flow (B, H, W, 2), differentiable; the edge's colour goes on beyond it."""
    height, width = faces_BCHW.shape[2:]
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) * (2 / height) - 1, (torch.arange(width) + 0.5) * (2 / width) - 1, indexing="ij"
    )
    grid_HW2 = torch.stack((x, y), dim=-1).to(flow_BHW2)
    return functional.grid_sample(faces_BCHW, grid_HW2 + 2 * flow_BHW2, padding_mode="border", align_corners=False)


def compose(faces_B3HW: Tensor, flow_BHW2: Tensor, patch_B4HW: Tensor) -> Tensor:
    """Bent faces with the patch over them, at 96x96, differentiable: what training sees."""
    cover_B1HW = patch_B4HW[:, 3:]
    return bend(faces_B3HW, flow_BHW2) * (1 - cover_B1HW) + patch_B4HW[:, :3] * cover_B1HW
