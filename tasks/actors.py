"""The Ray pool: one single-threaded actor a slot. The only file that imports ray.

Ray restarts and retries nothing (`max_restarts=0, max_task_retries=0`): the driver must know which job killed an
actor. Workers inherit thread caps of one, because actors themselves are the parallelism.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported: no telemetry
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves workers behind anything else, into deadlines

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError

from singalong.errors import DeadlineError, InfraError, ResourceError
from tasks.failures import failure_of
from tasks.jobs import Job, Outcome, WorkerSpec

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER_ENVIRONMENT = dict.fromkeys(_THREAD_SETTINGS, "1")
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # only rows travel; Ray's smallest store is ample


class WorkerActor:
    """What runs inside an actor process: a `Worker`, made there, so that models load there."""

    def __init__(self, spec: WorkerSpec) -> None:
        import cv2

        from models.engine import limit_threads
        from tasks.worker import Worker

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
        cv2.setNumThreads(1)
        limit_threads()
        self._worker = Worker(spec)

    def run(self, job: Job) -> Outcome:
        """Do one job."""
        return self._worker.run(job)

    def whereabouts(self) -> tuple[str, int]:
        """Host and process id."""
        return socket.gethostname(), os.getpid()


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
        self._owns_ray = _connect(address)
        self._spec = spec
        cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        num_gpus = cluster.get("GPU", 0.0)
        self._options: dict[str, Any] = {
            "num_cpus": 1,
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": 1,
        }
        if num_gpus:
            self._options |= {"num_gpus": gpus_per_actor}
        ceiling = int(num_gpus / gpus_per_actor) if num_gpus else int(cluster.get("CPU", 1))
        size = max(1, min(num_actors or ceiling, ceiling))
        self._slots = [_Slot(*self._new_actor()) for _ in range(size)]
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
        with _signals_as_raised():
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=timeout_s)
        done = [self._collect(busy[ref]) for ref in ready]
        now = time.monotonic()
        done += [self._expire(slot) for slot in self._slots if slot.job_id is not None and now > slot.deadline]
        return done

    def refresh(self, job_id: str) -> None:
        """Replace the actor that last ran this job, if it is idle."""
        slot = self._last_slot.get(job_id)
        if slot is not None and slot.job_id is None:
            self._replace(slot)

    def close(self) -> None:
        """Kill the actors, and the local cluster if this pool started it."""
        for slot in self._slots:
            _kill(slot)
        self._slots = []
        if self._owns_ray:
            with _keeping_signal_handlers():
                ray.shutdown()

    def _new_actor(self) -> tuple[Any, Any]:
        actor: Any = ray.remote(**self._options)(WorkerActor).remote(self._spec)
        return actor, actor.whereabouts.remote()

    def _replace(self, slot: _Slot) -> None:
        _kill(slot)
        slot.actor, slot.whereabouts = self._new_actor()

    def _collect(self, slot: _Slot) -> tuple[str, Outcome]:
        job_id = slot.job_id
        assert job_id is not None
        try:
            with _signals_as_raised():
                outcome: Outcome = ray.get(slot.ref)
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


def _kill(slot: _Slot) -> None:
    """End an actor, and its process too where it is on this machine: one that hangs may not hear Ray."""
    try:
        host, pid = ray.get(slot.whereabouts, timeout=0)
    except (RayError, GetTimeoutError):
        host, pid = "", 0  # it died, or never came up
    ray.kill(slot.actor)
    if pid and host == socket.gethostname():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _connect(address: str | None) -> bool:
    """Start a local cluster or join an existing one; True if we own it."""
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "configure_logging": True, "logging_level": "error"}
    with _keeping_signal_handlers():
        if address:
            ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **common)
        else:
            os.environ.update(WORKER_ENVIRONMENT)  # raylet and workers inherit them
            ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **common)
    return True


@contextlib.contextmanager
def _signals_as_raised() -> Iterator[None]:
    """Give back what a signal handler raised while Ray's C++ code waited: it comes out wrapped in a SystemError."""
    try:
        yield
    except SystemError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


@contextlib.contextmanager
def _keeping_signal_handlers() -> Iterator[None]:
    """ray.init and ray.shutdown set handlers of their own; Prefect's cancellation needs those that were there."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, so nothing can replace them here
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
