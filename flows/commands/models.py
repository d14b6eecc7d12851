"""`singalong models list | add | verify`."""

from __future__ import annotations

from pathlib import Path

from flows.terminal import out, print_json, print_table
from models import registry
from singalong.config import default_models_home


def list_command(*, as_json: bool) -> int:
    """Print every model that can be used."""
    cards = registry.list_models(default_models_home())
    if as_json:
        print_json([card.model_dump(mode="json") for card in cards])
        return 0
    rows: list[list[object]] = [
        [card.name, card.role, card.architecture, card.num_parameters, card.licence, card.trained_on] for card in cards
    ]
    print_table("Models", ["name", "role", "architecture", "parameters", "licence", "trained on"], rows)
    return 0


def add_command(name: str, checkpoint: Path, *, replace: bool, as_json: bool) -> int:
    """Check a checkpoint and store it as safetensors."""
    card = registry.add_checkpoint(name, checkpoint, home=default_models_home(), replace=replace)
    if as_json:
        print_json(card.model_dump(mode="json"))
        return 0
    out.print(f"added {card.name}: {card.architecture} ({card.role}), {card.num_parameters:,} parameters")
    out.print(f"licence: {card.licence}")
    return 0


def verify_command(*, as_json: bool) -> int:
    """Hash the weights of every added model; exit code 1 if one does not match its card."""
    problems = registry.verify(default_models_home())
    if as_json:
        print_json([str(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(str(problem), markup=False)
        out.print("all models match their cards" if not problems else f"{len(problems)} models do not match")
    return 1 if problems else 0
