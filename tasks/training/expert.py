"""Training the small sync expert: pictures and sounds of mouths into one space.

The network is the paper's (`models.sync_expert`) at a quarter of its width. Heads that are thrown away afterwards read
the mouth's true movement from both embeddings, and from the face's encoder where it still has places: without them the
contrastive loss needs long to get off chance.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.sync_expert import SyncExpert
from tasks.training.batches import ExpertBatch, expert_batch
from tasks.training.dataset import ClipSet
from tasks.training.loop import LoopSettings, TrainingState, train
from tasks.training.losses import balanced_bce, confusable, contrastive

WIDTH = 0.25
EARLY_SIZES = {"num_clips": 48, "num_windows": 1, "num_sounds": 2}
"""Of the first batches: as many people as possible, as what they look like is what has to be seen through first."""
SIZES = {"num_clips": 24, "num_windows": 2, "num_sounds": 5}
"""Of the others: some sounds of the same clip, as being a little early or late is what has to be heard."""
_BCE_WEIGHT = 0.5
_MOUTH_WEIGHT = 20.0
_SCALE = 20.0
_HEAD_RATE = 0.1
"""Learning rate of the heads relative to the rest: their 128 inputs of unit variance add up."""
_RAMP_STEPS = 300
"""Steps over which the contrastive losses come in: at chance they only disturb the heads' lessons."""
_NEAR_FRAMES = 2
_NUM_MOUTH_VALUES = 45
_MAP_LAYERS = 14
"""Layers of the face's encoder up to its last 6x6 map."""
_MAP_VALUES = 128 * 36


class ExpertTrainer(nn.Module):
    """The expert with what only its training needs: heads for the mouth's movement."""

    def __init__(self, width: float = WIDTH) -> None:
        super().__init__()
        self.expert = SyncExpert(width)
        self.from_audio = nn.Linear(self.expert.num_embedding, _NUM_MOUTH_VALUES)
        self.from_face = nn.Linear(self.expert.num_embedding, _NUM_MOUTH_VALUES)
        self.from_map = nn.Linear(_MAP_VALUES, _NUM_MOUTH_VALUES)
        for head in (self.from_audio, self.from_face):
            nn.init.zeros_(head.bias)
            nn.init.normal_(head.weight, std=0.02)

    def loss(self, batch: ExpertBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and figures for the log."""
        audio_AD, face_PD, map_PD = self._embed(batch)
        pictures = _picture_rows(batch)
        mouths_A5K = torch.from_numpy(batch.mouths)
        match_PA, excluded_PA = pair_masks(batch, mouths_A5K)
        cosine_PA = face_PD @ audio_AD.T
        nce = contrastive(cosine_PA, match_PA, excluded_PA, _SCALE)
        bce = balanced_bce(cosine_PA, match_PA, excluded_PA)
        truth_AK = mouths_A5K.flatten(1)
        # Components of unit vectors are small; at unit variance the heads, and what they teach, learn ten times faster.
        gain = self.expert.num_embedding**0.5
        by_ear, _ = mouth_loss(self.from_audio(gain * audio_AD), truth_AK, batch.num_sounds)
        by_eye, moves = mouth_loss(self.from_face(gain * face_PD), truth_AK[pictures], batch.num_windows)
        by_map, map_moves = mouth_loss(self.from_map(map_PD * (self.expert.num_embedding / _MAP_VALUES) ** 0.5), truth_AK[pictures], batch.num_windows)
        ramp = min(1.0, step / _RAMP_STEPS)
        loss = ramp * (nce + _BCE_WEIGHT * bce) + _MOUTH_WEIGHT * (by_ear + by_eye + moves + by_map + map_moves)
        with torch.no_grad():
            right = match_PA.gather(1, cosine_PA.masked_fill(excluded_PA & ~match_PA, -1).argmax(1, keepdim=True))
        return loss, {
            "nce": float(nce.detach()),
            "bce": float(bce.detach()),
            "ear": float(by_ear.detach()),
            "eye": float(by_eye.detach()),
            "moves": float(moves.detach()),
            "map": float(by_map.detach()),
            "top1": float(right.float().mean()),
        }

    def _embed(self, batch: ExpertBatch) -> tuple[Tensor, Tensor, Tensor]:
        mel_A1MS = torch.from_numpy(batch.mels).contiguous(memory_format=torch.channels_last)
        windows_P5HWC = torch.from_numpy(batch.faces)
        num = len(windows_P5HWC)
        faces_PCHW = windows_P5HWC.permute(0, 1, 4, 2, 3).reshape(num, 15, *windows_P5HWC.shape[2:4])
        faces_PCHW = (faces_PCHW.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            audio = self.expert.audio_encoder(mel_A1MS)
            face_map = self.expert.face_encoder[:_MAP_LAYERS](faces_PCHW)
            face = self.expert.face_encoder[_MAP_LAYERS:](face_map)
        audio_AD, face_PD = (functional.normalize(x.float().flatten(1), dim=1, eps=1e-12) for x in (audio, face))
        return audio_AD, face_PD, face_map.float().flatten(1)


def mouth_loss(read_BK: Tensor, truth_BK: Tensor, num_windows: int) -> tuple[Tensor, Tensor]:
    """Mean squared errors of read mouths: as they are, and relative to the mean of each clip's windows.

    What a person looks like cancels in the second, so it teaches what moves, long before the first does.
    """
    read_CWK, truth_CWK = (x.unflatten(0, (-1, num_windows)) for x in (read_BK, truth_BK))
    moves = functional.mse_loss(read_CWK - read_CWK.mean(1, keepdim=True), truth_CWK - truth_CWK.mean(1, keepdim=True))
    return functional.mse_loss(read_BK, truth_BK), moves


def _picture_rows(batch: ExpertBatch) -> Tensor:
    """Index of each picture's own sound, (P,)."""
    num_clips = len(batch.starts) // batch.num_sounds
    rows = np.arange(num_clips)[:, None] * batch.num_sounds + np.arange(batch.num_windows)
    return torch.from_numpy(rows.ravel())


def pair_masks(batch: ExpertBatch, mouths_A5K: Tensor) -> tuple[Tensor, Tensor]:
    """Which sound belongs to which picture, and which pairs are too alike to be called wrong; bool (P, A)."""
    pictures = _picture_rows(batch)
    match_PA = torch.zeros(len(pictures), len(batch.starts), dtype=torch.bool)
    match_PA[torch.arange(len(pictures)), pictures] = True
    starts, clips = torch.from_numpy(batch.starts), torch.from_numpy(batch.clips)
    near_PA = (starts[pictures][:, None] - starts).abs() < _NEAR_FRAMES
    near_PA &= clips[pictures][:, None] == clips
    excluded_PA = (near_PA | confusable(mouths_A5K[pictures], mouths_A5K)) & ~match_PA
    return match_PA, excluded_PA


def train_expert(
    data: Path,
    run: Path,
    *,
    settings: LoopSettings,
    seed: int,
    num_shards: int | None = None,
    stop_at: int | None = None,
) -> None:
    """Train or resume; the result is `run`/checkpoint.pt."""
    torch.manual_seed(seed)
    clips = ClipSet(data, num_shards=num_shards)
    trainer = ExpertTrainer().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        sizes = EARLY_SIZES if step < _RAMP_STEPS else SIZES
        batch = expert_batch(clips, seed, step, **sizes)
        return trainer.loss(batch, step)

    train(TrainingState.new(trainer, settings, {"from_": _HEAD_RATE}), loss_of_step, settings, run, stop_at=stop_at)


def load_expert(run: Path) -> SyncExpert:
    """The expert of a run's last checkpoint, in eval mode."""
    trainer = ExpertTrainer()
    trainer.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["network"])
    return trainer.expert.eval().requires_grad_(False)


def main() -> None:
    """Train the sync expert on rendered clips (see tasks.training.dataset)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--num-steps", type=int, default=4000)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-shards", type=int, default=None, help="clips to use, in shards; all by default")
    parser.add_argument("--stop-at", type=int, default=None, help="stop early, to go on with more clips")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    settings = LoopSettings(num_steps=args.num_steps, learning_rate=args.learning_rate)
    train_expert(
        args.data,
        args.run,
        settings=settings,
        seed=args.seed,
        num_shards=args.num_shards,
        stop_at=args.stop_at,
    )


if __name__ == "__main__":
    main()
