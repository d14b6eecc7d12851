"""`singalong train expert` and `singalong train generator`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, Literal

from flows.exit_codes import EXIT_INTERRUPTED, EXIT_OK
from flows.terminal import err, out, print_facts, print_json, print_warning
from flows.training_watcher import training_progress
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.plan import plan_training
from tasks.training.paper.product import TrainedCard


def train_command(
    kind: Literal["expert", "generator"], dataset: Path, run: Path, *, as_json: bool, **options: Any
) -> int:
    """Train or resume; exit code 0 done, 130 interrupted. options: see `tasks.training.paper.plan.plan_training`."""
    command = shlex.join(["singalong", *sys.argv[1:]])
    with err.status("checking dataset and run folder"):
        folder, notes = plan_training(kind, dataset, run, command=command, **options)
    for note in notes:
        print_warning(note)
    card = _execute(folder)
    if card is None:
        err.print("interrupted: give the same command again to go on")
        return EXIT_INTERRUPTED
    if as_json:
        print_json(card.model_dump(mode="json", exclude_none=True) | {"model": str(folder.model)})
    else:
        _show(folder, card)
    return EXIT_OK


def _execute(folder: TrainingFolder) -> TrainedCard | None:
    """Run the flow; None if it was interrupted."""
    if folder.settings().executor == "inprocess":
        from flows.train_order import run_training_stages

        with training_progress(folder), folder.lock():
            return run_training_stages(folder)
    with err.status("starting Prefect"):
        from flows.prefect_runs import run_to_end
        from flows.train_flow import train_planned
    with training_progress(folder):
        card = run_to_end(train_planned, str(folder.path))
    return None if card is None else TrainedCard.model_validate(card)


def _show(folder: TrainingFolder, card: TrainedCard) -> None:
    out.print(f"trained {card.training.num_steps:,} steps in {card.training.seconds / 60:.1f} minutes", markup=False)
    print_facts({name: f"{value:.4f}" for name, value in card.metrics.items()})
    facts = {"model": folder.model, "curves": folder.tensorboard}
    if folder.samples.is_dir():
        facts["samples"] = folder.samples
    print_facts(facts)
    out.print(f"use it: singalong models add {card.name} {folder.model}", markup=False)
