"""singalong's own sync expert: small, and with one encoder for every frame.

Asked and answered as the paper's expert is (`models.sync_expert`: same inputs, embeddings of length 1 that are never
negative), but built otherwise: the paper's network takes five frames as one picture of 15 channels, which at a quarter
of its width must pass through 8; here each frame is read by itself and time is put together afterwards. It learns what
a mouth looks like from each frame, in a tenth of the steps, and costs a third. The sound's encoder is the paper's at a
quarter of its width.

Shape suffixes: B batch, F 5 frames of a window, C channels, H height, W width, M 80 mel bands, S 16 mel steps, D
embedding size.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, ConvBlock, audio_encoder_specs, scale_specs
from models.sync_expert import NUM_WINDOW_FRAMES

NUM_EMBEDDING = 128
NUM_FRAME_FEATURES = 96

_AUDIO_WIDTH = NUM_EMBEDDING / 512
# From 48 x 96 pixels down to 3 x 6, then one vector.
_FRAME_ENCODER = (
    Conv(3, 24, kernel=5, stride=2, padding=2),
    Conv(24, 32, stride=2),
    Conv(32, 32, residual=True),
    Conv(32, 64, stride=2),
    Conv(64, 64, residual=True),
    Conv(64, 96, stride=2),
    Conv(96, NUM_FRAME_FEATURES, kernel=(3, 6), padding=0),
)
_WINDOW_ENCODER = (
    Conv(NUM_WINDOW_FRAMES * NUM_FRAME_FEATURES, 256, kernel=1, padding=0),
    Conv(256, NUM_EMBEDDING, kernel=1, padding=0),
)


class SmallExpert(nn.Module):
    """Embeds a window of sound and one of mouths so that their cosine says how well they fit; 0.7 million weights."""

    num_embedding = NUM_EMBEDDING

    def __init__(self) -> None:
        super().__init__()
        self.frame_encoder = nn.Sequential(*[ConvBlock(row) for row in _FRAME_ENCODER])
        self.window_encoder = nn.Sequential(*[ConvBlock(row) for row in _WINDOW_ENCODER])
        audio_rows = scale_specs(audio_encoder_specs(extra_block=True), _AUDIO_WIDTH)
        self.audio_encoder = nn.Sequential(*[ConvBlock(row) for row in audio_rows])

    def forward(self, mel: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (audio (B, 128), face (B, 128)) of length 1.

        mel (B, 1, 80, 16) in [-4, 4]; faces (B, 15, 48, 96) in [0, 1]: rows 48..95 of five consecutive 96x96
        faces, stacked as channel = 3 * frame + (B, G, R).
        """
        return self.embed_audio(mel), self.embed_face(faces)

    def embed_audio(self, mel_B1MS: Tensor) -> Tensor:
        """Audio embeddings (B, 128) of mel windows (B, 1, 80, 16)."""
        return unit_length(self.audio_encoder(mel_B1MS))

    def embed_face(self, faces_BCHW: Tensor) -> Tensor:
        """Face embeddings (B, 128) of stacked lower halves (B, 15, 48, 96)."""
        return self.embed_features(self.read_frames(faces_BCHW))

    def embed_features(self, features_BFC: Tensor) -> Tensor:
        """Face embeddings (B, 128) of windows of five frames' features (B, 5, 96)."""
        return unit_length(self.join_frames(features_BFC))

    def read_frames(self, faces_BCHW: Tensor) -> Tensor:
        """Features (B, 5, 96) of every frame by itself."""
        features_NC = self.read_each(faces_BCHW.reshape(-1, 3, *faces_BCHW.shape[2:]))
        return features_NC.reshape(-1, NUM_WINDOW_FRAMES, NUM_FRAME_FEATURES)

    def read_each(self, frames_NCHW: Tensor) -> Tensor:
        """Features (N, 96) of lower halves (N, 3, 48, 96) of faces."""
        features_NC: Tensor = self.frame_encoder(frames_NCHW).flatten(1)
        return features_NC

    def join_frames(self, features_BFC: Tensor) -> Tensor:
        """Embeddings (B, 128, 1, 1) of windows, not yet of length 1."""
        joined: Tensor = self.window_encoder(features_BFC.flatten(1)[..., None, None])
        return joined


def unit_length(x_BD11: Tensor) -> Tensor:
    """Vectors (B, D) of length 1, in float32."""
    return functional.normalize(x_BD11.float().flatten(1), p=2.0, dim=1, eps=1e-12)
