"""Training the warper's brush: given a mouth, bend and paint a face so that it shows it.

The renderer knows where every pixel of skin and lips comes from and where the mouth's inside shows, so both are taught
directly, beside the picture itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.warper import Brush, compose
from tasks.training.batches import BrushBatch, brush_batch
from tasks.training.command import begin, read_trained, training_parser
from tasks.training.dataset import ExampleSet
from tasks.training.loop import LoopSettings, TrainingState, train
from tasks.training.losses import change_weighted_l1, edge_difference, flow_difference, total_variation

BATCH_SIZE = 28
_WEIGHTS = {
    "l1": 1.0,  # the result, most where the mouths differ
    "edge": 0.5,  # sharpness of lips and teeth
    "flow": 6.0,  # where skin and lips come from
    "cover": 0.1,  # the patch covers the mouth's inside and nothing else
    "paint": 0.5,  # and shows it
    "still": 0.5,  # eyes and nose stay
}
_STILL_ROWS = 38


class BrushTrainer(nn.Module):
    """The brush and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.brush = Brush()

    def loss(self, batch: BrushBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and figures for the log."""
        reference_BCHW, target_BCHW = _picture(batch.references), _picture(batch.targets)
        with torch.autocast("cpu", torch.bfloat16):
            flow_BHW2, patch_B4HW = self.brush(torch.from_numpy(batch.mouths), reference_BCHW)
        out_BCHW = compose(reference_BCHW, flow_BHW2, patch_B4HW)
        known_B1HW, hole_B1HW, around_B1HW = (
            torch.from_numpy(np.asarray(mask, np.float32))[:, None] for mask in (batch.known, batch.holes, batch.around)
        )
        flow_B2HW = flow_BHW2.permute(0, 3, 1, 2)
        truth_B2HW = torch.from_numpy(batch.flows).permute(0, 3, 1, 2) / batch.flows.shape[1]
        hole_size = 1 + hole_B1HW.sum()
        parts = {
            "l1": change_weighted_l1(out_BCHW, target_BCHW, reference_BCHW),
            "edge": edge_difference(out_BCHW, target_BCHW, around_B1HW) * 4,
            "flow": flow_difference(flow_B2HW, truth_B2HW, known_B1HW * (0.1 + around_B1HW)),
            "cover": _cover_loss(patch_B4HW[:, 3:], hole_B1HW, around_B1HW),
            "paint": ((patch_B4HW[:, :3] - target_BCHW).abs().mean(dim=1, keepdim=True) * hole_B1HW).sum() / hole_size,
            "still": flow_B2HW[:, :, :_STILL_ROWS].abs().mean() + 0.1 * total_variation(flow_B2HW),
        }
        loss = sum((_WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(()))
        with torch.no_grad():
            share = around_B1HW / (3 * around_B1HW.sum())
            figures = {name: float(part.detach()) for name, part in parts.items()}
            figures["mouth_l1"] = float(((out_BCHW - target_BCHW).abs() * share).sum())
            figures["copy_l1"] = float(((reference_BCHW - target_BCHW).abs() * share).sum())
        return loss, figures


def _cover_loss(cover_B1HW: Tensor, hole_B1HW: Tensor, around_B1HW: Tensor) -> Tensor:
    """Cross entropy of the patch's coverage: as much for the mouth's inside as for its surroundings."""
    # Between shut lips a line of shadow may be painted, so the surroundings count less than the hole.
    cover_B1HW = cover_B1HW.clamp(1e-4, 1 - 1e-4)
    inside = -(hole_B1HW * cover_B1HW.log()).sum() / (1 + hole_B1HW.sum())
    outside_B1HW = (1 - hole_B1HW) * (0.2 + around_B1HW)
    return inside - 0.5 * (outside_B1HW * (1 - cover_B1HW).log()).sum() / outside_B1HW.sum()


def _picture(faces: NDArray[np.uint8]) -> Tensor:
    faces_BHWC = torch.from_numpy(faces)
    return (faces_BHWC.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def train_brush(data: Path, run: Path, *, settings: LoopSettings, seed: int, num_shards: int | None = None) -> None:
    """Train or resume; the result is `run`/checkpoint.pt."""
    torch.manual_seed(seed)
    portraits = ExampleSet(data, num_shards=num_shards)
    trainer = BrushTrainer().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        loss: tuple[Tensor, dict[str, float]] = trainer.loss(brush_batch(portraits, seed, step, num_pairs=BATCH_SIZE))
        return loss

    train(TrainingState.new(trainer, settings), loss_of_step, settings, run)


def load_brush(run: Path) -> Brush:
    """The brush of a run's last checkpoint, in eval mode."""
    trainer = BrushTrainer()
    read_trained(trainer, run)
    return trainer.brush.eval().requires_grad_(False)


def main() -> None:
    """Train the brush on portraits (see tasks.training.dataset)."""
    args, settings = begin(training_parser(main.__doc__, num_steps=4000, learning_rate=1.5e-3, seed=2))
    train_brush(args.data, args.run, settings=settings, seed=args.seed, num_shards=args.num_shards)


if __name__ == "__main__":
    main()
