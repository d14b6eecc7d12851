"""Training the warper on same-pose pairs: the reference shows another mouth, the target the sound's.

As in a run, where the network sees the current frame of a clip and has to put the song's mouth on it. The renderer
knows where lips and chin lie in both pictures, so the bend is taught directly, and so is where the patch must cover.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.warper import NUM_SOUND_FEATURES, Warper, bend
from tasks.training.batches import PairBatch, pair_batch
from tasks.training.dataset import ClipSet
from tasks.training.expert import load_expert
from tasks.training.loop import LoopSettings, TrainingState, train
from tasks.training.losses import change_weighted_l1, edge_difference, flow_at_points, total_variation

BATCH_SIZE = 28
AUDIO_RATE = 0.3
"""Learning rate of the sound's encoder, which starts from the expert's, relative to the rest."""
_WEIGHTS = {
    "l1": 1.0,  # the result, most where the mouths differ
    "bent": 0.5,  # the bend alone, but for the mouth's inside
    "edge": 0.5,  # sharpness of lips and teeth
    "flow": 8.0,  # where lips and chin come from
    "cover": 0.05,  # the patch covers the mouth's inside
    "lips": 0.05,  # lips are bent, not painted, which would blur them
    "spill": 0.05,  # no patch elsewhere
    "tv": 0.1,
    "still": 0.5,
}
_MOUTH_WEIGHT = 0.3
_STILL_ROWS = 38
_NUM_MOUTH_VALUES = 9


class WarperTrainer(nn.Module):
    """The warper, with a head that keeps the sound's encoder to what mouths do."""

    def __init__(self) -> None:
        super().__init__()
        self.warper = Warper()
        self.from_audio = nn.Linear(NUM_SOUND_FEATURES, _NUM_MOUTH_VALUES)

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and figures for the log."""
        reference_BCHW, target_BCHW = _picture(batch.references), _picture(batch.targets)
        mel_B1MS = torch.from_numpy(batch.mels).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            sound_BD = self.warper.hear(mel_B1MS)
            flow_BHW2, patch_B4HW = self.warper.change(sound_BD, reference_BCHW)
            heard_BK = self.from_audio(sound_BD)
        bent_BCHW = bend(reference_BCHW, flow_BHW2)
        cover_B1HW = patch_B4HW[:, 3:]
        out_BCHW = bent_BCHW * (1 - cover_B1HW) + patch_B4HW[:, :3] * cover_B1HW
        inside_B1HW = torch.from_numpy(batch.inside).float()[:, None]
        around_B1HW = torch.from_numpy(batch.around).float()[:, None]
        flow_B2HW = flow_BHW2.permute(0, 3, 1, 2)
        points, reference_points = torch.from_numpy(batch.points), torch.from_numpy(batch.reference_points)
        parts = {
            "l1": change_weighted_l1(out_BCHW, target_BCHW, reference_BCHW),
            "bent": ((bent_BCHW - target_BCHW).abs() * (1 - inside_B1HW)).mean() * 3,
            "edge": edge_difference(out_BCHW, target_BCHW, around_B1HW) * 4,
            "flow": flow_at_points(flow_B2HW, points, reference_points, point_weights(points)),
            "cover": -(inside_B1HW * cover_B1HW.clamp(min=1e-4).log()).sum() / (1 + inside_B1HW.sum()),
            "lips": (cover_B1HW * (around_B1HW - inside_B1HW)).sum() / around_B1HW.sum(),
            "spill": (cover_B1HW * (1 - around_B1HW)).mean() * 10,
            "tv": total_variation(flow_B2HW) * 10,
            "still": flow_B2HW[:, :, :_STILL_ROWS].abs().mean(),
        }
        mouth = functional.mse_loss(heard_BK.float(), torch.from_numpy(batch.mouths))
        loss = sum((_WEIGHTS[name] * part for name, part in parts.items()), _MOUTH_WEIGHT * mouth)
        with torch.no_grad():
            share = around_B1HW / (3 * around_B1HW.sum())
            figures = {name: float(part.detach()) for name, part in parts.items()} | {"ear": float(mouth.detach())}
            figures["mouth_l1"] = float(((out_BCHW - target_BCHW).abs() * share).sum())
            figures["copy_l1"] = float(((reference_BCHW - target_BCHW).abs() * share).sum())
        return loss, figures


def point_weights(points_BN2: Tensor) -> Tensor:
    """How much each lip or chin point counts, (B, N).

    Where the target's lips are shut, the inner points of both lips are one, and come from two places: they teach
    nothing there, and count with the gap, in pixels.
    """
    upper, lower = points_BN2[:, 20:30], points_BN2[:, 30:40].flip(1)
    gap_B10 = (upper - lower).norm(dim=2).mul(0.5).clamp(max=1.0)
    ones = torch.ones(len(points_BN2), 20)
    chin = torch.full((len(points_BN2), 1), 3.0)
    return torch.cat((ones, gap_B10, gap_B10.flip(1), chin), dim=1)


def _picture(faces: NDArray[np.uint8]) -> Tensor:
    faces_BHWC = torch.from_numpy(faces)
    return (faces_BHWC.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)


def train_warper(
    data: Path, run: Path, *, expert: Path, settings: LoopSettings, seed: int, num_shards: int | None
) -> None:
    """Train or resume; the sound's encoder starts from the expert's run. The result is `run`/checkpoint.pt."""
    torch.manual_seed(seed)
    clips = ClipSet(data, num_shards=num_shards)
    trainer = WarperTrainer()
    trainer.warper.audio_encoder.load_state_dict(load_expert(expert).audio_encoder.state_dict())
    trainer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        return trainer.loss(pair_batch(clips, seed, step, num_pairs=BATCH_SIZE))

    state = TrainingState.new(trainer, settings, {"warper.audio_encoder": AUDIO_RATE})
    train(state, loss_of_step, settings, run)


def load_warper(run: Path) -> Warper:
    """The warper of a run's last checkpoint, in eval mode."""
    trainer = WarperTrainer()
    trainer.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["network"])
    return trainer.warper.eval().requires_grad_(False)


def main() -> None:
    """Train the warper on rendered clips (see tasks.training.dataset)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--expert", type=Path, required=True, help="folder of the expert's run")
    parser.add_argument("--num-steps", type=int, default=3000)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--num-shards", type=int, default=None, help="clips to use, in shards; all by default")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    settings = LoopSettings(num_steps=args.num_steps, learning_rate=args.learning_rate)
    train_warper(args.data, args.run, expert=args.expert, settings=settings, seed=args.seed, num_shards=args.num_shards)


if __name__ == "__main__":
    main()
