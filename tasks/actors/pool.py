"""The Ray pool: single-threaded actors that come and go with the nodes of a cluster, behind the `Pool` interface.

Ray restarts and retries nothing (`max_restarts=0, max_task_retries=0`): the driver must know which job killed an
actor. Workers inherit thread caps of one, because actors themselves are the parallelism.

Jobs go only to actors that are up. Those that are not stay asked for, which is what makes an autoscaler act. On a
cluster the number of actors follows the nodes; a local one has a fixed number, and is started anew when it dies.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from singalong.config import Settings
from singalong.errors import DeadlineError, InfraError, ResourceError
from singalong.objects import is_url
from tasks.actors.blame import Suspects
from tasks.actors.connect import connect
from tasks.actors.fleet import GREETING, Slot
from tasks.actors.marker import Marker
from tasks.actors.muster import Muster
from tasks.actors.nodes import Nodes
from tasks.actors.placement import KNOWN, STRANGE, Homes
from tasks.actors.processes import dead_parts, dismiss, shut_down
from tasks.actors.worker import Greeting
from tasks.failures import failure_of
from tasks.jobs import Job, Outcome, WorkerSpec

_MAX_RESTARTS = 3
"""Of a local cluster, with no job done between them."""

Event = tuple[Slot, int, "Future[Any]"]
Done = list[tuple[str, Outcome]]


class RayCluster:
    """The cluster that settings name, or one of our own, which is started at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_local = not (settings.run.ray_address or os.environ.get("RAY_ADDRESS"))
        self._owns_ray = self._connect() if self.is_local else None

    def join(self, *, anew: bool = False) -> bool:
        """Be part of it; True if we own it or our part of it. `anew`: after it died."""
        if self._owns_ray is None or anew:
            self._owns_ray = self._connect()
        return self._owns_ray

    def open_pool(self, spec: WorkerSpec) -> RayPool:
        """Actors on it; closing them ends our part of it."""
        return RayPool(spec, self)

    def close(self) -> None:
        """End our part of a cluster on which there never were actors."""
        if self._owns_ray:
            shut_down((), "", is_silent=False)

    def _connect(self) -> bool:
        settings = self._settings
        return connect(
            settings.run.ray_address,
            share_code=settings.cluster.share_code,
            metrics_port=settings.run.ray_metrics_port,
            job_environments=False,
        )


class RayPool:
    """Actors on a local or existing Ray cluster, behind the `Pool` interface."""

    def __init__(self, spec: WorkerSpec, cluster: RayCluster | None = None) -> None:
        """`cluster`: the one that was begun for it, if one was."""
        self._spec, self._cluster = spec, cluster or RayCluster(spec.settings)
        self._owns_ray = self._cluster.join()
        self._is_local = self._owns_ray and self._cluster.is_local
        self._num_restarts = 0
        self._marker = None if self._is_local or is_url(spec.store) else Marker(Path(spec.store))
        self._begin()

    def _begin(self) -> None:
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._chosen: deque[Slot] = deque()
        self._busy: dict[str, Slot] = {}
        self._deadlines: list[tuple[float, int, Slot]] = []
        self._count = itertools.count()
        self._nodes, self._homes = Nodes(is_local=self._is_local), Homes()
        self._looked_at = self._nodes.known
        files = () if self._is_local else self._spec.files
        files = files if self._marker is None else (self._marker.path, *files)
        self._muster = Muster(self._spec, self._nodes, self._told, is_local=self._is_local, files=files)
        self._suspects = Suspects(self._nodes)
        if self._is_local:
            self._muster.ask_ahead()

    @property
    def size(self) -> int:
        """Number of actors that are up."""
        return self.free_slots() + len(self._busy)

    def free_slots(self) -> int:
        """Number of idle actors."""
        return sum(fleet.num_idle for fleet in self._muster.fleets)

    def choose(self, jobs: Iterable[Job]) -> int | None:
        """Which of these jobs to start next, see `tasks.actors.placement`; None: no actor is free for any."""
        best, best_rank, wanted = None, STRANGE + 1, []
        for number, job in enumerate(jobs):
            fleet = self._muster.fleet_of(job)
            if not fleet.num_idle:
                wanted.append(fleet)
                continue
            rank = KNOWN if self._is_local else self._homes.rank(job, fleet.idle.keys())
            if rank < best_rank:
                best, best_rank = (number, job, fleet), rank
            if rank == KNOWN:
                break
        if best is None:
            self._muster.want(wanted)
            return None
        number, job, fleet = best
        node = self._homes.choose(job, {node: len(slots) for node, slots in fleet.idle.items()})
        self._homes.sent(job, node)
        self._chosen.append(fleet.take(node))
        return number

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
        """Hand a job to the actor that was chosen for it."""
        slot = self._chosen.popleft()
        slot.start(job_id, job, self._told)
        slot.deadline = time.monotonic() + timeout_s
        self._busy[job_id] = slot
        heapq.heappush(self._deadlines, (slot.deadline, next(self._count), slot))

    def wait(self, timeout_s: float) -> Done:
        """Outcomes of finished jobs, and failures of dead actors and of jobs past their deadline.

        Raises InfraError when there was no actor for `cluster.wait_for_nodes_s`, when none comes up wherever it is
        tried, when the cluster's head is silent, when our own cluster keeps dying; UsageError for a node that sees
        other files than this one or runs other code.
        """
        done = self._look_around()
        if done:
            return done
        for slot, turn, future in self._arrivals(timeout_s):
            if slot not in self._muster:
                continue  # dismissed: too late, or on a node that was given up
            if turn == GREETING:
                self._greeted(slot, future)
            elif turn == slot.turn and slot.job_id is not None:
                done += self._collect(slot, slot.job_id, future)
        done += self._expire()
        return done + self._look_around()  # before the next job goes to an actor that will never come up

    def refresh(self, job_id: str) -> None:
        """Replace the actor that last ran this job, if it is idle."""
        for slot in self._muster.idle():
            if slot.last_job_id == job_id:
                self._muster.drop(slot)
                return

    def close(self) -> None:
        """Kill the actors, and the local cluster if this pool started it."""
        slots, is_silent = self._muster.slots(), self._nodes.is_silent()
        self._nodes.close(is_silent=is_silent)
        if self._marker is not None:
            self._marker.close()
        if not self._is_local and not is_silent:  # a local one ends with all that is in it
            for slot in slots:
                dismiss(slot, self._nodes.here)
        if self._owns_ray:
            shut_down(slots, self._nodes.here, is_silent=is_silent)

    def _told(self, slot: Slot, turn: int, future: Future[Any]) -> None:
        self._events.put((slot, turn, future))

    def _arrivals(self, timeout_s: float) -> Iterator[Event]:
        """What has happened; waits for the first, but not beyond a deadline."""
        if self._deadlines:
            timeout_s = min(timeout_s, self._deadlines[0][0] - time.monotonic())
        try:
            yield self._events.get(timeout=max(0.0, timeout_s))
            while True:
                yield self._events.get_nowait()
        except Empty:
            return

    def _look_around(self) -> Done:
        """Notice what died, what came and what is missing."""
        if self._is_local:
            dead = dead_parts()
            if dead:
                return self._restart(dead)
            self._muster.tend(is_idle=not self._busy)
            return []
        self._nodes.check_head()
        if self._looked_at is not self._nodes.known:
            self._looked_at = self._nodes.known
            for slot in [slot for slot in self._busy.values() if self._suspects.is_on_dead_node(slot)]:
                self._suspect(slot, "its node was lost")
        for node in self._muster.tend(is_idle=not self._busy and not self._suspects):
            self._homes.forget(node)
        return self._suspects.judged()

    def _restart(self, dead: list[str]) -> Done:
        """Start our own cluster anew after a part of it died; what ran failed. InfraError when that goes on and on."""
        self._num_restarts += 1
        if self._num_restarts > _MAX_RESTARTS:
            raise InfraError(
                f"Ray's own processes keep dying: {', '.join(dead)}",
                action="Look at /tmp/ray/session_latest/logs, then run again; finished work is kept.",
            )
        lost = list(self._busy)
        self._nodes.close(is_silent=True)
        shut_down(self._muster.slots(), self._nodes.here, is_silent=False)
        self._cluster.join(anew=True)
        self._begin()
        failure = failure_of(InfraError(f"Ray died while this was being done: {', '.join(dead)} ended"))
        return [(job_id, Outcome(failure=failure)) for job_id in lost]

    def _greeted(self, slot: Slot, future: Future[Greeting]) -> None:
        try:
            self._muster.arrived(slot, future.result())
        except RayError as error:
            self._muster.failed_to_start(slot, error)

    def _collect(self, slot: Slot, job_id: str, future: Future[Outcome]) -> Done:
        try:
            outcome = future.result()
        except OutOfMemoryError as error:
            outcome = Outcome(failure=failure_of(ResourceError(f"the worker ran out of memory: {error}")))
            self._muster.drop(slot)
        except RayActorError as error:
            reason = str(error).splitlines()[0]
            if not self._is_local:
                self._suspect(slot, reason, preempted=error.preempted)
                return []
            outcome = Outcome(failure=failure_of(InfraError(f"the worker died while doing this: {reason}")))
            self._muster.drop(slot)
        except RayError as error:
            outcome = Outcome(failure=failure_of(error))
            self._muster.drop(slot)
        else:
            self._num_restarts = 0
            self._muster.rest(slot)
        del self._busy[job_id]
        return [(job_id, outcome)]

    def _suspect(self, slot: Slot, reason: str, *, preempted: bool = False) -> None:
        """An actor died, or its node did: it is found out which before anybody is blamed."""
        assert slot.job_id is not None
        del self._busy[slot.job_id]
        self._suspects.add(slot, slot.job_id, reason, preempted=preempted)
        self._muster.drop(slot)

    def _expire(self) -> Done:
        done, now = [], time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, slot = heapq.heappop(self._deadlines)
            job_id = slot.job_id
            if job_id is None or self._busy.get(job_id) is not slot or slot.deadline > now:
                continue  # it has ended, and the slot may have gone on to another
            del self._busy[job_id]
            self._muster.drop(slot)
            error = DeadlineError(
                "did not finish before its deadline and was stopped",
                action="Raise the deadline with --set run.shard_timeout_s=SECONDS.",
            )
            done.append((job_id, Outcome(failure=failure_of(error))))
        return done
