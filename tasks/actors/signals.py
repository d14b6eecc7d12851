"""The signal handlers that Ray would replace: those of Python by what `ray.init` does, and the kernel's by its core."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_SIGACTION_BYTES = 512
"""More than any system's `struct sigaction`."""


@contextlib.contextmanager
def keeping_signal_handlers() -> Iterator[None]:
    """Whatever the body does to them, handlers of SIGTERM and SIGINT are afterwards as they were.

    Prefect's cancellation and our own need them. In a thread Ray cannot replace Python's handlers, but its core still
    puts one below them, which has the process aborted three seconds after a SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        with _keeping_actions():
            yield
        return
    kept = {number: signal.getsignal(number) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _keeping_actions() -> Iterator[None]:
    """The same for what the kernel calls: Python sets that in its main thread alone."""
    libc = ctypes.CDLL(None)
    kept = {number: ctypes.create_string_buffer(_SIGACTION_BYTES) for number in _NUMBERS}
    for number, action in kept.items():
        libc.sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)
