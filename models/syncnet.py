"""SyncNet, the network behind the published LSE-D and LSE-C scores (file syncnet_v2.model).

Paper: "Out of time: automated lip sync in the wild", Chung and Zisserman, ACCV 2016 workshops. Reference
implementation: github.com/joonson/syncnet_python, `SyncNetModel.py`; same state-dict keys.

Shape suffixes: B batch, C channels, T frames, H height, W width, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

NUM_EMBEDDING = 1024
NUM_FEATURES = 512
LIP_FRAMES = 5
LIP_PX = 224
MFCC_COEFFICIENTS = 13
MFCC_STEPS = 20


class SyncNet(nn.Module):
    """Embeds five 224x224 frames, or 0.2 s of sound as MFCC, into one space of `num_embedding` dimensions.

    Embeddings are not normalised; distances between them are Euclidean.
    """

    def __init__(self, num_embedding: int = NUM_EMBEDDING) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64, 3, 1),
            nn.MaxPool2d(kernel_size=1, stride=1),
            *_conv2d(64, 192, 3, 1),
            nn.MaxPool2d(kernel_size=3, stride=(1, 2)),
            *_conv2d(192, 384, 3, 1),
            *_conv2d(384, 256, 3, 1),
            *_conv2d(256, 256, 3, 1),
            nn.MaxPool2d(kernel_size=3, stride=2),
            *_conv2d(256, NUM_FEATURES, (5, 4), 0),
        )
        self.netfcaud = _head(num_embedding)
        self.netfclip = _head(num_embedding)
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, (5, 7, 7), stride=2),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            *_conv3d(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(256, NUM_FEATURES, (1, 6, 6)),
        )

    def embed_face(self, frames: Tensor) -> Tensor:
        """Lip embeddings (B, D) of frames (B, 3, 5, 224, 224), BGR, float, in 0..255."""
        embedding_BD: Tensor = self.netfclip(self.lip_features(frames))
        return embedding_BD

    def lip_features(self, frames: Tensor) -> Tensor:
        """The 512 features before the last layers, (B, 512); the "lip feature" variant of the reference."""
        features_BC: Tensor = self.netcnnlip(frames).flatten(1)
        return features_BC

    def embed_audio(self, mfcc: Tensor) -> Tensor:
        """Audio embeddings (B, D) of MFCC windows (B, 1, 13, 20); window v covers columns 4 v .. 4 v + 19."""
        embedding_BD: Tensor = self.netfcaud(self.netcnnaud(mfcc).flatten(1))
        return embedding_BD

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As usual, but batch-norm counters may be missing: the published file is older than they are."""
        counters = {key for key in self.state_dict() if key.endswith("num_batches_tracked")}
        missing = {key: torch.tensor(0, dtype=torch.long) for key in counters - set(state_dict)}
        return super().load_state_dict({**state_dict, **missing}, strict=strict, assign=assign)


def _conv2d(num_in: int, num_out: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
    conv = nn.Conv2d(num_in, num_out, kernel, padding=padding)
    return [conv, nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]


def _conv3d(
    num_in: int, num_out: int, kernel: tuple[int, int, int], stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Strides and paddings act on height and width only."""
    conv = nn.Conv3d(num_in, num_out, kernel, stride=(1, stride, stride), padding=(0, padding, padding))
    return [conv, nn.BatchNorm3d(num_out), nn.ReLU(inplace=True)]


def _head(num_embedding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(NUM_FEATURES, NUM_FEATURES),
        nn.BatchNorm1d(NUM_FEATURES),
        nn.ReLU(),
        nn.Linear(NUM_FEATURES, num_embedding),
    )
