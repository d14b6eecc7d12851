"""Giving memory back between jobs, so that a worker's size does not depend on how many it did."""

from __future__ import annotations

import ctypes
import gc
import itertools
import re
import sys
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
