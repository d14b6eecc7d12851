"""The next batches, read by threads while the networks learn from this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Prefetch(Generic[Batch]):
    """Iterates over (step, make(step)) for steps [first, end), some made ahead; use as a context manager.

    `make` is called from several threads at once. What it raises comes out where its batch is asked for.
    """

    def __init__(self, make: Callable[[int], Batch], first: int, end: int, *, num_ahead: int = 2) -> None:
        assert num_ahead > 0
        self._make, self._next, self._end, self._num_ahead = make, first, end, num_ahead
        self._pool = ThreadPoolExecutor(num_ahead, thread_name_prefix="batches")
        self._coming: deque[tuple[int, Future[Batch]]] = deque()

    def __enter__(self) -> Iterator[tuple[int, Batch]]:
        return self._batches()

    def __exit__(self, *_exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self) -> Iterator[tuple[int, Batch]]:
        self._submit()
        while self._coming:
            step, batch = self._coming.popleft()
            made = batch.result()
            self._submit()
            yield step, made

    def _submit(self) -> None:
        while len(self._coming) < self._num_ahead and self._next < self._end:
            self._coming.append((self._next, self._pool.submit(self._make, self._next)))
            self._next += 1
