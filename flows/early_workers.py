"""A run's workers, which come up while it is planned and while Prefect comes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from singalong.config import Settings
from singalong.runfolder import RunFolder
from tasks.early_pool import EarlyPool
from tasks.pool import Pool
from tasks.session import begin_cluster, open_workers_of, spec_of

_early: ContextVar[EarlyPool | None] = ContextVar("singalong_early", default=None)
_current: ContextVar[Callable[[], Pool] | None] = ContextVar("singalong_workers", default=None)


def current_workers() -> Callable[[], Pool] | None:
    """What hands over the workers of this run, if any came up early: flow parameters must be plain data."""
    return _current.get()


@contextmanager
def early_cluster(settings: Settings) -> Iterator[EarlyPool]:
    """In the body the cluster of a run may be begun before there is a plan; its workers come up in `early_workers`."""
    with EarlyPool(partial(begin_cluster, settings)) as early:
        token = _early.set(early)
        try:
            yield early
        finally:
            _early.reset(token)


@contextmanager
def early_workers(run: RunFolder) -> Iterator[None]:
    """Have the workers of a run come up while the body begins, on the cluster that was begun, if one was."""
    begun = _early.get()
    if begun is None:
        with early_cluster(run.settings), early_workers(run):
            yield
        return
    begun.want(partial(spec_of, run), partial(open_workers_of, run))
    token = _current.set(begun.take)
    try:
        yield
    finally:
        _current.reset(token)
