"""One run at a time on a machine, whichever schedule, pool or server it came from: its GPUs are one set.

A pool's limit counts runs, not machines, and two workers may ask for work in the same moment. This is the last gate:
locks that the kernel takes back when their holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from singalong.errors import UsageError

RUNS_AT_ONCE = "SINGALONG_RUNS_AT_ONCE"
"""Environment of a worker whose machine is large enough for more than one run."""
LOOK_AGAIN_S = 2.0


@contextmanager
def machine_turn(waiting: Callable[[], None], *, folder: Path | None = None) -> Iterator[None]:
    """Hold one of this machine's turns for the block; `waiting` is called once, where there is none.

    folder: of the locks; by default one of this user, in the machine's folder of temporary files.
    """
    turns, told, held = _turns(folder or _own_folder()), False, None
    while held is None:
        held = next((fd for turn in turns if (fd := _try(turn)) is not None), None)
        if held is None:
            if not told:
                waiting()
            told = True
            time.sleep(LOOK_AGAIN_S)
    try:
        yield
    finally:
        os.close(held)


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"singalong-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _turns(folder: Path) -> list[Path]:
    said = os.environ.get(RUNS_AT_ONCE, "1")
    if not said.isdigit() or int(said) < 1:
        raise UsageError(f"{RUNS_AT_ONCE} is no number of runs", value=said, expected="1 or more")
    return [folder / f"turn-{number}.lock" for number in range(int(said))]


def _try(turn: Path) -> int | None:
    """A descriptor that holds the lock; None where another has it."""
    fd = os.open(turn, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
