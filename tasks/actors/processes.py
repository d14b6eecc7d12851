"""Actors' processes on this machine, and what died of a cluster that this process started."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Collection
from typing import Any

import ray
from ray.exceptions import RayError

from tasks.actors.fleet import Slot
from tasks.actors.signals import keeping_signal_handlers

_VITAL_PARTS = frozenset({"raylet", "gcs_server"})
_SILENT_S = 5.0


def dead_parts() -> list[str]:
    """What died of the cluster this process started: new actors would wait for ever, or Ray end this process."""
    node: Any = ray._private.worker._global_node
    return sorted({kind for kind, _ in node.dead_processes() if kind in _VITAL_PARTS}) if node is not None else []


def shut_down(slots: Collection[Slot], here: str, *, is_silent: bool) -> None:
    """End our own part of the cluster, dead or alive, and its workers on this machine for certain."""
    processes = [_process_of(slot, here) for slot in slots]
    with keeping_signal_handlers():
        ending = threading.Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
        if is_silent:  # Ray would ask its head for a minute, and then end this process
            ending.start()
            ending.join(_SILENT_S)
        else:
            ray.shutdown()
    # Not before: Ray would wonder aloud why they died.
    for process in processes:
        end(process)


def dismiss(slot: Slot, here: str) -> None:
    """End an actor; `here`: id of this machine's node."""
    process = _process_of(slot, here)
    with contextlib.suppress(RayError):
        ray.kill(slot.actor)
    end(process)


def _process_of(slot: Slot, here: str) -> int | None:
    """A descriptor of an actor's process on this machine; its number may be another's by the time of `end`."""
    process = None
    if slot.greeting is not None and slot.greeting.node == here:
        with contextlib.suppress(ProcessLookupError, AttributeError):  # Linux has it; elsewhere Ray's word must do
            process = os.pidfd_open(slot.greeting.pid)
    return process


def end(process: int | None) -> None:
    """End a process for certain: one that hangs may not hear Ray."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
