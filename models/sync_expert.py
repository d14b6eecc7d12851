"""The paper's expert lip-sync discriminator (SyncNet_color): do five frames and a sound belong together?

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM
MM), section 3. Reference implementation: github.com/Rudrabha/Wav2Lip, `models/syncnet.py`; same state-dict
keys.

Shape suffixes: B batch, C channels, H height, W width, M 80 mel bands, S 16 mel steps, D embedding size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, ConvBlock, audio_encoder_specs, scale_specs

NUM_WINDOW_FRAMES = 5
NUM_EMBEDDING = 512

_FACE_ENCODER = (
    Conv(3 * NUM_WINDOW_FRAMES, 32, kernel=7, padding=3),
    Conv(32, 64, kernel=5, stride=(1, 2), padding=1),
    *[Conv(64, 64, residual=True)] * 2,
    Conv(64, 128, stride=2),
    *[Conv(128, 128, residual=True)] * 3,
    Conv(128, 256, stride=2),
    *[Conv(256, 256, residual=True)] * 2,
    Conv(256, 512, stride=2),
    *[Conv(512, 512, residual=True)] * 2,
    Conv(512, 512, stride=2),
    Conv(512, 512, padding=0),
    Conv(512, 512, kernel=1, padding=0),
)


class SyncExpert(nn.Module):
    """Embeds a window of sound and one of mouths so that their cosine is the probability of being in sync.

    Both encoders end in a ReLU, so embeddings are never negative and cosines lie in [0, 1]. `width`
    multiplies the inner channel counts and the embedding size (1.0 is the paper's, D = 512).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.face_encoder = nn.Sequential(*[ConvBlock(row) for row in scale_specs(_FACE_ENCODER, width)])
        audio_rows = scale_specs(audio_encoder_specs(extra_block=True), width)
        self.audio_encoder = nn.Sequential(*[ConvBlock(row) for row in audio_rows])
        self.num_embedding = audio_rows[-1].num_out

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (audio (B, D), face (B, D)) of length 1.

        mel (B, 1, 80, 16) in [-4, 4]; faces (B, 15, 48, 96) in [0, 1]: rows 48..95 of five consecutive 96x96
        faces, stacked as channel = 3 * frame + (B, G, R).
        """
        return self.embed_audio(mel), self.embed_face(faces)

    def embed_audio(self, mel_B1MS: Tensor) -> Tensor:
        """Audio embeddings (B, D) of mel windows (B, 1, 80, 16)."""
        return _unit_length(self.audio_encoder(mel_B1MS))

    def embed_face(self, faces_BCHW: Tensor) -> Tensor:
        """Face embeddings (B, D) of stacked lower halves (B, 15, 48, 96)."""
        return _unit_length(self.face_encoder(faces_BCHW))


def _unit_length(x_BD11: Tensor) -> Tensor:
    return functional.normalize(x_BD11.flatten(1), p=2.0, dim=1, eps=1e-12)
