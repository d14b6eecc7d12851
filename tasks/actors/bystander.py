"""In place of one of Ray's agents that nobody asks anything: lives as long as Ray's raylet, which ends without it.

A program of its own (`python -I -S bystander.py`), because it must cost nothing: it imports nothing else of ours.
"""

from __future__ import annotations

import os
import select
import time

_LOOK_S = 1.0


def outlast(parent: int) -> None:
    """Return when this process's parent has ended."""
    try:
        descriptor = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not Linux, or it has ended
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        return
    if os.getppid() == parent:  # else the number may be another's by now
        select.select([descriptor], [], [])


if __name__ == "__main__":
    outlast(os.getppid())
