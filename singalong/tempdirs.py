"""Temporary folders that are swept up after a process that died, and never under one that lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from singalong.durable import is_still, make_dirs


class TempDirs:
    """Hands out new folders below one root, in a folder of this process that a file lock marks as in use.

    The kernel drops a lock when its holder dies, however it dies, and keeps it across containers that share
    the disk, where a process id would say nothing. So an unlocked folder is garbage, and a locked one is
    not.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pid = -1
        self._folder = Path()

    def new(self) -> Path:
        """A new, empty folder; the caller removes it, or the next process does after this one ended."""
        if self._pid != os.getpid() or not self._folder.is_dir():
            self._open()
        return Path(tempfile.mkdtemp(dir=self._folder))

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A new, empty folder that is removed when the block ends."""
        folder = self.new()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> list[Path]:
        """Remove what dead processes left behind; returns the folders removed."""
        removed = []
        for lock in sorted(self._root.glob("*.lock")):
            with _locked(lock) as fd:
                if fd is not None:
                    folder = lock.with_suffix("")
                    shutil.rmtree(folder, ignore_errors=True)
                    if not folder.exists():
                        lock.unlink(missing_ok=True)
                        removed.append(folder)
        return removed

    def _open(self) -> None:
        make_dirs(self._root)
        self.sweep()
        while True:
            # Made anew after a fork: the lock a child inherits is its parent's.
            name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
            lock = self._root / f"{name}.lock"
            fd = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_still(fd, lock):  # else a sweep took the file in the instant before the lock: try again
                break
            os.close(fd)
        (self._root / name).mkdir()
        # The descriptor stays open, and with it the lock, until this process ends; two threads that come
        # here at once make a folder each, and a forked child keeps its parent's lock as well: one folder
        # too many, at worst, is swept a little later.
        self._folder, self._pid = self._root / name, os.getpid()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The descriptor of `path` locked for us, or None when somebody else holds or just removed it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield fd if is_still(fd, path) else None
    finally:
        os.close(fd)
