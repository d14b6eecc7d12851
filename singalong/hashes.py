"""Content hashes of media files, remembered, so that a nightly run does not read every clip again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from pathlib import Path

from singalong.durable import make_dirs, sha256_of, write_atomic
from singalong.errors import InputError, TransientIOError

RACY_S = 2.0
"""A file touched this recently may be edited again within one tick of its time stamps (FAT: 2 s), unseen."""
_MAX_READS = 3


class HashMemory:
    """SHA-256 of files, remembered by path, size, times and inode.

    One small file per hashed path, replaced in one step, so any number of processes may share the folder.
    An entry that is damaged or that does not fit the file as it is now counts as absent. Losing the folder
    costs only time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file in hex; read only when it changed since it was last read.

        Raises OSError when it cannot be read, InputError when it is no regular file, TransientIOError when it keeps
        changing while it is read.
        """
        real = path.resolve(strict=True)
        for _ in range(_MAX_READS):
            before = _identity(real)
            known = self._recall(real, before)
            if known is not None:
                return known
            started_s = time.time()
            digest = sha256_of(real)
            if _identity(real) == before:
                self._remember(real, before, digest, started_s)
                return digest
        raise TransientIOError(
            "the file changes while it is being read",
            file=path,
            action="Wait until it is written, then run again.",
        )

    def _entry(self, real: Path) -> Path:
        name = hashlib.sha256(os.fsencode(real)).hexdigest()
        return self._folder / name[:2] / f"{name}.json"

    def _recall(self, real: Path, identity: list[int]) -> str | None:
        try:
            entry = json.loads(self._entry(real).read_bytes())
            if entry["identity"] == identity and len(entry["sha256"]) == 64:
                return str(entry["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def _remember(self, real: Path, identity: list[int], digest: str, started_s: float) -> None:
        _, mtime_ns, ctime_ns, _ = identity
        if max(mtime_ns, ctime_ns) / 1e9 > started_s - RACY_S:
            return
        entry = self._entry(real)
        make_dirs(entry.parent)
        write_atomic(entry, json.dumps({"identity": identity, "sha256": digest, "path": os.fspath(real)}).encode())


def _identity(real: Path) -> list[int]:
    """Size, both times and inode; the change time betrays a writer who put the old time stamp back."""
    facts = real.stat()
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(21, "Is a directory", os.fspath(real))
    if not stat.S_ISREG(facts.st_mode):  # reading a pipe may never end, nor a device
        raise InputError(
            "is a pipe or a device, not a regular file", file=real, expected="a file", action="Copy it into a file."
        )
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
