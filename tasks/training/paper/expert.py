"""Training the expert (section 3 of the paper; `color_syncnet_train.py` of the reference)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses import cosine_bce, stack_lower_halves
from models.sync_expert import SyncExpert
from tasks.training.paper.context import TrainContext
from tasks.training.paper.settings import TrainingSettings
from tasks.training.paper.training import Training
from tasks.training.paper.windows import ExpertBatch, Sequences, Stream, expert_batch


class ExpertTraining(Training[ExpertBatch]):
    """Cross entropy of the cosine; figures are loss and accuracy, the share of pairs on the right side of 1/2."""

    def __init__(self, settings: TrainingSettings, context: TrainContext, *, train: Sequences, val: Sequences) -> None:
        super().__init__(settings, context, train=train, val=val, expert=SyncExpert(settings.width))

    def batch(self, step: int) -> ExpertBatch:
        """The part of a step's batch that is this worker's."""
        return expert_batch(self.train, self.settings.seed, Stream.TRAINING, step, self.share())

    def learn(self, batch: ExpertBatch) -> dict[str, Tensor]:
        """One step of Adam."""
        self.networks["expert"].train()
        figures = self._figures(batch, self.learner("expert"))
        self.optimizers["expert"].zero_grad(set_to_none=True)
        figures["loss"].backward()  # type: ignore[no-untyped-call]
        self.optimizers["expert"].step()
        return {name: value.detach() for name, value in figures.items()}

    @torch.no_grad()
    def measure(self, index: int) -> dict[str, Tensor]:
        """Figures of one batch of validation videos."""
        network = self.networks["expert"].eval()
        batch = expert_batch(self.val, self.settings.seed, Stream.EVALUATION, index, self.whole())
        return self._figures(batch, network)

    def _figures(self, batch: ExpertBatch, network: torch.nn.Module) -> dict[str, Tensor]:
        faces_BCTHW = self.on_device(batch.faces).permute(0, 4, 1, 2, 3).float() / 255
        in_sync_B = self.on_device(batch.in_sync)
        audio_BD, face_BD = network(self.on_device(batch.mels).unsqueeze(1), stack_lower_halves(faces_BCTHW))
        loss = cosine_bce(audio_BD, face_BD, in_sync_B)
        right_B = ((audio_BD * face_BD).sum(1) > 0.5) == (in_sync_B > 0.5)
        return {"loss": loss, "accuracy": right_B.float().mean()}
