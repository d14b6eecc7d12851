"""Who is to blame when an actor dies in its work: the shard it was at, or the node, with which all its actors died.

Ray notices a dead actor within seconds, and a dead node up to a minute later. So for a while after an actor's death its
node is looked at: if the head gives it up, or nobody listens there any more, the node was lost, and the shard goes to
another without being blamed (see `tasks.dispatch`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from singalong.errors import InfraError
from tasks.actors.fleet import Slot
from tasks.actors.nodes import Nodes
from tasks.failures import failure_of
from tasks.jobs import Outcome

_VERDICT_S = 5.0
"""A node that goes down ends its workers first, and stops to listen seconds later."""


@dataclass(frozen=True)
class _Suspect:
    node: str
    job_id: str
    reason: str
    preempted: bool
    since: float


class Suspects:
    """Jobs whose actor died and of which it is not yet known why."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._waiting: list[_Suspect] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, slot: Slot, job_id: str, reason: str, *, preempted: bool) -> None:
        """A job whose actor died."""
        self._waiting.append(_Suspect(slot.node, job_id, reason, preempted, time.monotonic()))

    def is_on_dead_node(self, slot: Slot) -> bool:
        """Whether the cluster's head has given an actor's node up."""
        node = self._nodes.known.get(slot.node)
        return node is not None and not node.alive

    def judged(self) -> list[tuple[str, Outcome]]:
        """Failures of those of which it is known by now."""
        done, still = [], []
        for suspect in self._waiting:
            lost = suspect.preempted or self._nodes.is_lost(suspect.node)
            if lost or time.monotonic() - suspect.since > _VERDICT_S:
                done.append((suspect.job_id, self._outcome(suspect, lost=lost)))
            else:
                still.append(suspect)
        self._waiting = still
        return done

    def _outcome(self, suspect: _Suspect, *, lost: bool) -> Outcome:
        name = self._nodes.name(suspect.node)
        if lost:
            return Outcome(failure=failure_of(InfraError(f"the node {name} was lost while doing this")), node_lost=True)
        return Outcome(failure=failure_of(InfraError(f"the worker died on {name} while doing this: {suspect.reason}")))
