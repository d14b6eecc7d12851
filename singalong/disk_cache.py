"""Folders on this machine's disk that can be fetched again, kept within a size: the least recently used go first.

    <root>/uses/<id[:2]>/<id>.json     one small file an entry: its name and bytes; its time is that of the last use
    <root>/uses/<id[:2]>/<id>.fetch    locked by whoever fetches the entry, so that one does it for all

Any number of processes share a root. Whoever uses an entry holds its file locked (shared); whoever removes one must
lock it alone, so what is in use stays. The kernel drops locks of processes that die.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from singalong.durable import is_still, make_dirs
from singalong.tempdirs import TempDirs
from singalong.traffic import KINDS, count

GRACE_S = 20.0
"""What was handed out this recently is in use, whether anybody says so (`using`) or not."""
_FILL = 0.9
"""Down to this share of the limit, so that not every new entry looks through all."""
_STEP = 0.02
"""A process looks at the whole when it has added this share of the limit."""

_MAX_HELD = 256
"""More than this are not locked, only recent: a process may open about a thousand files."""

_held = threading.local()


@dataclass(frozen=True)
class _Use:
    last_ns: int
    path: Path
    entry: str
    num_bytes: int


@contextlib.contextmanager
def using() -> Iterator[None]:
    """All entries that this thread is given until the block ends stay until then."""
    outer: dict[str, int] | None = getattr(_held, "fds", None)
    _held.fds = {}
    try:
        yield
    finally:
        for fd in _held.fds.values():
            os.close(fd)
        _held.fds = outer


class DiskCache:
    """Entries below one root, by relative name; `limit_bytes` None: they are never removed."""

    def __init__(self, root: Path, *, limit_bytes: int | None) -> None:
        self.root, self.limit_bytes = root, limit_bytes
        self._temp = TempDirs(root / "tmp")
        self._num_added: float = 0.0 if limit_bytes is None else limit_bytes  # the first addition looks at the whole

    def get(self, entry: str, is_there: Callable[[Path], bool], fetch: Callable[[Path], None]) -> Path:
        """Folder of an entry, in which `is_there` finds what is wanted; else `fetch(folder)` brings it, once for all.

        Raises what `fetch` raises.
        """
        folder, fd, grown = self.root / entry, self._share(entry), False
        try:
            if not is_there(folder):
                with self._fetching(entry):
                    if not is_there(folder):
                        grown = True
                        make_dirs(folder)
                        fetch(folder)
            os.utime(fd)
            count("cache_misses" if grown else "cache_hits", _kind(entry))
        finally:
            if grown:  # also where it failed: what came counts
                self._note(fd, entry)
            self._keep(fd, entry)
        if grown:
            self.trim_if_grown()
        return folder

    def added(self, entry: str) -> None:
        """Note an entry that was put there without `get`, and that it was used just now."""
        fd = self._share(entry)
        try:
            self._note(fd, entry)
        finally:
            self._keep(fd, entry)

    def used(self, entry: str) -> None:
        """Note that an entry, which is there, is used just now; within `using` it stays until the end."""
        fd = self._share(entry)
        try:
            if not os.fstat(fd).st_size:
                self._note(fd, entry)
            os.utime(fd)
            count("cache_hits", _kind(entry))
        finally:
            self._keep(fd, entry)

    def knows(self, entry: str) -> bool:
        """Whether the entry is one of those that may be removed."""
        return self._use_path(entry).exists()

    def drop(self, entry: str) -> None:
        """Take an entry away in one step, whoever uses it: it is damaged, or is to be forgotten."""
        with contextlib.suppress(FileNotFoundError):
            gone = self._temp.new()
            (self.root / entry).rename(gone / "gone")
            shutil.rmtree(gone, ignore_errors=True)

    def num_bytes(self) -> int:
        """Bytes in all entries."""
        return sum(use.num_bytes for use in self._uses())

    def trim_if_grown(self) -> None:
        """Trim, if this process has added enough since it last looked."""
        if self.limit_bytes is not None and self._num_added >= _STEP * self.limit_bytes:
            self.trim()

    def trim(self) -> int:
        """Remove entries, the least recently used first, until they are within the limit; returns bytes freed.

        What is in use stays, even where the limit is not kept then. Another process that is at it is left to it.
        """
        if self.limit_bytes is None:
            return 0
        self._num_added, freed = 0.0, 0
        make_dirs(self.root / "uses")
        with _locked(self.root / "uses" / "trim.lock") as is_ours:
            if not is_ours:
                return 0
            uses = sorted(self._uses(), key=lambda use: use.last_ns)
            total = sum(use.num_bytes for use in uses)
            if total <= self.limit_bytes:
                return 0
            latest_ns = time.time_ns() - int(GRACE_S * 1e9)
            for use in uses:
                if total - freed <= _FILL * self.limit_bytes or use.last_ns > latest_ns:
                    break
                freed += use.num_bytes if self._remove(use) else 0
        return freed

    def _remove(self, use: _Use) -> bool:
        with _locked(use.path) as is_ours:
            if not is_ours:
                return False
            self.drop(use.entry)
            count("cache_evictions", _kind(use.entry))
            count("cache_evicted_bytes", _kind(use.entry), use.num_bytes)
            use.path.with_suffix(".fetch").unlink(missing_ok=True)
            use.path.unlink(missing_ok=True)
            return True

    def _uses(self) -> Iterator[_Use]:
        for path in (self.root / "uses").glob("??/*.json"):
            try:
                facts = json.loads(path.read_bytes())
                yield _Use(path.stat().st_mtime_ns, path, str(facts["entry"]), int(facts["bytes"]))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                continue  # removed meanwhile, or just begun

    def _use_path(self, entry: str) -> Path:
        name = hashlib.sha256(entry.encode()).hexdigest()[:32]
        return self.root / "uses" / name[:2] / f"{name}.json"

    def _share(self, entry: str) -> int:
        """A descriptor that keeps the entry from being removed until it is closed."""
        path = self._use_path(entry)
        make_dirs(path.parent)
        while True:
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if is_still(fd, path):
                return fd
            os.close(fd)  # it was removed in between

    def _keep(self, fd: int, entry: str) -> None:
        """Hold a descriptor until the end of `using`, once an entry; elsewhere close it."""
        held: dict[str, int] | None = getattr(_held, "fds", None)
        name = os.fspath(self.root / entry)
        if held is None or name in held or len(held) >= _MAX_HELD:
            os.close(fd)
        else:
            held[name] = fd

    def _note(self, fd: int, entry: str) -> None:
        num_bytes = _bytes_in(self.root / entry)
        before = os.pread(fd, 4096, 0)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            self._num_added -= int(json.loads(before)["bytes"])
        self._num_added += num_bytes
        data = json.dumps({"entry": entry, "bytes": num_bytes}).encode()
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))

    @contextlib.contextmanager
    def _fetching(self, entry: str) -> Iterator[None]:
        path = self._use_path(entry).with_suffix(".fetch")
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the file is locked for us alone; not where somebody else has it."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = is_still(fd, path)
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(fd)


def _kind(entry: str) -> str:
    """What an entry is of, as it is counted."""
    first = entry.partition("/")[0]
    return first if first in KINDS else KINDS[-1]


def _bytes_in(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(path) / name).lstat().st_size
    return total
