"""Counting values in buckets, as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """How many values lie at or below each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_millionths = 0  # a whole number: the same in whatever order it is added up

    def observe(self, value: float) -> None:
        """Count a value; at least 0, so that the sum never goes down."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum_millionths += round(value * 1e6)

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Pairs of bound and count of values up to it, the last bound `+Inf`; and the sum."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum_millionths / 1e6
