"""Actors' processes on this machine, and what died of a cluster that this process started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

_VITAL_PARTS = frozenset({"raylet", "gcs_server"})


def dead_parts() -> list[str]:
    """What died of the cluster this process started: new actors would wait for ever, or Ray end this process."""
    node: Any = ray._private.worker._global_node
    return sorted({kind for kind, _ in node.dead_processes() if kind in _VITAL_PARTS}) if node is not None else []


def dismiss(actor: Any, whereabouts: Any) -> int | None:
    """Have Ray end an actor; returns its `process_of`."""
    process = process_of(whereabouts)
    ray.kill(actor)
    return process


def process_of(whereabouts: Any) -> int | None:
    """A descriptor of an actor's process on this machine; its number may be another's by the time of `end`."""
    try:
        host, pid = ray.get(whereabouts, timeout=0)
    except (RayError, GetTimeoutError):
        host, pid = "", 0  # it died, or never came up
    process = None
    if host == socket.gethostname():
        with contextlib.suppress(ProcessLookupError, AttributeError):  # Linux has it; elsewhere Ray's word must do
            process = os.pidfd_open(pid)
    return process


def end(process: int | None) -> None:
    """End a process for certain: one that hangs may not hear Ray."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
