"""Files of commits that never came to their end: of processes that died between the first move and the marker.

A commit holds its folder (a shared lock on the folder itself, which the kernel drops when its process dies) until the
marker stands. So a file that no marker names, in a folder that nobody holds, is nobody's; it goes when it is a day old.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from singalong.durable import is_still, make_dirs
from singalong.errors import UsageError
from singalong.store_marks import WORK_MARKER, CommitMarker, marker_data

STRAY_AGE_S = 24 * 3600.0
"""No commit takes nearly as long; beside the lock this keeps what processes of older versions are about to commit."""
EVERY_S = 24 * 3600.0
"""All folders are looked through no more often: that takes seconds where there are a hundred thousand."""


_NUM_WHOLE = 3
"""Files of a finished shard: segment, frames table, marker."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder of finished work, if need be, and keep what is in it from `trim_strays` until the block ends."""
    fd = -1
    while fd < 0:
        make_dirs(folder)
        fd = _lock(folder, fcntl.LOCK_SH)  # fails where it was removed in between
    try:
        yield
    finally:
        os.close(fd)


def trim_strays(work: Path, *, older_than_s: float = STRAY_AGE_S) -> int:
    """Remove what dead processes left in `work`, the folder of <key[:2]>/<key>/; the bytes freed.

    Files that a marker names, those that changed lately, and folders that somebody holds stay; so do folders whose
    marker is not one of ours.
    """
    freed, latest_s = 0, time.time() - older_than_s
    for folder in work.glob("??/*"):
        if _has_strays(folder, latest_s):
            freed += _trim(folder, latest_s)
    return freed


def trim_now_and_then(work: Path) -> int:
    """`trim_strays`, unless that was done within a day, or is being done; the bytes freed."""
    stamp = work / ".trimmed"
    with contextlib.suppress(OSError):
        if time.time() - stamp.stat().st_mtime < EVERY_S:
            return 0
    if not work.is_dir():
        return 0
    try:
        stamp.touch()  # before, so that the drivers that start meanwhile do not do it as well
        return trim_strays(work)
    except OSError:
        return 0  # a store that cannot be tidied can still be read


def _trim(folder: Path, latest_s: float) -> int:
    fd = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if fd < 0:
        return 0
    try:
        freed = 0
        for path in _strays(folder, latest_s):  # looked at again, now that nobody commits
            with contextlib.suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing is left
        return freed
    finally:
        os.close(fd)


def _has_strays(folder: Path, latest_s: float) -> bool:
    return next(_strays(folder, latest_s), None) is not None


def _strays(folder: Path, latest_s: float) -> Iterator[Path]:
    """Files of a folder that its marker does not name, and that were put there long ago."""
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    if WORK_MARKER in names and len(names) <= _NUM_WHOLE:
        return  # whole, as nearly all are: the marker need not be read
    known = _named(folder) if WORK_MARKER in names else frozenset()
    if known is None:
        return
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            facts = (folder / name).lstat()
            # the change time is that of the move into the folder; that of the content may be as old as the clip
            if name not in known and stat.S_ISREG(facts.st_mode) and facts.st_ctime <= latest_s:
                yield folder / name


def _named(folder: Path) -> frozenset[str] | None:
    """The files that a marker stands for, and the marker; None where it does not read, or is of a newer version."""
    try:
        marker = CommitMarker.model_validate_json(marker_data(folder / WORK_MARKER))
    except (OSError, ValidationError, UsageError):
        return None
    result = marker.result
    return frozenset((f"{result.segment_sha256}.mp4", f"{result.frames_sha256}.frames.parquet", WORK_MARKER))


def _lock(folder: Path, kind: int) -> int:
    """A descriptor that locks a folder until it is closed; -1 where it is gone, or somebody else has it."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    try:
        with contextlib.suppress(OSError) if kind == fcntl.LOCK_SH else contextlib.nullcontext():
            fcntl.flock(fd, kind)
        if is_still(fd, folder):
            return fd
    except OSError:
        pass  # held, or removed in between; or a file system without locks, where nothing is removed
    os.close(fd)
    return -1
