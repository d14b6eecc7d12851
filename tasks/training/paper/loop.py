"""The loop of both trainings, run by every worker: a training killed anywhere goes on as if it had not been.

Batches follow from seed and step, and a checkpoint holds all else, so between two steps there is nothing to lose.
A step's row, its evaluation and its checkpoint come in this order.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from models.checkpoints import load_network
from models.sync_expert import SyncExpert
from singalong.durable import write_atomic
from singalong.errors import InputError
from tasks.training.paper.checkpoint import restore, save, sweep
from tasks.training.paper.context import TrainContext
from tasks.training.paper.expert import ExpertTraining
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.generator import GeneratorTraining
from tasks.training.paper.precision import exact_kernels
from tasks.training.paper.prefetch import Prefetch
from tasks.training.paper.record import Record
from tasks.training.paper.settings import TrainingSettings
from tasks.training.paper.sheets import encode_png
from tasks.training.paper.training import Training
from tasks.training.sequences import SequenceSet, Split

SAVE_EVERY_S, SAVE_SHARE = 60.0, 0.01
"""However many steps apart checkpoints are, one is made after a minute, or as soon as making them takes no more than
this share of the time: little is lost when a training is stopped.
"""


def run_training(context: TrainContext, config: Mapping[str, Any]) -> dict[str, float]:
    """Train to the end, from the last checkpoint if there is one; the means of an evaluation of the result.

    config: {"run": path of a run folder with training.json}, the same for all workers.
    """
    folder = TrainingFolder(Path(config["run"]))
    settings = folder.settings()
    exact_kernels()
    with contextlib.ExitStack() as stack:
        if context.rank == 0:
            stack.enter_context(folder.writer_lock())
            sweep(folder.checkpoints)
        context.barrier()  # before it, a worker of a killed session may still be writing
        training = new_training(settings, context)
        step = restore(folder.checkpoints, training)
        training.begin()
        record = None
        if context.rank == 0:
            record = stack.enter_context(Record(folder, step, settings.num_steps, context.device))
        return _Loop(folder, training, record, step).run()


def new_training(settings: TrainingSettings, context: TrainContext) -> Training[Any]:
    """A training at step 0: its weights follow from the seed.

    Raises InputError if dataset or expert are not there any more, or not those the training was started with.
    """
    train = _open_split(settings, "train", settings.train_digest)
    val = _open_split(settings, "val", settings.val_digest)
    torch.manual_seed(settings.seed)
    if settings.kind == "expert":
        return ExpertTraining(settings, context, train=train, val=val)
    assert settings.expert is not None
    expert = cast(SyncExpert, load_network(settings.expert.path, "lipsync_expert"))
    return GeneratorTraining(settings, context, train=train, val=val, expert=expert)


def _open_split(settings: TrainingSettings, split: Split, digest: str) -> SequenceSet:
    sequences = SequenceSet(Path(settings.dataset), split=split)
    if sequences.digest != digest:
        raise InputError(
            f"the {split} sequences are not those the training was started with",
            file=settings.dataset,
            action="Train on a copy of the dataset that nobody changes.",
        )
    return sequences


class _Loop:
    """Steps of one session; `record` is the first worker's."""

    def __init__(self, folder: TrainingFolder, training: Training[Any], record: Record | None, step: int) -> None:
        self.folder, self.training, self.record, self.step = folder, training, record, step
        self.settings, self.context = training.settings, training.context
        self._saved_at, self._saving_s = time.monotonic(), 0.0

    def run(self) -> dict[str, float]:
        figures = None
        num_ahead = 8 if self.context.device.type == "cuda" else 2  # a GPU waits for decoded pictures, a CPU does not
        end = self.settings.num_steps + 1
        with Prefetch(self.training.batch, self.step + 1, end, num_ahead=num_ahead) as batches:
            for step, batch in batches:
                learned = self.training.learn(batch)
                self.step = step
                if self.record is not None:
                    self.record.add_step(step, learned)
                figures = self._evaluate(log=True) if self._evaluates() else None
                self._save()
        # The last evaluation is for the card alone: a training that is made longer must not know of it.
        return figures or self._evaluate(log=False)

    def _evaluates(self) -> bool:
        return self.step % self.settings.eval_every == 0 or (self.step == 1 and self.settings.evaluates_first)

    def _evaluate(self, *, log: bool) -> dict[str, float]:
        """Means over the evaluation's batches, which the workers share out."""
        if self.record is not None:
            self.record.flush()
            self.record.announce("evaluating")
        for network in self.training.networks.values():
            self.context.share_buffers(network)
        sums: dict[str, float] = {}
        for index in range(self.context.rank, self.settings.eval_batches, self.context.world_size):
            for name, value in self.training.measure(index).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        figures = self._means(sums)
        if log:
            self.training.evaluated(figures)
            if self.record is not None:
                self.record.add_evaluation(self.step, figures, self.training.state)
        self.context.report({"step": float(self.step), **figures})
        return figures

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        names = list(sums)
        totals = self.context.total(torch.tensor([sums[name] for name in names], dtype=torch.float64))
        return {name: float(total) / self.settings.eval_batches for name, total in zip(names, totals, strict=True)}

    def _save(self) -> None:
        """A checkpoint, where one is due; a sheet with every regular one."""
        regular = self.step == 1 or self.step % self.settings.checkpoint_every == 0
        started = time.monotonic()
        late = started - self._saved_at > max(SAVE_EVERY_S, self._saving_s / SAVE_SHARE)
        if self.record is None or not (regular or late or self.step == self.settings.num_steps):
            return
        self.record.sync()
        if regular and (sheet := self.training.sheet()) is not None:
            write_atomic(self.folder.samples / f"step-{self.step:09d}.png", encode_png(sheet))
        save(self.folder.checkpoints, self.step, self.training)
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - started
