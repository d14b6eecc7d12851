"""What is aimed at, what was found, and what the last committed run of the same measurement found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
WORSE_BY = 0.15
"""A figure that is so much worse than the committed one is called so; less is the machine's mood."""


@dataclass(frozen=True)
class Target:
    """One figure; `goal` None: nothing is aimed at, it is only compared with the last run."""

    name: str
    found: float
    goal: float | None
    higher_is_better: bool = True
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether it is reached."""
        if self.goal is None:
            return None
        return self.found >= self.goal if self.higher_is_better else self.found <= self.goal

    def change(self, before: float | None) -> float | None:
        """By what share it is better than before; negative: worse."""
        if before is None or before <= 0 or self.found <= 0:
            return None
        return (self.found / before if self.higher_is_better else before / self.found) - 1


def wide_console() -> Console:
    """The terminal; where there is none, wide enough for our tables."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def baseline(name: str) -> dict[str, float]:
    """The figures of the committed result of this name; empty where there is none, or an older kind."""
    try:
        targets = json.loads((RESULTS / f"{name}.json").read_text())["targets"]
    except (OSError, KeyError, ValueError):
        return {}
    return {target["name"]: float(target["found"]) for target in targets}


def report(name: str, targets: Sequence[Target], more: Mapping[str, Any]) -> bool:
    """Print the targets beside the last committed run, and write this one in its place; False if one is missed."""
    before = baseline(name)
    table = Table(title=f"{name}: targets", title_justify="left")
    for column in ("figure", "found", "aim", "", "last committed", "better by"):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for target in targets:
        change = target.change(before.get(target.name))
        sign = ">=" if target.higher_is_better else "<="
        aim = "" if target.goal is None else f"{sign} {target.goal:g}{target.unit}"
        met = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[target.is_met]
        was = f"{before[target.name]:.4g}{target.unit}" if target.name in before else "-"
        how = "-" if change is None else f"{'[red]' if change < -WORSE_BY else ''}{change:+.1%}"
        table.add_row(target.name, f"{target.found:.4g}{target.unit}", aim, met, was, how)
    wide_console().print(table)
    RESULTS.mkdir(exist_ok=True)
    result = {"targets": [asdict(target) for target in targets], **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return all(target.is_met is not False for target in targets)
