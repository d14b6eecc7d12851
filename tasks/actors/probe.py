"""Whether anybody listens at an address: known within a second, where Ray would wait for minutes."""

from __future__ import annotations

import contextlib
import socket

_PROBE_S = 1.0


def listens(address: str) -> bool:
    """Whether anybody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError), socket.create_connection((host.strip("[]"), int(port)), _PROBE_S):
        return True
    return False
