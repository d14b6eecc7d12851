"""Ctrl-C and SIGTERM: both end a command with exit code 130 and leave its run resumable."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from flows.exit_codes import EXIT_INTERRUPTED

ENDS_WITHIN_S = 12.0
"""Longer than Ray and Prefect take to end when they are well, shorter than what service managers allow (15 s on)."""
INTERRUPTED = "interrupted: run the same command again to go on"

_owns_process = False


class Interrupted(BaseException):
    """SIGTERM arrived."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into `Interrupted` while the body runs, as Python turns SIGINT into KeyboardInterrupt.

    The process is then taken to be the command's own: see `end_soon`.
    """
    global _owns_process

    def stop(_number: int, _frame: FrameType | None) -> None:
        end_soon()
        raise Interrupted

    before = signal.signal(signal.SIGTERM, stop)
    _owns_process = True
    try:
        yield
    finally:
        _owns_process = False
        signal.signal(signal.SIGTERM, before)


def owns_process() -> bool:
    """Whether this process is a command's own; a worker of Prefect has others."""
    return _owns_process


def end_soon() -> None:
    """From here on this process ends within `ENDS_WITHIN_S`, if it is a command's own.

    Whoever ended us may have ended Ray and Prefect's server too, and their clients wait minutes for them. All that
    counts is on the disk already; what hangs on this process ends with it.
    """
    if _owns_process:
        signal.alarm(0)  # in Ray's start, a SIGTERM sets one that aborts the process after three seconds
        timer = threading.Timer(ENDS_WITHIN_S, _end_now)
        timer.daemon = True
        timer.start()


def _end_now() -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{INTERRUPTED}\n")
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)
