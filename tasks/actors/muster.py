"""How many actors there are, and where: asked for as jobs want them and as nodes come, let go as nodes leave.

Without `num_actors` there are as many as the nodes hold that are there; with it so many are asked for, also of nodes
that are yet to come. Stages that take different shares of a node take turns: actors that nobody wants any more make
room for those that are wanted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from ray.exceptions import RayActorError, RayError, RuntimeEnvSetupError

from singalong.errors import InfraError, UsageError
from tasks.actors.code import code_id
from tasks.actors.fleet import Fleet, Slot, Told
from tasks.actors.nodes import Nodes
from tasks.actors.processes import dismiss
from tasks.actors.resources import Node, Share, shares_of, stage_of
from tasks.actors.worker import Greeting
from tasks.jobs import Job, WorkerSpec

_TEND_S = 1.0
_SPEAK_S, _SPEAK_OF_START_S, _SPEAK_AGAIN_S = 2.0, 30.0, 60.0
_STARTING_S = 120.0
"""A node that has come is given so long for its first worker, however long was waited for it."""
_MAX_FAILED_STARTS = 3
_MAX_SHUNNED = 3
"""With so many nodes left out no more are asked for: an autoscaler would bring others like them for ever."""
_MAX_REASON = 300
_log = logging.getLogger("singalong.cluster")


class Muster:
    """All fleets of a pool."""

    def __init__(self, spec: WorkerSpec, nodes: Nodes, told: Told, *, is_local: bool, files: Sequence[str]) -> None:
        """`files`: what every actor must see on its disk."""
        self._spec, self._nodes, self._told, self._is_local = spec, nodes, told, is_local
        self._files = tuple(files)
        self._fleets: dict[Share, Fleet] = {}
        self._wanted: list[Fleet] = []
        self._known: Mapping[str, Node] = nodes.known
        self._first = {node.node_id for node in nodes.known.values() if node.alive}
        self._shares = shares_of(spec, nodes.known.values(), is_local=is_local)
        self._shunned: set[str] = set()
        self._tend_at = 0.0
        self._speak_at = 0.0
        self._is_proven = False

    # ---- who is there

    @property
    def fleets(self) -> Sequence[Fleet]:
        """All fleets."""
        return tuple(self._fleets.values())

    def fleet_of(self, job: Job) -> Fleet:
        """The actors that do such jobs."""
        return self._fleet(self._shares[stage_of(job)])

    def _fleet(self, share: Share) -> Fleet:
        if share not in self._fleets:
            self._fleets[share] = Fleet(share, self._spec, self._files, self._told)
        return self._fleets[share]

    def __contains__(self, slot: Slot) -> bool:
        return slot in self._fleets[slot.share].slots

    def slots(self) -> list[Slot]:
        """All actors, up or not."""
        return [slot for fleet in self._fleets.values() for slot in fleet.slots]

    def idle(self) -> Iterator[Slot]:
        """Actors with nothing to do."""
        return (slot for fleet in self._fleets.values() for slots in fleet.idle.values() for slot in slots)

    # ---- who comes and goes

    def want(self, fleets: Sequence[Fleet]) -> None:
        """Jobs wait for actors of these fleets, and no other jobs do."""
        wanted = list(dict.fromkeys(fleets))
        if wanted != self._wanted:
            now = time.monotonic()
            for fleet in wanted:
                if fleet not in self._wanted and fleet.empty_since is not None:
                    fleet.empty_since = now
            self._wanted, self._tend_at, self._speak_at = wanted, 0.0, 0.0

    def ask_ahead(self) -> None:
        """Ask for all actors of a local cluster: they come up before there is a job for them."""
        self.want([self._fleet(self._shares["lipsync"])])
        self.tend(is_idle=False)

    def rest(self, slot: Slot) -> None:
        """An actor has done its job."""
        self._fleets[slot.share].rest(slot)

    def drop(self, slot: Slot) -> None:
        """End an actor; another takes its place."""
        dismiss(slot, self._nodes.here)
        self._fleets[slot.share].drop(slot)
        self._tend_at = 0.0

    def arrived(self, slot: Slot, greeting: Greeting) -> None:
        """An actor is up. UsageError if it cannot work, and its node was there at the start or no other's could."""
        problem = None if self._is_local else self._problem(greeting)
        self._fleets[slot.share].arrived(slot, greeting)
        if problem is None:
            self._is_proven = True
            return
        if greeting.node in self._first or not self._is_proven:
            raise problem
        _log.warning("left out, %s", problem)
        self._shunned.add(greeting.node)
        for other in self.slots():
            if other.greeting is None or other.node in self._shunned:
                self.drop(other)

    def failed_to_start(self, slot: Slot, error: RayError) -> None:
        """An actor never came up. InfraError when they all say why, and none is up."""
        fleet = self._fleets[slot.share]
        fleet.failed_to_start(slot)
        says_why = isinstance(error, RuntimeEnvSetupError) or (
            isinstance(error, RayActorError) and error.actor_init_failed
        )
        if says_why and fleet.num_failed_starts >= _MAX_FAILED_STARTS and fleet.empty_since is not None:
            raise InfraError(
                f"workers do not start: {' '.join(str(error).split())[-_MAX_REASON:]}",
                action="All nodes need what this machine has installed.",
            )

    def tend(self, *, is_idle: bool) -> list[str]:
        """Ask for actors that are missing, let go of those too many; returns the nodes that were lost meanwhile.

        Raises InfraError when there has been no actor for too long; `is_idle`: no actor is at work.
        """
        now, known = time.monotonic(), self._nodes.known
        if known is self._known and now < self._tend_at:
            return []
        lost = [name for name, node in self._known.items() if node.alive and _is_dead(known, name)]
        came = [node for name, node in known.items() if node.alive and name not in self._known]
        self._known, self._tend_at = known, now + _TEND_S
        self._shares = shares_of(self._spec, known.values(), is_local=self._is_local)
        for slot in self.slots():
            if slot.job_id is None and slot.greeting is not None and _is_dead(known, slot.node):
                self._fleets[slot.share].drop(slot)
        for fleet in self._wanted:
            self._fill(fleet, now)
            if fleet.empty_since is not None and fleet.share.room(came):
                fleet.starts_until = now + _STARTING_S
        if is_idle:
            self._check_patience(now)
        return lost

    def _fill(self, fleet: Fleet, now: float) -> None:
        missing = self._size(fleet) - len(fleet.slots)
        if missing > 0:
            self._make_room()
        for _ in range(missing if now >= fleet.ask_again_at else 0):
            fleet.ask(self._shunned)
        spare = [slot for slot in fleet.slots if slot.greeting is None][: max(0, -missing)]
        for slot in spare:
            dismiss(slot, self._nodes.here)
            fleet.drop(slot)

    def _size(self, fleet: Fleet) -> int:
        nodes = [node for node in self._known.values() if node.node_id not in self._shunned]
        room, most = max(1, fleet.share.room(nodes)), fleet.share.most
        is_all_there = self._is_local or len(self._shunned) >= _MAX_SHUNNED
        return min(room, most or room) if is_all_there else most or room

    def _make_room(self) -> None:
        """End actors that nobody wants, or is yet to get: what they hold is wanted by others."""
        for slot in self.slots():
            if slot.job_id is None and self._fleets[slot.share] not in self._wanted:
                dismiss(slot, self._nodes.here)
                self._fleets[slot.share].drop(slot)

    def _check_patience(self, now: float) -> None:
        waited = [(now - fleet.empty_since, fleet) for fleet in self._wanted if fleet.empty_since is not None]
        if len(waited) < len(self._wanted) or not waited:
            return
        waited_s, fleet = min(waited, key=lambda pair: pair[0])
        patience_s = self._spec.settings.cluster.wait_for_nodes_s
        if waited_s > patience_s and now > fleet.starts_until:
            raise InfraError(
                f"no node has had room for a worker ({fleet.share}) for {waited_s:.0f} s; {self._there()}",
                action="Add such a node, or ask for less (cluster.lipsync.gpus, .cpus ...), or wait longer "
                "(--set cluster.wait_for_nodes_s=SECONDS); then run again.",
            )
        there_is_room = fleet.share.room(self._known.values())
        if waited_s > (_SPEAK_OF_START_S if there_is_room else _SPEAK_S) and now > self._speak_at:
            self._speak_at = now + _SPEAK_AGAIN_S
            if there_is_room:
                says = f"no worker ({fleet.share}) is up yet: {len(fleet.slots)} start, or wait for what others hold"
            else:
                says = (
                    f"no node has room for a worker ({fleet.share}): {len(fleet.slots)} asked for, waiting for a node"
                )
            _log.warning("%s; waited %.0f of %.0f s; %s", says, waited_s, patience_s, self._there())

    def _there(self) -> str:
        nodes = [node for node in self._known.values() if node.alive]
        held = [f"{node.address}: " + ", ".join(_held(node)) for node in nodes]
        return "the cluster has " + ("; ".join(held) or "no nodes")

    def _problem(self, greeting: Greeting) -> UsageError | None:
        name = f"{self._nodes.name(greeting.node)} ({greeting.host})"
        if greeting.unseen:
            return UsageError(
                f"node {name} does not see this",
                file=greeting.unseen[0],
                action="Nodes need the same disk under the same path, or everything at a URL (run.store=s3://...).",
            )
        if greeting.code != code_id():
            return UsageError(
                f"node {name} runs another version of singalong",
                value=greeting.code,
                expected=code_id(),
                action="Install the same version there, or hand ours over (--set cluster.share_code=true).",
            )
        return None


def _is_dead(known: Mapping[str, Node], name: str) -> bool:
    """Whether the head has given a node up; of one that just joined it is not known yet."""
    return name in known and not known[name].alive


def _held(node: Node) -> list[str]:
    return [f"{node.resources[name]:g} {name}" for name in ("CPU", "GPU") if node.resources.get(name)] or ["no CPU"]
