"""Ctrl-C and SIGTERM: both end a command with exit code 130 and leave its run resumable."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """SIGTERM arrived."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into `Interrupted` while the body runs, as Python turns SIGINT into KeyboardInterrupt."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
