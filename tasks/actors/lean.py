"""A local cluster without those of Ray's processes that nobody asks anything here.

Its autoscaler has nothing to scale, its log monitor has nobody to send lines to, and of the dashboard only the part
that reports usage would run, which is switched off. Each of them took most of a second of the start, one after the
other, and memory and time ever after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ray._private.node import Node

_SPARE = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start them; Ray 2.60 has no settings for this."""


@contextlib.contextmanager
def lean_head() -> Iterator[None]:
    """Around `ray.init`: leave them out. Where Ray no longer starts them so, it starts as it likes."""
    kept = {name: getattr(Node, name) for name in _SPARE if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def _start_nothing(*_arguments: Any, **_options: Any) -> None:
    """In place of what starts a process."""
