"""The Ray pool: one single-threaded actor a slot.

Ray restarts and retries nothing (`max_restarts=0, max_task_retries=0`): the driver must know which job killed an
actor. Workers inherit thread caps of one, because actors themselves are the parallelism.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from singalong.errors import DeadlineError, InfraError, ResourceError
from tasks.actors.connect import connect, keeping_signal_handlers, signals_as_raised
from tasks.actors.processes import dead_parts, dismiss, end, process_of
from tasks.actors.worker import WorkerActor
from tasks.failures import failure_of
from tasks.jobs import Job, Outcome, WorkerSpec

_MAX_RESTARTS = 3
"""Of a local cluster, with no job done between them."""


@dataclass
class _Slot:
    actor: Any
    whereabouts: Any
    job_id: str | None = None
    ref: Any = None
    deadline: float = 0.0


class RayPool:
    """Actors on a local or existing Ray cluster, behind the `Pool` interface."""

    def __init__(
        self, spec: WorkerSpec, *, num_actors: int | None, gpus_per_actor: float, address: str | None = None
    ) -> None:
        self._address = address
        self._owns_ray = connect(address, metrics_port=spec.settings.run.ray_metrics_port)
        self._is_local = self._owns_ray and not (address or os.environ.get("RAY_ADDRESS"))
        self._spec = spec
        self._num_restarts = 0
        cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus = cluster.get("GPU", 0.0)
        self._options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}
        if num_gpus:
            self._options |= {"num_gpus": gpus_per_actor}
        ceiling = int(num_gpus / gpus_per_actor) if num_gpus else int(cluster.get("CPU", 1))
        size = max(1, min(num_actors or ceiling, ceiling))
        self._slots = [self._new_slot() for _ in range(size)]
        self._last_slot: dict[str, _Slot] = {}

    @property
    def size(self) -> int:
        """Number of actors."""
        return len(self._slots)

    def free_slots(self) -> int:
        """Number of idle actors."""
        return sum(slot.job_id is None for slot in self._slots)

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
        """Hand a job to an idle actor."""
        slot = next(slot for slot in self._slots if slot.job_id is None)
        slot.job_id, slot.ref = job_id, slot.actor.run.remote(job)
        slot.deadline = time.monotonic() + timeout_s
        self._last_slot[job_id] = slot

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
        """Outcomes of finished jobs, and failures of dead actors and of jobs past their deadline."""
        busy = {slot.ref: slot for slot in self._slots if slot.job_id is not None}
        if not busy:
            return []
        if self._is_local and (dead := dead_parts()):
            return self._restart(dead)
        with signals_as_raised():
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=timeout_s)
        done = [self._collect(busy[ref]) for ref in ready]
        now = time.monotonic()
        done += [self._expire(slot) for slot in self._slots if slot.job_id is not None and now > slot.deadline]
        if self._is_local and (dead := dead_parts()):  # before the next job goes to an actor that will never come up
            done += self._restart(dead)
        return done

    def refresh(self, job_id: str) -> None:
        """Replace the actor that last ran this job, if it is idle."""
        slot = self._last_slot.get(job_id)
        if slot is not None and slot.job_id is None:
            self._replace(slot)

    def close(self) -> None:
        """Kill the actors, and the local cluster if this pool started it."""
        slots, self._slots = self._slots, []
        if not self._is_local:  # ours ends with all that is in it, and may be dying, when it would not answer
            for slot in slots:
                end(dismiss(slot.actor, slot.whereabouts))
        if self._owns_ray:
            _shut_down(slots)

    def _new_slot(self) -> _Slot:
        actor: Any = ray.remote(**self._options)(WorkerActor).remote(self._spec)
        return _Slot(actor, actor.whereabouts.remote())

    def _replace(self, slot: _Slot) -> None:
        end(dismiss(slot.actor, slot.whereabouts))
        fresh = self._new_slot()
        slot.actor, slot.whereabouts = fresh.actor, fresh.whereabouts

    def _restart(self, dead: list[str]) -> list[tuple[str, Outcome]]:
        """Start our own cluster anew after a part of it died; what ran failed. InfraError when that goes on and on."""
        self._num_restarts += 1
        if self._num_restarts > _MAX_RESTARTS:
            raise InfraError(
                f"Ray's own processes keep dying: {', '.join(dead)}",
                action="Look at /tmp/ray/session_latest/logs, then run again; finished work is kept.",
            )
        slots, self._slots = self._slots, []
        _shut_down(slots)
        connect(self._address, metrics_port=self._spec.settings.run.ray_metrics_port)
        self._slots = [self._new_slot() for _ in slots]
        self._last_slot.clear()
        failure = failure_of(InfraError(f"Ray died while this was being done: {', '.join(dead)} ended"))
        return [(slot.job_id, Outcome(failure=failure)) for slot in slots if slot.job_id is not None]

    def _collect(self, slot: _Slot) -> tuple[str, Outcome]:
        job_id = slot.job_id
        assert job_id is not None
        try:
            with signals_as_raised():
                outcome: Outcome = ray.get(slot.ref)
            self._num_restarts = 0
        except OutOfMemoryError as error:
            outcome = Outcome(failure=failure_of(ResourceError(f"the worker ran out of memory: {error}")))
            self._replace(slot)
        except RayActorError as error:
            reason = str(error).splitlines()[0]
            outcome = Outcome(failure=failure_of(InfraError(f"the worker died while doing this: {reason}")))
            self._replace(slot)
        except RayError as error:
            outcome = Outcome(failure=failure_of(error))
            self._replace(slot)
        slot.job_id = slot.ref = None
        return job_id, outcome

    def _expire(self, slot: _Slot) -> tuple[str, Outcome]:
        job_id = slot.job_id
        assert job_id is not None
        self._replace(slot)
        slot.job_id = slot.ref = None
        error = DeadlineError(
            "did not finish before its deadline and was stopped",
            action="Raise the deadline with --set run.shard_timeout_s=SECONDS.",
        )
        return job_id, Outcome(failure=failure_of(error))


def _shut_down(slots: Collection[_Slot]) -> None:
    """End our own cluster, dead or alive, and its workers for certain."""
    processes = [process_of(slot.whereabouts) for slot in slots]
    with keeping_signal_handlers():
        ray.shutdown()
    # Not before: Ray would wonder aloud why they died.
    for process in processes:
        end(process)
