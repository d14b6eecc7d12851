"""Training the warper's ear: from 0.6 s of sound to the mouth that makes it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.warper import Ear
from tasks.training.batches import EarBatch, ear_batch
from tasks.training.command import begin, read_trained, training_parser
from tasks.training.dataset import ExampleSet
from tasks.training.loop import LoopSettings, TrainingState, train

SIZES = {"num_sounds": 64, "num_windows": 4}
_WEIGHTS = (2.0, 1.0, 1.0, 1.0, 0.7, 0.7, 0.4, 0.5)
"""Of the columns of a mouth: the opening is what everybody sees."""
_SHUT = 0.06
_SHUT_WEIGHT = 2.0
"""Lips that should be shut and are not are what everybody notices."""


class EarTrainer(nn.Module):
    """The ear and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.ear = Ear()

    def loss(self, batch: EarBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and figures for the log."""
        mel_B1MS = torch.from_numpy(batch.mels).contiguous(memory_format=torch.channels_last)
        truth_BK = torch.from_numpy(batch.mouths)
        with torch.autocast("cpu", torch.bfloat16):
            heard_BK = self.ear(mel_B1MS)
        heard_BK = heard_BK.float()
        weight_B1 = 1 + (_SHUT_WEIGHT - 1) * (truth_BK[:, :1] < _SHUT)
        miss_BK = (heard_BK - truth_BK).square() * torch.tensor(_WEIGHTS) * weight_B1
        with torch.no_grad():
            pair = torch.stack((heard_BK[:, 0], truth_BK[:, 0]))
            figures = {"opening": float(torch.corrcoef(pair)[0, 1]), "rms": float((pair[0] - pair[1]).square().mean())}
        return miss_BK.mean(), figures


def train_ear(data: Path, run: Path, *, settings: LoopSettings, seed: int, num_shards: int | None = None) -> None:
    """Train or resume; the result is `run`/checkpoint.pt."""
    torch.manual_seed(seed)
    sounds = ExampleSet(data, num_shards=num_shards)
    trainer = EarTrainer().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        loss: tuple[Tensor, dict[str, float]] = trainer.loss(ear_batch(sounds, seed, step, **SIZES))
        return loss

    train(TrainingState.new(trainer, settings), loss_of_step, settings, run)


def load_ear(run: Path) -> Ear:
    """The ear of a run's last checkpoint, in eval mode."""
    trainer = EarTrainer()
    read_trained(trainer, run)
    return trainer.ear.eval().requires_grad_(False)


def main() -> None:
    """Train the ear on sounds (see tasks.training.dataset)."""
    args, settings = begin(training_parser(main.__doc__, num_steps=4000, learning_rate=2e-3, seed=4))
    train_ear(args.data, args.run, settings=settings, seed=args.seed, num_shards=args.num_shards)


if __name__ == "__main__":
    main()
