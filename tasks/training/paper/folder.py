"""The run folder of a training.

<run>/training.json        settings and identity of the data; made once, read by every worker
<run>/checkpoints/         step-000003000.pt, the last two
<run>/log.jsonl            a row a step, and a row an evaluation
<run>/tensorboard/         the same as curves
<run>/samples/             sample sheets (generator)
<run>/progress.json        where it is now; all else of the folder is the same after any number of restarts
<run>/model.safetensors    the end product, with card.json
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from singalong.contracts import Row
from singalong.durable import is_temp_name, make_dirs, write_atomic
from singalong.errors import UsageError
from singalong.runlock import run_lock
from tasks.training.paper.settings import TrainingSettings, check_same_training

_ORPHAN_PATIENCE_S = 60.0
"""Workers outlive a killed driver by some seconds, until Ray notices."""
_POLL_S = 0.2
_OURS = {
    *("checkpoints", "samples", "tensorboard", "log.jsonl", "model.safetensors", "card.json", "progress.json"),
    *("ray", ".lock", ".writer.lock"),
}


class TrainingProgress(Row):
    """progress.json: where a training is. `seconds` counts all sessions, and steps that were done again."""

    step: int
    num_steps: int
    phase: str
    steps_per_s: float = 0.0
    seconds: float = 0.0
    node: str = ""
    device: str = ""
    figures: dict[str, float] = Field(default_factory=dict)
    evaluation: dict[str, float] = Field(default_factory=dict)


class TrainingFolder:
    """Paths of a training, and the files that are not some other module's own."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.checkpoints, self.samples = self.path / "checkpoints", self.path / "samples"
        self.tensorboard, self.log = self.path / "tensorboard", self.path / "log.jsonl"
        self.model, self.card = self.path / "model.safetensors", self.path / "card.json"
        self._settings, self._progress = self.path / "training.json", self.path / "progress.json"

    def settings(self) -> TrainingSettings:
        """What this training was asked to do. Raises UsageError for a folder that holds no training."""
        try:
            return TrainingSettings.model_validate_json(self._settings.read_bytes())
        except FileNotFoundError:
            raise UsageError("this folder holds no training", file=self.path, expected="training.json in it") from None
        except ValidationError as exc:
            raise UsageError(
                f"the settings cannot be read: {exc.errors()[0]['msg']}",
                file=self._settings,
                action="If the file is damaged, delete it and give the training's first command again.",
            ) from exc

    def check(self, settings: TrainingSettings) -> TrainingSettings | None:
        """Check that this training may have the folder; the settings of its last session, None if it is new.

        Raises UsageError if the folder holds another training, or anything else.
        """
        if self._settings.exists():
            before = self.settings()
            check_same_training(before.identity(), settings, run=self.path)
            return before
        if self.path.exists() and (not self.path.is_dir() or any(self._strangers())):
            raise UsageError(
                "this is no folder of a training, and not empty",
                file=self.path,
                expected="a new folder, or one of an earlier training",
                action="Choose another folder with --run.",
            )
        return None

    def claim(self, settings: TrainingSettings) -> None:
        """Make the folder this training's. Raises UsageError if it is being worked on."""
        make_dirs(self.path)
        with self.lock():
            write_atomic(self._settings, settings.model_dump_json(indent=2).encode() + b"\n")

    def _strangers(self) -> Iterator[Path]:
        return (path for path in self.path.iterdir() if path.name not in _OURS and not is_temp_name(path.name))

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the training for one driver; UsageError naming the holder when there is another."""
        return run_lock(self.path / ".lock", run=self.path)

    @contextlib.contextmanager
    def writer_lock(self) -> Iterator[None]:
        """Hold the folder for the one worker that writes into it.

        Waits for a worker of a killed driver, which may still be at its last step; UsageError if it does not end.
        """
        deadline = time.monotonic() + _ORPHAN_PATIENCE_S
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(run_lock(self.path / ".writer.lock", run=self.path))
                    break
                except UsageError:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(_POLL_S)
            yield

    def progress(self) -> TrainingProgress | None:
        """Where the training is; None before its first step."""
        try:
            return TrainingProgress.model_validate_json(self._progress.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write_progress(self, progress: TrainingProgress) -> None:
        """Replace progress.json in one step, not durably: it is written often, and nothing depends on it."""
        temporary = self._progress.with_name(".progress.json.tmp")
        temporary.write_text(progress.model_dump_json(), encoding="utf-8")
        temporary.replace(self._progress)
