"""The nodes of a cluster as its head tells of them, asked for in a thread so that a silent head holds nobody up."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import ray

from singalong.errors import InfraError
from tasks.actors.probe import listens
from tasks.actors.resources import Node

_POLL_S = 2.0
HEAD_PATIENCE_S = 30.0
"""Ray itself ends this process after 60 s without a head; a head that keeps its state elsewhere may be back before."""
_PROBE_KEPT_S = 1.0


class Nodes:
    """What nodes there are; `known` changes as they come and go."""

    def __init__(self, *, is_local: bool) -> None:
        """`is_local`: a cluster of one node, which neither comes nor goes."""
        self.known = _ask()
        self.here: str = ray.get_runtime_context().get_node_id()
        self._head: str = ray.get_runtime_context().gcs_address
        self._told_at = time.monotonic()
        self._probes: dict[str, tuple[float, bool]] = {}
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="ray-nodes", daemon=True)
        if not is_local:
            self._poller.start()

    def check_head(self) -> None:
        """Raise InfraError when the head has been silent for long."""
        silent_s = time.monotonic() - self._told_at
        if silent_s > HEAD_PATIENCE_S:
            raise InfraError(
                f"the head of the Ray cluster has not answered for {silent_s:.0f} s",
                action="Start it again, then give the same command again to go on; finished work is kept.",
            )

    def is_silent(self) -> bool:
        """Whether the head has not answered for long, or is gone: Ray's own calls would wait for it."""
        return time.monotonic() - self._told_at > HEAD_PATIENCE_S / 3 or not listens(self._head)

    def is_lost(self, node_id: str) -> bool:
        """Whether a node is gone: its head says so, or nobody listens there. Ray itself takes up to a minute to say."""
        node = self.known.get(node_id)
        if node is None:
            return False  # it has just joined
        if not node.alive:
            return True
        asked_at, lost = self._probes.get(node_id, (float("-inf"), False))
        if time.monotonic() - asked_at > _PROBE_KEPT_S:
            lost = not listens(f"{node.address}:{node.port}")
            self._probes[node_id] = (time.monotonic(), lost)
        return lost

    def name(self, node_id: str) -> str:
        """A node as people know it."""
        node = self.known.get(node_id)
        return node.address if node is not None else node_id[:8]

    def close(self, *, is_silent: bool) -> None:
        """Ask no more: where nothing is connected, asking would start a cluster. A silent head is not waited for."""
        self._ended.set()
        if self._poller.is_alive() and not is_silent:
            self._poller.join(2 * _POLL_S)

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_S):
            with contextlib.suppress(Exception):  # the age of what is known says it all
                self.known = _ask()
                self._told_at = time.monotonic()


def _ask() -> dict[str, Node]:
    told: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {
        node["NodeID"]: Node(
            node_id=node["NodeID"],
            address=node["NodeManagerAddress"],
            port=node["NodeManagerPort"],
            alive=node["Alive"],
            resources=node["Resources"],
            labels=node.get("Labels") or {},
        )
        for node in told
    }
