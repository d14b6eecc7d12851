"""The lip-sync generator: a face with its lower half masked, a reference face and 0.2 s of speech to a face.

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM
MM), section 4.1. Reference implementation: github.com/Rudrabha/Wav2Lip, `models/wav2lip.py`; the state-dict
keys, their order and the shapes are the same, so its published files load as they are.

Shape suffixes: B batch, T frames of a window, C channels, H height, W width, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.blocks import Conv, ConvBlock, UpConvBlock, audio_encoder_specs, scale_specs, scaled

FACE_PX = 96
NUM_MELS = 80
MEL_STEPS = 16

# Stages of the face encoder: 96, 48, 24, 12, 6, 3, 1 pixels.
_ENCODER_STAGES: tuple[tuple[Conv, ...], ...] = (
    (Conv(6, 16, kernel=7, padding=3),),
    (Conv(16, 32, stride=2), *[Conv(32, 32, residual=True)] * 2),
    (Conv(32, 64, stride=2), *[Conv(64, 64, residual=True)] * 3),
    (Conv(64, 128, stride=2), *[Conv(128, 128, residual=True)] * 2),
    (Conv(128, 256, stride=2), *[Conv(256, 256, residual=True)] * 2),
    (Conv(256, 512, stride=2), Conv(512, 512, residual=True)),
    (Conv(512, 512, padding=0), Conv(512, 512, kernel=1, padding=0)),
)
# Decoder stages after the first: channels out, number of residual blocks.
_DECODER_STAGES = ((512, 1), (512, 2), (384, 2), (256, 2), (128, 2), (64, 2))


class Generator(nn.Module):
    """The paper's generator; `width` multiplies every inner channel count (1.0 is the paper's)."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        flat = scale_specs([spec for stage in _ENCODER_STAGES for spec in stage], width)
        skips: list[int] = []
        self.face_encoder_blocks = nn.ModuleList()
        for stage in _ENCODER_STAGES:
            rows, flat = flat[: len(stage)], flat[len(stage) :]
            skips.append(rows[-1].num_out)
            self.face_encoder_blocks.append(nn.Sequential(*[ConvBlock(row) for row in rows]))
        audio_rows = scale_specs(audio_encoder_specs(extra_block=False), width)
        self.audio_encoder = nn.Sequential(*[ConvBlock(row) for row in audio_rows])
        self.face_decoder_blocks, num_in = _decoder(audio_rows[-1].num_out, skips, width)
        num_last = scaled(32, width)
        self.output_block = nn.Sequential(
            ConvBlock(Conv(num_in, num_last)), nn.Conv2d(num_last, 3, kernel_size=1), nn.Sigmoid()
        )

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Faces that say what the mel spectrogram says.

        mel (B, 1, 80, 16) in [-4, 4]; faces (B, 6, 96, 96) in [0, 1]: BGR of the target with rows 48..
        zeroed, then BGR of the unmasked reference. Returns (B, 3, 96, 96) BGR in (0, 1). The training form
        takes mel (B, T, 1, 80, 16) and faces (B, 6, T, 96, 96) and returns (B, 3, T, 96, 96).
        """
        if faces.dim() == 4:
            return self.forward_frames(mel, faces)
        num_frames = mel.shape[1]
        # Time-major as in the reference, which also splits the result so.
        out_BCHW = self.forward_frames(mel.transpose(0, 1).flatten(0, 1), faces.permute(2, 0, 1, 3, 4).flatten(0, 1))
        return out_BCHW.view(num_frames, -1, *out_BCHW.shape[1:]).permute(1, 2, 0, 3, 4)

    def forward_frames(self, mel_B1MS: Tensor, faces_B6HW: Tensor) -> Tensor:
        """The 4-D form of `forward`: every frame by itself."""
        sigmoid: Tensor = torch.sigmoid(self.logits(mel_B1MS, faces_B6HW))
        return sigmoid

    def logits(self, mel_B1MS: Tensor, faces_B6HW: Tensor) -> Tensor:
        """The output before the sigmoid, (B, 3, 96, 96)."""
        logits_B3HW: Tensor = self.output_block[1](self.features(mel_B1MS, faces_B6HW))
        return logits_B3HW

    def features(self, mel_B1MS: Tensor, faces_B6HW: Tensor) -> Tensor:
        """The last hidden feature map, (B, 32 * width, 96, 96), before the 1x1 convolution to BGR."""
        x_BCHW: Tensor = self.audio_encoder(mel_B1MS)
        skips: list[Tensor] = []
        face_BCHW = faces_B6HW
        for stage in self.face_encoder_blocks:
            face_BCHW = stage(face_BCHW)
            skips.append(face_BCHW)
        for stage in self.face_decoder_blocks:
            x_BCHW = torch.cat((stage(x_BCHW), skips.pop()), dim=1)
        features_BCHW: Tensor = self.output_block[0](x_BCHW)
        return features_BCHW


def _decoder(num_audio: int, skips: list[int], width: float) -> tuple[nn.ModuleList, int]:
    """The decoder stages and the channels after the last concatenation; `skips` from fine to coarse."""
    num_first = scaled(512, width)
    stages = nn.ModuleList([nn.Sequential(ConvBlock(Conv(num_audio, num_first, kernel=1, padding=0)))])
    num_in = num_first + skips[-1]
    for index, (num_out, num_residual) in enumerate(_DECODER_STAGES):
        num_out = scaled(num_out, width)
        # The first goes from 1 to 3 pixels, each other doubles the side.
        up = (
            UpConvBlock(Conv(num_in, num_out, padding=0), output_padding=0)
            if index == 0
            else UpConvBlock(Conv(num_in, num_out, stride=2), output_padding=1)
        )
        residual = [ConvBlock(Conv(num_out, num_out, residual=True)) for _ in range(num_residual)]
        stages.append(nn.Sequential(up, *residual))
        num_in = num_out + skips[-2 - index]
    return stages, num_in
