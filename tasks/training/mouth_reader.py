"""An independent judge of mouths: a small network that reads their opening and width off a face.

It is trained on other people than the generator and never helps to train one: a generator can learn to please the
sync expert without moving the mouth rightly, so what the expert says of a generator is never enough.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import Conv, ConvBlock
from tasks.training.batches import mouth_batch
from tasks.training.command import begin, read_trained, training_parser
from tasks.training.dataset import ExampleSet
from tasks.training.loop import TrainingState, train

NUM_READ = 3
"""Columns of MOUTH_NAMES that are read: opening, width, rounding."""
BATCH_SIZE = 64


class MouthReader(nn.Module):
    """Faces (B, 3, 96, 96) in [0, 1], as the generator is given them, to opening, width and rounding (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        rows = [Conv(3, 16, stride=2), Conv(16, 32, stride=2), Conv(32, 48, stride=2), Conv(48, 64, stride=2)]
        self.features = nn.Sequential(*[ConvBlock(row) for row in rows], ConvBlock(Conv(64, 64, residual=True)))
        self.last = nn.Sequential(nn.Linear(64 * 36, 64), nn.ReLU(), nn.Linear(64, NUM_READ))

    def forward(self, faces: Tensor) -> Tensor:
        """What the mouths do, (B, 3)."""
        read_BK: Tensor = self.last(self.features(faces).flatten(1))
        return read_BK

    @torch.inference_mode()
    def read(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same for uint8 pictures (B, 96, 96, 3)."""
        faces_BCHW = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float() / 255
        return np.asarray(self(faces_BCHW).numpy(), np.float32)


def load_reader(run: Path) -> MouthReader:
    """The reader of a run's last checkpoint, in eval mode."""
    reader = MouthReader()
    read_trained(reader, run)
    return reader.eval().requires_grad_(False)


def main() -> None:
    """Train the mouth reader on rendered clips (see tasks.training.dataset)."""
    args, settings = begin(training_parser(main.__doc__, num_steps=900, learning_rate=2e-3, seed=3))
    torch.manual_seed(args.seed)
    portraits, reader = ExampleSet(args.data, num_shards=args.num_shards), MouthReader()

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        faces, mouths = mouth_batch(portraits, args.seed, step, num_faces=BATCH_SIZE)
        read_BK = reader(torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255)
        return functional.mse_loss(read_BK, torch.from_numpy(mouths[:, :NUM_READ])), {}

    train(TrainingState.new(reader, settings), loss_of_step, settings, args.run)


if __name__ == "__main__":
    main()
