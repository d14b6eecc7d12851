"""Whether a folder may become that of a run: it is ours or empty, and can be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from singalong.durable import is_temp_name
from singalong.errors import UsageError
from singalong.remote_run import mirror_of
from singalong.runlock import run_lock

MARKER = "run.json"
STRANGERS_ALLOWED = frozenset({"logs", ".lock"})


def check_is_ours(path: Path) -> None:
    """Refuse to move into somebody else's folder."""
    if path.exists() and not path.is_dir():
        raise UsageError("a run needs a folder, and this is a file", file=path)
    if path.is_dir() and not (path / MARKER).exists():
        strangers = [name for name in iter_names(path) if name not in STRANGERS_ALLOWED and not is_temp_name(name)]
        if strangers:
            raise UsageError(
                "the folder holds something that is not a run",
                file=path,
                value=sorted(strangers)[0],
                expected="a new or empty folder, or that of a run",
            )


@contextlib.contextmanager
def driving(path: Path) -> Iterator[None]:
    """Hold a run for one driver, here and where it is kept."""
    mirror = mirror_of(path)
    with run_lock(path / ".lock", run=path), mirror.driving() if mirror else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Say in words that a folder cannot be written."""
    try:
        yield
        if not os.access(path, os.W_OK | os.X_OK):  # also false on a disk mounted read-only
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise
        raise UsageError(
            f"the run folder cannot be written: {exc.strerror}",
            file=path,
            expected="a folder on a disk that is not read-only, and permission to write there",
        ) from exc


def iter_names(folder: Path) -> Iterator[str]:
    """Names in a folder; none where there is no such folder."""
    if folder.is_dir():
        yield from (entry.name for entry in os.scandir(folder))
