"""Giving memory back between jobs, so that a worker's size does not depend on how many it did."""

from __future__ import annotations

import ctypes
import gc
from functools import cache


def release_memory() -> None:
    """Collect garbage and hand free pages back to the system.

    Frames and crops come in ever new sizes and leave holes in glibc's heap: without this a worker grew by a third over
    twenty shards. Fixed thresholds for mmap would keep it small too, but cost a fifth of the generator's speed.
    """
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None  # not glibc
