"""Work done in a process that stops dead in the middle, wherever the test says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def fork_that_dies(action: Callable[[], object], *, at: int, calls: Iterable[str]) -> int:
    """Do it in a fork that stops dead at the n-th of these calls of os; its process id."""
    pid = os.fork()
    if pid:
        return pid
    left = [at]

    def dying(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    try:
        for name in calls:
            setattr(os, name, dying(getattr(os, name)))
        action()
    except BaseException:  # noqa: BLE001 - a fork must never return into pytest
        os._exit(1)
    os._exit(0)


def exit_code(pid: int) -> int:
    """How a fork ended: 0 it did all, 9 it stopped dead."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9)
    return code
