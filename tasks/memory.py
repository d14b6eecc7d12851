"""Giving memory back between jobs, so that a worker's size does not depend on how many it did."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa

_THOROUGH = 64
_count = itertools.count(1)


def release_memory() -> None:
    """Collect garbage and hand free pages back to the system.

    What is left was there before and stays: modules, networks, tables. To look through it again took a sixth of a
    second a job, so it is set aside, and looked through every 64 jobs only, should some of it have become garbage.
    Frames and crops come in ever new sizes and leave holes in glibc's heap: without this a worker grew by a third over
    twenty shards. Fixed thresholds for mmap would keep it small too, but cost a fifth of the generator's speed.
    """
    if next(_count) % _THOROUGH == 0:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def release_code() -> None:
    """Hand back the pages of libraries' code that this process has touched: most of it was for its start alone.

    What is needed again comes back from the system's cache at the first touch. Called once all is loaded: a third of
    220 MB is ever touched again. Only mappings of files that were never written to are handed back: the linker's
    and a debugger's changes to code would be lost.
    """
    madvise = _madvise()
    if madvise is None:
        return
    with contextlib.suppress(OSError):  # no such files but on Linux
        for start, end in _clean_code(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
            madvise(start, end - start, _MADV_DONTNEED)  # where it will not, the pages stay


def _clean_code(smaps: str) -> Iterator[tuple[int, int]]:
    """Address ranges of executable mappings of files none of whose pages is this process's own."""
    mapping: re.Match[str] | None = None
    for line in smaps.splitlines():
        mapping = _MAPPING.match(line) or mapping
        if not line.startswith("Anonymous:") or mapping is None or int(line.split()[1]):
            continue
        if mapping["kind"] == "r-xp" and mapping["inode"] != "0":
            yield int(mapping["start"], 16), int(mapping["end"], 16)


_MADV_DONTNEED = 4
_MAPPING = re.compile(r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<kind>\S+) \S+ \S+ (?P<inode>\d+)\s")


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes, madvise.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    found: Callable[[int, int, int], int] = madvise
    return found


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None  # not glibc


def keep_pandas_out() -> None:
    """Have pyarrow do without pandas in this process, which it imports at the first array: 30 MB and half a second.

    Workers make no data frames; pandas itself can still be imported afterwards.
    """
    blocker = _WithoutPandas()
    sys.meta_path.insert(0, blocker)
    try:
        pa.array([])  # pyarrow looks for pandas once, and remembers
    finally:
        sys.meta_path.remove(blocker)


class _WithoutPandas:
    """An import hook."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002 - the protocol's
        """Refuse pandas, leave all else to others."""
        if name == "pandas":
            raise ImportError(name)


def peak_rss_mb() -> float:
    """Most memory this process ever held, MB.

    Not getrusage's: that counts what the parent held when it started this process.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
