"""One driver a run folder: a file lock that names its holder and goes when the holder dies, however it
dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from singalong.errors import HeldError, UsageError

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})


@contextlib.contextmanager
def run_lock(path: Path, *, run: Path) -> Iterator[None]:
    """Hold the lock file `path` of a run folder for the block.

    Raises HeldError naming process, machine and time when another driver holds it.
    """
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        _lock(fd, path, run)
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(me).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def lock_holder(path: Path) -> str | None:
    """Who holds the lock, in words; None when nobody does. A look, not a promise."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _describe(path)
    finally:
        os.close(fd)
    return None


def _lock(fd: int, path: Path, run: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HeldError(
            f"this run is being worked on by {_describe(path)}",
            file=run,
            action="Wait until it ends, stop it, or take another run folder.",
        ) from None
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            raise
        raise UsageError(
            "the file system of the run folder cannot lock files",
            file=run,
            action="Take a run folder on a local disk; the store may stay where it is.",
        ) from exc


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
