"""A watcher of runs for tests."""

from __future__ import annotations

from collections import Counter

from tasks.dispatch import Item
from tasks.jobs import Outcome


class Counting:
    """Counts the items of each stage."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()

    def begin(self, stage: str, total: int) -> None:
        self.items[stage] += total

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        pass
