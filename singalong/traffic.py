"""What goes between this process and object stores, and what the cache on this disk saves of it: counted as it happens.

One count for each process, for whoever carries it on: `take` hands out what came since it was last called, once, so
that a worker's counts and a driver's in the same process never count anything twice.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping

Traffic = dict[tuple[str, str], float]
"""By name of a counter and value of its label; only what is not 0."""

OPERATIONS = ("get", "head", "put", "copy", "list", "delete")
DIRECTIONS = ("fetched", "sent")
KINDS = ("media", "work", "cache")
"""Of what a machine keeps of an object store: clips and songs, finished shards, what is prepared."""
COUNTERS = {
    "object_requests": ("operation", OPERATIONS, "Requests to object stores, tries again and parts of uploads too"),
    "object_retries": ("operation", OPERATIONS, "Requests to object stores that failed and were made again"),
    "object_seconds": ("operation", OPERATIONS, "Time spent in calls to object stores, all threads together"),
    "object_wait_seconds": ("operation", OPERATIONS, "What of it was spent waiting before trying again"),
    "object_bytes": ("direction", DIRECTIONS, "Bytes fetched from object stores, and sent there"),
    "cache_hits": ("kind", KINDS, "Times that what lies in an object store was found on this disk"),
    "cache_misses": ("kind", KINDS, "Times that it had to be fetched"),
    "cache_evictions": ("kind", KINDS, "Entries removed from this disk to make room"),
    "cache_evicted_bytes": ("kind", KINDS, "Bytes of these entries"),
}
"""By name: the label, its values, what is counted."""

_counts: defaultdict[tuple[str, str], float] = defaultdict(float)
_lock = threading.Lock()


def count(name: str, label: str, amount: float = 1) -> None:
    """So much more of something; `name` is one of `COUNTERS`."""
    assert label in COUNTERS[name][1], (name, label)
    with _lock:
        _counts[name, label] += amount


def take() -> Traffic:
    """What was counted in this process since this was last called."""
    with _lock:
        taken = {key: amount for key, amount in _counts.items() if amount}
        _counts.clear()
    return taken


def rows_of(traffic: Mapping[tuple[str, str], float]) -> list[tuple[str, str, float]]:
    """As it can be written to a file."""
    return [(name, label, amount) for (name, label), amount in sorted(traffic.items())]


def traffic_of(rows: Iterable[object]) -> Traffic:
    """What was written; what is no row of ours, or of a counter that is no longer known, is left out."""
    traffic: Traffic = {}
    for row in rows:
        match row:
            case [str(name), str(label), int() | float() as amount] if name in COUNTERS and label in COUNTERS[name][1]:
                traffic[name, label] = float(amount)
    return traffic


def _forget() -> None:
    """A forked child has none of its parent's counts, nor a lock that a thread of the parent holds."""
    global _lock
    _lock = threading.Lock()
    _counts.clear()


os.register_at_fork(after_in_child=_forget)
