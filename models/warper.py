"""The small generator: it hears what a mouth does, then bends the face and paints what the bend cannot show.

Not the paper's painting network. Two halves, trained apart. The ear turns 0.6 s of sound into a mouth: opening, width,
rounding and so on, numbers with a meaning. The brush makes a face show that mouth: skin, beard and lips are bent (a
dense flow), teeth and the mouth's inside are painted (a patch with coverage). Both are smooth fields that scale to the
face's native size, so skin keeps its sharpness. The mouth steers the face's features by FiLM (Perez et al., "FiLM:
Visual Reasoning with a General Conditioning Layer", AAAI 2018).

Shape suffixes: B batch, C channels, H and W 96 pixels, M 80 mel bands, S mel steps, K values of a mouth, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, ConvBlock

MAX_FLOW = 0.25
"""The longest bend along one axis, as a share of the crop."""

NUM_MOUTH_VALUES = 8
"""Opening, width, rounding, jaw, press, bite, tongue, teeth: `singalong.synthetic.phonemes.MOUTH_NAMES` but for the
smile, which is the person's own and no sound tells."""

EAR_STEPS = 48
"""Mel steps the ear hears at once, 0.6 s: lips get ready for a sound before it is heard, and leave it slowly."""
EAR_LEAD_STEPS = 20
"""How many of them lie before the frame."""

_EAR_CHANNELS = (24, 32, 48, 64)
_EAR_FEATURES = 160
_MOUTH_FEATURES = 64
# Channels at 48, 24, 12 and 6 pixels.
_CHANNELS = (24, 48, 96, 128)
# Coverage of the patch before training: little.
_COVER_BIAS = -2.0


class Ear(nn.Module):
    """What a mouth does that makes this sound."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = _EAR_CHANNELS
        rows = (
            Conv(1, first, kernel=5, stride=(2, 1), padding=2),
            Conv(first, second, stride=(2, 1)),
            Conv(second, second, residual=True),
            Conv(second, third, stride=(2, 2)),
            Conv(third, third, residual=True),
            Conv(third, fourth, stride=(2, 2)),
            Conv(fourth, fourth, residual=True),
            # All that is left of the pitch axis at once: it is not one along which sounds look alike.
            Conv(fourth, _EAR_FEATURES, kernel=(5, 3), padding=(0, 1)),
        )
        self.features = nn.Sequential(*[ConvBlock(row) for row in rows])
        num_steps = EAR_STEPS // 4
        self.last = nn.Sequential(
            nn.Linear(_EAR_FEATURES * num_steps, 128), nn.ReLU(), nn.Linear(128, NUM_MOUTH_VALUES)
        )

    def forward(self, mel_B1MS: Tensor) -> Tensor:
        """Mouths (B, 8) for mel (B, 1, 80, 48) in [-4, 4], whose step EAR_LEAD_STEPS is the frame's."""
        mouth_BK: Tensor = self.last(self.features(mel_B1MS).flatten(1))
        return mouth_BK


class Brush(nn.Module):
    """How to change a face so that it shows a mouth."""

    def __init__(self) -> None:
        super().__init__()
        channels = _CHANNELS
        num_in = 3
        self.down = nn.ModuleList()
        for index, num in enumerate(channels):
            first = Conv(num_in, num, kernel=5 if index == 0 else 3, stride=2, padding=2 if index == 0 else 1)
            residual = [Conv(num, num, residual=True)] * (2 if index == len(channels) - 1 else 1)
            self.down.append(nn.Sequential(*[ConvBlock(row) for row in (first, *residual)]))
            num_in = num
        self.wish = nn.Sequential(nn.Linear(NUM_MOUTH_VALUES, _MOUTH_FEATURES), nn.ReLU())
        self.steer = nn.ModuleList([nn.Linear(_MOUTH_FEATURES, 2 * num) for num in channels])
        self.up = nn.ModuleList(
            [_Up(below, num) for below, num in zip(channels[1:], channels[:-1], strict=True)],
        )
        self.bottom = ConvBlock(Conv(channels[-1], channels[-1], residual=True))
        # Sub-pixel convolutions (Shi et al., CVPR 2016): four values of each channel a cell, at a quarter of the cost.
        self.flow_head = nn.Conv2d(channels[0], 4 * 2, 3, padding=1)
        self.patch_block = ConvBlock(Conv(channels[0], channels[0]))
        self.patch_head = nn.Conv2d(channels[0], 4 * 4, 3, padding=1)
        self._start_plain()

    def _start_plain(self) -> None:
        """Start as the identity: no bend, little patch, and a mouth without influence."""
        if self.flow_head.weight.is_meta:  # `normal_` there brings in torch's compiler: 73 MB and a second, for nothing
            return
        for layer in (*self.steer, self.flow_head):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        bias = self.patch_head.bias
        assert bias is not None
        nn.init.zeros_(bias)
        nn.init.constant_(bias[12:], _COVER_BIAS)

    def forward(self, mouth_BK: Tensor, faces_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (B, 96, 96, 2) and patch (B, 4, 96, 96), as of `Warper`, for mouths (B, 8)."""
        wish_BD = self.wish(mouth_BK)
        x_BCHW, skips = faces_B3HW - 0.5, []
        for stage in self.down:
            x_BCHW = stage(x_BCHW)
            skips.append(x_BCHW)
        x_BCHW = self.bottom(_steered(skips.pop(), self.steer[-1], wish_BD))
        for index in range(len(self.up) - 1, -1, -1):
            x_BCHW = self.up[index](x_BCHW, skips.pop(), self.steer[index], wish_BD)
        flow_B2HW = MAX_FLOW * torch.tanh(functional.pixel_shuffle(self.flow_head(x_BCHW), 2).float())
        patch_B4HW = functional.pixel_shuffle(self.patch_head(self.patch_block(x_BCHW)), 2)
        return flow_B2HW.permute(0, 2, 3, 1), torch.sigmoid(patch_B4HW.float())


class Warper(nn.Module):
    """Ear and brush."""

    def __init__(self) -> None:
        super().__init__()
        self.ear = Ear()
        self.brush = Brush()

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """How to change faces so that they say what the mel spectrogram says.

        mel (B, 1, 80, 48) in [-4, 4], whose step EAR_LEAD_STEPS is the frame's; faces (B, 3, 96, 96) BGR in [0, 1],
        unmasked. Returns flow (B, 96, 96, 2): where each pixel comes from, (x, y), relative to itself, as shares of the
        crop's sides; patch (B, 4, 96, 96): BGR and coverage in [0, 1], laid over the bent face. See
        `singalong.media.warp.apply_warp`.
        """
        fields: tuple[Tensor, Tensor] = self.brush(self.ear(mel), faces)
        return fields


class _Up(nn.Module):
    """Twice as fine, beside the features of that size, steered by the mouth."""

    def __init__(self, num_below: int, num_out: int) -> None:
        super().__init__()
        self.join = ConvBlock(Conv(num_below + num_out, num_out))
        self.refine = ConvBlock(Conv(num_out, num_out, residual=True))

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor, steer: nn.Module, wish_BD: Tensor) -> Tensor:
        fine_BCHW = functional.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)
        joined_BCHW = self.join(torch.cat((fine_BCHW, skip_BCHW), dim=1))
        refined_BCHW: Tensor = self.refine(_steered(joined_BCHW, steer, wish_BD))
        return refined_BCHW


def _steered(x_BCHW: Tensor, steer: nn.Module, wish_BD: Tensor) -> Tensor:
    scale_BC, shift_BC = steer(wish_BD).chunk(2, dim=1)
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
