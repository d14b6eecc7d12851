"""What a training leaves to read: log.jsonl, TensorBoard curves, progress.json. One worker writes them.

Rows are written at the latest before the checkpoint that follows them, and those after a checkpoint are cut when a
training goes on from it: an interrupted training leaves the same log as an unbroken one.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import deque
from collections.abc import Mapping
from io import BufferedRandom

import torch
from torch import Tensor

from singalong.durable import write_atomic
from singalong.errors import InputError
from tasks.training.paper.folder import TrainingFolder, TrainingProgress

_MAX_WAITING = 20
"""Rows whose figures may still be on their way from the device."""
_FLUSH_EVERY_S = 0.5
_CURVE_FLUSH_S = 2
_RATE_STEPS = 50
_DENSE_CURVE_STEPS, _SPARSE_CURVE_STEPS = 1000, 10
"""Curves have a point a step at first, later every tenth; the log has all."""


class Record:
    """Writer of the three; opened at the step the training stands at, used as a context manager."""

    def __init__(self, folder: TrainingFolder, step: int, num_steps: int, device: torch.device) -> None:
        from tensorboardX import SummaryWriter

        self._folder, self._num_steps, self._step = folder, num_steps, step
        self._device = _describe(device)
        before = folder.progress()
        self._seconds_before = before.seconds if before else 0.0
        self._figures: dict[str, float] = {}
        self._evaluation: dict[str, float] = before.evaluation if before and before.step <= step else {}
        self._waiting: list[tuple[int, dict[str, Tensor]]] = []
        self._log = _open_log(folder, step)
        # Without a purge, what was drawn after the checkpoint would stay beside what is drawn now.
        purge_step = step + 1 if step else None
        self._curves = SummaryWriter(str(folder.tensorboard), purge_step=purge_step, flush_secs=_CURVE_FLUSH_S)
        self._started = self._flushed = time.monotonic()
        self._recent = deque([(self._started, step)], maxlen=_RATE_STEPS)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        try:
            if kind is None:
                self.flush()
                self._write_progress("done")
        finally:
            self._curves.close()
            self._log.close()

    def add_step(self, step: int, figures: dict[str, Tensor]) -> None:
        """A step was made; its row is written now or soon."""
        self._step = step
        self._waiting.append((step, figures))
        if len(self._waiting) >= _MAX_WAITING or time.monotonic() - self._flushed > _FLUSH_EVERY_S:
            self.flush()
            self._write_progress("training")

    def add_evaluation(self, step: int, figures: Mapping[str, float], state: Mapping[str, float]) -> None:
        """An evaluation was made; `state` is what the training concluded from it."""
        self.flush()
        row = {f"eval_{name}": value for name, value in figures.items()} | dict(state)
        self._write_row(step, row, {f"eval/{name}": value for name, value in figures.items()} | dict(state))
        self._evaluation = dict(figures)

    def announce(self, phase: str) -> None:
        """Say what goes on now, if it takes longer than a step."""
        self._write_progress(phase)

    def flush(self) -> None:
        """Write the rows that wait. Raises InputError for a figure that is not a number: the training diverged."""
        waiting, self._waiting = self._waiting, []
        for step, figures in waiting:
            row = {name: float(value) for name, value in figures.items()}
            dense = step <= _DENSE_CURVE_STEPS or step % _SPARSE_CURVE_STEPS == 0
            self._write_row(step, row, {f"train/{name}": value for name, value in row.items()} if dense else {})
            self._figures = row
        self._log.flush()
        self._flushed = time.monotonic()
        if self._step != self._recent[-1][1]:
            self._recent.append((self._flushed, self._step))

    def sync(self) -> None:
        """Bring all rows and points to the disk, before a checkpoint claims that they are there."""
        self.flush()
        self._curves.flush()
        os.fsync(self._log.fileno())

    def _write_row(self, step: int, figures: Mapping[str, float], curves: Mapping[str, float]) -> None:
        bad = [name for name, value in figures.items() if not math.isfinite(value)]
        if bad:
            raise InputError(
                f"the training diverged: {bad[0]} is not finite at step {step}",
                file=self._folder.path,
                action="Train anew in another folder with a smaller --learning-rate, or with --precision float32.",
            )
        self._log.write(json.dumps({"step": step, **figures}).encode() + b"\n")
        for name, value in curves.items():
            self._curves.add_scalar(name, value, step)

    def _write_progress(self, phase: str) -> None:
        (then, first), (now, last) = self._recent[0], self._recent[-1]
        progress = TrainingProgress(
            step=self._step,
            num_steps=self._num_steps,
            phase=phase,
            steps_per_s=(last - first) / (now - then) if last > first else 0.0,
            seconds=self._seconds_before + time.monotonic() - self._started,
            node=platform.node(),
            device=self._device,
            figures=self._figures,
            evaluation=self._evaluation,
        )
        self._folder.write_progress(progress)


def _open_log(folder: TrainingFolder, step: int) -> BufferedRandom:
    """The log, cut after this step; a last line that was not finished goes too."""
    lines = folder.log.read_bytes().splitlines(keepends=True) if folder.log.exists() else []
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= step]
    if len(kept) != len(lines) or not folder.log.exists():
        write_atomic(folder.log, b"".join(kept))
    log = folder.log.open("r+b")
    log.seek(0, os.SEEK_END)
    return log


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"
