"""Workers that come up while something else is done: their cluster first, they themselves once it is known what for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from singalong.errors import SingalongError
from tasks.jobs import WorkerSpec
from tasks.pool import Pool


class Cluster(Protocol):
    """What workers are part of."""

    def open_pool(self, spec: WorkerSpec) -> Pool:
        """Workers, once; closing them closes the cluster, if it is ours."""

    def close(self) -> None:
        """Close a cluster that never had workers."""


class EarlyPool:
    """A pool that comes up in a thread, for one taker; use as a context manager, so that an untaken one is closed."""

    def __init__(self, begin: Callable[[], Cluster]) -> None:
        self._begin, self._opened, self._is_taken = begin, Future[Pool | None](), False
        self._wanted: Future[Callable[[], WorkerSpec] | None] = Future()
        self._thread = threading.Thread(target=self._run, name="early-pool", daemon=True)
        self._ended = threading.Event()

    def __enter__(self) -> EarlyPool:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_begun:
            return
        try:
            if not self._wanted.done():
                self._wanted.set_result(None)
            if not self._is_taken:
                with contextlib.suppress(SingalongError):  # nobody has missed it
                    pool = self._opened.result()
                    if pool is not None:
                        pool.close()
        finally:
            self._ended.set()

    @property
    def is_begun(self) -> bool:
        """Whether anything comes up."""
        return self._thread.ident is not None

    def begin(self) -> None:
        """Have the cluster come up from now on."""
        if not self.is_begun:
            self._thread.start()

    def want(self, spec_of: Callable[[], WorkerSpec], open_another: Callable[[], Pool]) -> None:
        """Have the workers come up, as soon as there is a cluster.

        spec_of: tells what they need to know. open_another: opens a pool for who takes a second one.
        """
        self._open_another = open_another
        self._wanted.set_result(spec_of)
        self.begin()

    def take(self) -> Pool:
        """The pool, once it is open; the taker closes it. Raises what opening it raised. A second pool is a new one."""
        if self._is_taken:
            return self._open_another()
        self._is_taken = True
        pool = self._opened.result()
        assert pool is not None, "taken, but never wanted"
        return pool

    def _run(self) -> None:
        try:
            cluster = self._begin()
            spec_of = self._wanted.result()
            if spec_of is None:
                cluster.close()
                self._opened.set_result(None)
            else:
                self._opened.set_result(cluster.open_pool(spec_of()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the pool is taken
            self._opened.set_exception(error)
        self._ended.wait()  # Ray's processes end with the thread that started them
