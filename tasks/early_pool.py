"""Workers that come up while something else is done."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future

from singalong.errors import SingalongError
from tasks.pool import Pool


class EarlyPool:
    """A pool that is opened in a thread, for one taker; use as a context manager, so that an untaken one is closed."""

    def __init__(self, open_pool: Callable[[], Pool]) -> None:
        self._open, self._opened, self._is_taken = open_pool, Future[Pool](), False
        self._ended = threading.Event()

    def __enter__(self) -> EarlyPool:
        threading.Thread(target=self._run, name="early-pool", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._is_taken:
                with contextlib.suppress(SingalongError):  # nobody has missed it
                    self._opened.result().close()
        finally:
            self._ended.set()

    def take(self) -> Pool:
        """The pool, once it is open; the taker closes it. Raises what opening it raised. A second pool is a new one."""
        if self._is_taken:
            return self._open()
        self._is_taken = True
        return self._opened.result()

    def _run(self) -> None:
        try:
            self._opened.set_result(self._open())
        except BaseException as error:  # noqa: BLE001 - it is raised where the pool is taken
            self._opened.set_exception(error)
        self._ended.wait()  # Ray's processes end with the thread that started them
