"""A run's workers, which come up while Prefect does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from singalong.runfolder import RunFolder
from tasks.early_pool import EarlyPool
from tasks.pool import Pool
from tasks.session import open_workers_of

_current: ContextVar[Callable[[], Pool] | None] = ContextVar("singalong_workers", default=None)


def current_workers() -> Callable[[], Pool] | None:
    """What hands over the workers of this run, if any came up early: flow parameters must be plain data."""
    return _current.get()


@contextmanager
def early_workers(run: RunFolder) -> Iterator[None]:
    """Have the workers of a run come up while the body begins."""
    with EarlyPool(partial(open_workers_of, run)) as early:
        token = _current.set(early.take)
        try:
            yield
        finally:
            _current.reset(token)
