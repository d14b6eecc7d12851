"""Telling of attempts once their records are safe on the disk, and not before."""

from __future__ import annotations

from collections.abc import Callable

from singalong.contracts import AttemptRow


class Listeners(list[Callable[[AttemptRow], None]]):
    """Those who are told of attempts, in the order in which these are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self._untold: list[AttemptRow] = []

    def expect(self, attempt: AttemptRow) -> None:
        """An attempt is about to be safe."""
        if self:
            self._untold.append(attempt)

    def tell(self) -> None:
        """All that were expected are safe now."""
        told, self._untold = self._untold, []
        for attempt in told:
            for listener in self:
                listener(attempt)
