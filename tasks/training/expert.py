"""Training the small sync expert: pictures and sounds of mouths into one space.

Heads that are thrown away afterwards read the mouth's true shape from each frame's features and from both embeddings:
without them the contrastive loss needs long to get off chance.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.small_expert import NUM_EMBEDDING, NUM_FRAME_FEATURES, SmallExpert, unit_length
from tasks.training.batches import ExpertBatch, expert_batch
from tasks.training.command import begin, read_trained, training_parser
from tasks.training.dataset import ExampleSet
from tasks.training.loop import LoopSettings, TrainingState, train
from tasks.training.losses import balanced_bce, confusable, contrastive

EARLY_SIZES = {"num_clips": 48, "num_windows": 1, "num_sounds": 2}
"""Of the first batches: as many people as possible, as what they look like is what has to be seen through first."""
SIZES = {"num_clips": 24, "num_windows": 2, "num_sounds": 5}
"""Of the others: some sounds of the same clip, as being a little early or late is what has to be heard."""
_BCE_WEIGHT = 0.5
_MOUTH_WEIGHT = 20.0
_SCALE = 20.0
_HEAD_RATE = 0.1
"""Learning rate of the heads relative to the rest: their 128 inputs of unit variance add up."""
_RAMP_STEPS = 200
"""Steps over which the contrastive losses come in: at chance they only disturb the heads' lessons."""
_NEAR_FRAMES = 2
_NUM_MOUTH_VALUES = 45


class ExpertTrainer(nn.Module):
    """The expert with what only its training needs: heads for the mouth's movement."""

    def __init__(self) -> None:
        super().__init__()
        self.expert = SmallExpert()
        self.from_audio = nn.Linear(NUM_EMBEDDING, _NUM_MOUTH_VALUES)
        self.from_face = nn.Linear(NUM_EMBEDDING, _NUM_MOUTH_VALUES)
        self.of_frame = nn.Linear(NUM_FRAME_FEATURES, _NUM_MOUTH_VALUES // 5)
        for head in (self.from_audio, self.from_face, self.of_frame):
            nn.init.zeros_(head.bias)
            nn.init.normal_(head.weight, std=0.02)

    def loss(self, batch: ExpertBatch, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and figures for the log."""
        audio_AD, face_PD, frames_PFC = self._embed(batch)
        pictures = _picture_rows(batch)
        mouths_A5K = torch.from_numpy(batch.mouths)
        match_PA, excluded_PA = pair_masks(batch, mouths_A5K)
        cosine_PA = face_PD @ audio_AD.T
        # Components of unit vectors are small; at unit variance the heads, and what they teach, learn ten times faster.
        gain = NUM_EMBEDDING**0.5
        truth_AK = mouths_A5K.flatten(1)
        parts = {
            "nce": contrastive(cosine_PA, match_PA, excluded_PA, _SCALE),
            "bce": balanced_bce(cosine_PA, match_PA, excluded_PA),
            "ear": functional.mse_loss(self.from_audio(gain * audio_AD), truth_AK),
            "eye": functional.mse_loss(self.from_face(gain * face_PD), truth_AK[pictures]),
            "frame": functional.mse_loss(self.of_frame(frames_PFC), mouths_A5K[pictures]),
        }
        ramp = min(1.0, step / _RAMP_STEPS)
        loss = ramp * (parts["nce"] + _BCE_WEIGHT * parts["bce"])
        loss = loss + _MOUTH_WEIGHT * (parts["ear"] + parts["eye"] + parts["frame"])
        with torch.no_grad():
            right = match_PA.gather(1, cosine_PA.masked_fill(excluded_PA & ~match_PA, -1).argmax(1, keepdim=True))
        return loss, {name: float(part.detach()) for name, part in parts.items()} | {
            "top1": float(right.float().mean())
        }

    def _embed(self, batch: ExpertBatch) -> tuple[Tensor, Tensor, Tensor]:
        mel_A1MS = torch.from_numpy(batch.mels).contiguous(memory_format=torch.channels_last)
        windows_PFHWC = torch.from_numpy(batch.faces)
        faces_PCHW = windows_PFHWC.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            audio_AD = self.expert.embed_audio(mel_A1MS)
            frames_PFC = self.expert.read_frames(faces_PCHW)
            face_PD = unit_length(self.expert.join_frames(frames_PFC))
        return audio_AD, face_PD, frames_PFC.float()


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
    clips = ExampleSet(data, num_shards=num_shards)
    trainer = ExpertTrainer().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of_step(step: int) -> tuple[Tensor, dict[str, float]]:
        sizes = EARLY_SIZES if step < _RAMP_STEPS else SIZES
        batch = expert_batch(clips, seed, step, **sizes)
        loss: tuple[Tensor, dict[str, float]] = trainer.loss(batch, step)
        return loss

    train(TrainingState.new(trainer, settings, {"from_": _HEAD_RATE}), loss_of_step, settings, run, stop_at=stop_at)


def load_expert(run: Path) -> SmallExpert:
    """The expert of a run's last checkpoint, in eval mode."""
    trainer = ExpertTrainer()
    read_trained(trainer, run)
    return trainer.expert.eval().requires_grad_(False)


def main() -> None:
    """Train the sync expert on rendered clips (see tasks.training.dataset)."""
    parser = training_parser(main.__doc__, num_steps=4000, learning_rate=2e-3, seed=1)
    parser.add_argument("--stop-at", type=int, default=None, help="stop early, to go on with more clips")
    args, settings = begin(parser)
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
