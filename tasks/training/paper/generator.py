"""Training the generator against a frozen expert, with or without discriminator (section 4 of the paper).

Reference: `wav2lip_train.py` and `hq_wav2lip_train.py`. Two deliberate deviations: the expert is in eval mode, where
the reference leaves it in train mode, so that what it says of a face depends on the rest of the batch and drifts; and
the weight of the sync loss is kept in checkpoints, where the reference forgets it at every restart.

Shape suffixes: B batch, T 5 frames of a window, C 3 channels BGR, H and W 96 pixels, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.discriminator import VisualQualityDiscriminator
from models.generator import FACE_PX, Generator
from models.losses import discriminator_losses, generator_loss, sync_loss
from models.sync_expert import SyncExpert
from tasks.training.paper.context import TrainContext
from tasks.training.paper.precision import set_precision
from tasks.training.paper.settings import TrainingSettings
from tasks.training.paper.sheets import NUM_WINDOWS, SHOWN_FRAMES, draw_sheet
from tasks.training.paper.training import Training
from tasks.training.paper.windows import GeneratorBatch, Sequences, Stream, generator_batch

_SYNC_WEIGHT = "sync_weight"


class GeneratorTraining(Training[GeneratorBatch]):
    """L1, and the sync loss once the generator is good enough to learn from it, and the discriminator's verdict."""

    def __init__(
        self,
        settings: TrainingSettings,
        context: TrainContext,
        *,
        train: Sequences,
        val: Sequences,
        expert: SyncExpert,
    ) -> None:
        self.generator = Generator(settings.width)
        self.discriminator = VisualQualityDiscriminator(settings.width) if settings.gan else None
        adversary = {"discriminator": self.discriminator} if self.discriminator else {}
        super().__init__(settings, context, train=train, val=val, generator=self.generator, **adversary)
        set_precision(expert, settings.precision, context.device)
        self.expert = expert.to(context.device).eval().requires_grad_(False)
        self.state[_SYNC_WEIGHT] = 0.0

    def batch(self, step: int) -> GeneratorBatch:
        """The part of a step's batch that is this worker's."""
        return generator_batch(self.train, self.settings.seed, Stream.TRAINING, step, self.share())

    def learn(self, batch: GeneratorBatch) -> dict[str, Tensor]:
        """One step of the generator, then one of the discriminator on the same faces."""
        self.generator.train()
        truth_BCTHW, faces_B6THW = self._faces(batch)
        generated_BCTHW = self.learner("generator")(self._frame_mels(batch), faces_B6THW)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        losses = generator_loss(
            generated_BCTHW,
            truth_BCTHW,
            mel_B1MS=self._mels(batch),
            expert=self.expert,
            sync_weight=self.state[_SYNC_WEIGHT],
            discriminator=self.discriminator,
            perceptual_weight=self.settings.perceptual_weight,
        )
        self._descend("generator", losses.total)
        figures = {"loss": losses.total, "l1": losses.l1, "sync": losses.sync, "perceptual": losses.perceptual}
        figures |= self._learn_to_tell(truth_BCTHW, generated_BCTHW)
        return {name: value.detach() for name, value in figures.items() if value is not None}

    @torch.no_grad()
    def measure(self, index: int) -> dict[str, Tensor]:
        """Figures of one batch of validation videos; the sync loss also while its weight is 0."""
        self.generator.eval()
        batch = generator_batch(self.val, self.settings.seed, Stream.EVALUATION, index, self.whole())
        truth_BCTHW, faces_B6THW = self._faces(batch)
        generated_BCTHW = self.generator(self._frame_mels(batch), faces_B6THW)
        figures = {
            "l1": generator_loss(generated_BCTHW, truth_BCTHW).l1,
            "sync": sync_loss(self.expert, self._mels(batch), generated_BCTHW),
        }
        if self.discriminator is not None:
            real, fake = discriminator_losses(self.discriminator, truth_BCTHW, generated_BCTHW)
            perceptual = self.discriminator.perceptual_loss(generated_BCTHW)
            figures |= {"perceptual": perceptual, "disc_real": real, "disc_fake": fake}
        return figures

    def evaluated(self, figures: Mapping[str, float]) -> None:
        """Switch the sync loss on, for good, once its mean is below the threshold."""
        if figures["sync"] < self.settings.sync_switch:
            self.state[_SYNC_WEIGHT] = self.settings.sync_weight

    @torch.no_grad()
    def sheet(self) -> NDArray[np.uint8]:
        """Faces of validation videos, the same ones every time."""
        self.generator.eval()
        whole = generator_batch(self.val, self.settings.seed, Stream.SHEET, 0, range(NUM_WINDOWS))
        batch = GeneratorBatch(
            windows=whole.windows[:, SHOWN_FRAMES],
            references=whole.references[:, SHOWN_FRAMES],
            mels=whole.mels,
            frame_mels=whole.frame_mels[:, SHOWN_FRAMES],
        )
        _, faces_B6THW = self._faces(batch)
        generated_BCTHW = self.generator(self._frame_mels(batch), faces_B6THW)
        # As in inference, values are cut off, not rounded.
        output_BTHWC = (generated_BCTHW * 255).to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()
        masked_BTHWC = batch.windows.copy()
        masked_BTHWC[:, :, FACE_PX // 2 :] = 0
        return draw_sheet(batch.references, masked_BTHWC, output_BTHWC, batch.windows)

    def _learn_to_tell(self, truth_BCTHW: Tensor, generated_BCTHW: Tensor) -> dict[str, Tensor]:
        if self.discriminator is None:
            return {}
        self.discriminator.requires_grad_(True)
        learner = self.learner("discriminator")
        real, fake = discriminator_losses(learner, truth_BCTHW, generated_BCTHW)  # type: ignore[arg-type]
        self._descend("discriminator", real + fake)
        return {"disc_real": real, "disc_fake": fake}

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[name].step()

    def _faces(self, batch: GeneratorBatch) -> tuple[Tensor, Tensor]:
        """The truth (B, 3, T, 96, 96), and the input (B, 6, T, 96, 96): the truth masked, then the reference."""
        truth_BCTHW = self.on_device(batch.windows).permute(0, 4, 1, 2, 3).float() / 255
        reference_BCTHW = self.on_device(batch.references).permute(0, 4, 1, 2, 3).float() / 255
        masked_BCTHW = truth_BCTHW.clone()
        masked_BCTHW[:, :, :, FACE_PX // 2 :] = 0
        return truth_BCTHW, torch.cat((masked_BCTHW, reference_BCTHW), dim=1)

    def _mels(self, batch: GeneratorBatch) -> Tensor:
        return self.on_device(batch.mels).unsqueeze(1)

    def _frame_mels(self, batch: GeneratorBatch) -> Tensor:
        return self.on_device(batch.frame_mels).unsqueeze(2)
