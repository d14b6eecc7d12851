"""Checks before a training starts: the dataset, the expert, the run folder. What is wrong is said before Ray starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models import registry
from models.cards import file_sha256
from models.checkpoints import check_state, identify, read_checkpoint
from models.engine import pick_device
from singalong.config import default_models_home
from singalong.errors import InputError, UsageError
from tasks.training.paper.checkpoint import checkpoints
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.settings import ExpertChoice, Kind, TrainingSettings, default_eval_batches
from tasks.training.sequences import SequenceSet

_EXPERT_EXPECTED = "the paper's sync expert (lipsync_expert): the run folder, file or model name of one"


def plan_training(
    kind: Kind,
    dataset: Path,
    run: Path,
    *,
    expert: str | None = None,
    eval_batches: int | None = None,
    **options: Any,
) -> tuple[TrainingFolder, list[str]]:
    """A run folder ready to train in, new or to go on with, and what its user should know.

    options: fields of TrainingSettings. Raises InputError and UsageError for a dataset or an expert that cannot be
    used, settings that make no sense, and a folder that holds another training.
    """
    dataset = dataset.expanduser().absolute()
    train, val = SequenceSet(dataset, split="train"), SequenceSet(dataset, split="val")
    gan, batch_size = bool(options.get("gan")), int(options["batch_size"])
    batches = default_eval_batches(kind, gan=gan, num_val_sequences=len(val), batch_size=batch_size)
    try:
        settings = TrainingSettings(
            kind=kind,
            dataset=str(dataset),
            train_digest=train.digest,
            val_digest=val.digest,
            num_train_sequences=len(train),
            num_val_sequences=len(val),
            expert=find_expert(expert) if expert is not None else None,
            eval_batches=eval_batches or max(batches, int(options.get("num_workers", 1))),
            **options,
        )
    except ValidationError as exc:
        first = exc.errors()[0]
        where = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise UsageError(f"{where}: {first['msg']}", value=first["input"]) from exc
    _check_workers(settings)
    folder = TrainingFolder(run)
    notes = _notes(folder, folder.check(settings), settings)
    folder.claim(settings)
    return folder, notes


def find_expert(name_or_path: str) -> ExpertChoice:
    """The expert in a training's run folder, in a file, or among the installed models.

    Raises InputError if there is none, WeightsError if it is no network or another one than the paper's expert.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        path = TrainingFolder(path).model
        if not path.is_file():
            raise InputError(
                "this folder holds no trained expert",
                file=path.parent,
                expected=f"{path.name}, which a finished training leaves",
                action="Finish it with the same singalong train expert command, or name another expert.",
            )
    elif not path.is_file():
        path = _installed(name_or_path)
    state = read_checkpoint(path)
    found = identify(state, file=path)
    if found != "lipsync_expert":
        raise InputError(
            f"this is a {found}, which cannot teach the generator",
            file=path,
            expected=_EXPERT_EXPECTED,
            action="Train one first: singalong train expert DATASET --run DIR.",
        )
    check_state(state, found, file=path)
    return ExpertChoice(name=name_or_path, path=str(path.resolve()), sha256=file_sha256(path))


def _installed(name: str) -> Path:
    if "/" in name or name.endswith((".safetensors", ".pth", ".pt")):
        raise InputError("there is no such file or folder", file=name, expected=_EXPERT_EXPECTED)
    card = registry.find_card(name, default_models_home())
    if card.role != "expert" or card.weights is None:
        raise InputError(f"the model {name!r} is a {card.role}", expected=_EXPERT_EXPECTED)
    return Path(card.weights)


def _check_workers(settings: TrainingSettings) -> None:
    workers = settings.num_workers
    if settings.executor == "inprocess" and workers > 1:
        raise UsageError("one process is one worker", value=workers, expected="--num-workers 1, or --executor ray")
    if settings.executor == "inprocess":
        pick_device(settings.device)
    elif settings.device not in (None, "cpu", "cuda"):
        raise UsageError("Ray decides which GPU is whose", value=settings.device, expected="--device cpu or cuda")
    if settings.batch_size % workers:
        raise UsageError(
            f"a batch of {settings.batch_size} cannot be shared evenly",
            value=workers,
            expected="a --num-workers that divides --batch-size",
        )
    if settings.kind == "expert" and settings.batch_size // workers < 2:
        raise UsageError(
            "batch norm needs at least 2 items for each worker",
            value=settings.batch_size,
            expected=f"--batch-size of at least {2 * workers}",
        )
    if settings.eval_batches < workers:
        raise UsageError(
            "some workers would evaluate nothing",
            value=settings.eval_batches,
            expected=f"--eval-batches of at least {workers}",
        )


def _notes(folder: TrainingFolder, before: TrainingSettings | None, settings: TrainingSettings) -> list[str]:
    """What to know of going on. Raises UsageError if the training is further than it is asked to go."""
    step = next(iter(checkpoints(folder.checkpoints)), 0)
    if before is None or not step:
        return []
    if step > settings.num_steps:
        raise UsageError(
            f"this training stands at step {step} already",
            file=folder.path,
            value=settings.num_steps,
            expected=f"at least {step} with --num-steps",
        )
    if step == settings.num_steps:
        return [f"step {step} was reached already: only the model is evaluated and written again"]
    notes = [f"going on from step {step}"]
    if before.num_workers != settings.num_workers:
        notes.append(
            f"{before.num_workers} workers began this and {settings.num_workers} go on: batches are shared out "
            "otherwise, so the weights will not be those of an unbroken training"
        )
    return notes
