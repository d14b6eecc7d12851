"""The Ray pool: one single-threaded actor a slot; and Ray Train. The only file that imports ray.

Ray restarts and retries nothing (`max_restarts=0, max_task_retries=0`): the driver must know which job killed an
actor. Workers inherit thread caps of one, because actors themselves are the parallelism; those of a training share
out the cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported: no telemetry
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves workers behind anything else, into deadlines

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError

from singalong.errors import BugError, DeadlineError, InfraError, ResourceError, SingalongError, UsageError, classify
from tasks.failures import failure_of
from tasks.jobs import Job, Outcome, WorkerSpec

if TYPE_CHECKING:
    from tasks.training.paper.context import TrainContext

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER_ENVIRONMENT = dict.fromkeys(_THREAD_SETTINGS, "1")
_WAIT_S = 0.5
_MAX_REASON = 300
_VITAL_PARTS = frozenset({"raylet", "gcs_server"})
_MAX_RESTARTS = 3
"""Of a local cluster, with no job done between them."""
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # only rows travel; Ray's smallest store is ample


class WorkerActor:
    """What runs inside an actor process: a `Worker`, made there, so that models load there."""

    def __init__(self, spec: WorkerSpec) -> None:
        import cv2

        from models.engine import limit_threads
        from tasks.worker import Worker

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
        _leave_terminal()
        cv2.setNumThreads(1)
        limit_threads()
        self._worker = Worker(spec, owns_process=True)

    def run(self, job: Job) -> Outcome:
        """Do one job."""
        return self._worker.run(job)

    def whereabouts(self) -> tuple[str, int]:
        """Host and process id."""
        return socket.gethostname(), os.getpid()


def _leave_terminal() -> None:
    """Read from nowhere: the kernel stops who sets up a terminal from its background, as scenedetect's ffmpeg does."""
    with Path(os.devnull).open() as nowhere:
        os.dup2(nowhere.fileno(), 0)


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
        self._owns_ray = _connect(address)
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
        if self._is_local and (dead := _dead_parts()):
            return self._restart(dead)
        with _signals_as_raised():
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=timeout_s)
        done = [self._collect(busy[ref]) for ref in ready]
        now = time.monotonic()
        done += [self._expire(slot) for slot in self._slots if slot.job_id is not None and now > slot.deadline]
        if self._is_local and (dead := _dead_parts()):  # before the next job goes to an actor that will never come up
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
                _end(_dismiss(slot))
        if self._owns_ray:
            _shut_down(slots)

    def _new_slot(self) -> _Slot:
        actor: Any = ray.remote(**self._options)(WorkerActor).remote(self._spec)
        return _Slot(actor, actor.whereabouts.remote())

    def _replace(self, slot: _Slot) -> None:
        _end(_dismiss(slot))
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
        _connect(self._address)
        self._slots = [self._new_slot() for _ in slots]
        self._last_slot.clear()
        failure = failure_of(InfraError(f"Ray died while this was being done: {', '.join(dead)} ended"))
        return [(slot.job_id, Outcome(failure=failure)) for slot in slots if slot.job_id is not None]

    def _collect(self, slot: _Slot) -> tuple[str, Outcome]:
        job_id = slot.job_id
        assert job_id is not None
        try:
            with _signals_as_raised():
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


def train_on_ray(
    loop: Callable[[TrainContext, Mapping[str, Any]], Any],
    config: Mapping[str, Any],
    *,
    num_workers: int,
    use_gpu: bool | None,
    storage: Path,
    on_wait: Callable[[], None] = lambda: None,
) -> Any:
    """Run `loop(context, config)` on every worker of a Ray Train group; what the first worker's returned.

    use_gpu: one GPU for each worker; None: if the cluster has so many. storage: folder for Ray's own notes, on a disk
    that all nodes share. on_wait is called about twice a second meanwhile. However this ends, the workers end too.

    Raises what a worker raised if it is one of our errors, InfraError for a worker that died, UsageError where one
    machine has fewer cores or GPUs than workers.
    """
    owns_ray = _connect(None)
    try:
        is_local = owns_ray and not os.environ.get("RAY_ADDRESS")
        options = _worker_resources(num_workers, use_gpu, is_local=is_local)
        fitted = _fit_in_thread(loop, config, options, storage)
        while not fitted.done():
            on_wait()
            with contextlib.suppress(TimeoutError):
                fitted.exception(timeout=_WAIT_S)
        return fitted.result()
    finally:
        if owns_ray:
            with _keeping_signal_handlers():
                ray.shutdown()


def _worker_resources(num_workers: int, use_gpu: bool | None, *, is_local: bool) -> dict[str, Any]:
    """Arguments of Ray's ScalingConfig: on one machine the workers share out its cores."""
    cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    num_gpus, num_cpus = int(cluster.get("GPU", 0)), int(cluster.get("CPU", 1))
    use_gpu = num_gpus >= num_workers if use_gpu is None else use_gpu
    for kind, there in (("cores", num_cpus), ("GPUs", num_gpus if use_gpu else num_workers)):
        if is_local and there < num_workers:
            raise UsageError(
                f"this machine has {there} {kind}", value=num_workers, expected="no more workers than that"
            )
    cores = num_cpus // num_workers if is_local else 1
    return {"num_workers": num_workers, "use_gpu": use_gpu, "resources_per_worker": {"CPU": cores, "GPU": int(use_gpu)}}


def _fit_in_thread(loop: Any, config: Mapping[str, Any], options: dict[str, Any], storage: Path) -> Future[Any]:
    """Ray Train's `fit` in a thread: in the main one it would replace the handler of Ctrl-C and stop at leisure."""
    import ray.train.torch

    api: Any = ray.train  # its types are those of an older interface
    trainer = api.torch.TorchTrainer(
        _train_worker,
        train_loop_config={"loop": loop, "config": dict(config), "num_threads": options["resources_per_worker"]["CPU"]},
        scaling_config=api.ScalingConfig(**options),
        run_config=api.RunConfig(
            name=storage.name, storage_path=str(storage.parent), logging_config=api.LoggingConfig("ERROR")
        ),
    )
    future: Future[Any] = Future()

    def fit() -> None:
        try:
            future.set_result(trainer.fit().return_value)
        except api.TrainingFailedError as error:
            future.set_exception(_to_blame(error, getattr(error, "worker_failures", {}).values()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is waited for
            future.set_exception(error)

    threading.Thread(target=fit, name="ray-train", daemon=True).start()
    return future


def _to_blame(error: Exception, failures: Collection[Exception]) -> SingalongError:
    """The failure that explains the others: workers left alone by one that died fail in ways of their own."""
    own = [classify(failure) for failure in failures if not type(failure).__module__.startswith("ray.")]
    known = [failure for failure in own if not isinstance(failure, BugError)]
    if known or (own and len(own) == len(failures)):
        return (known or own)[0]
    reason = " ".join(str(error).split())[:_MAX_REASON]
    return InfraError(f"a worker of the training died: {reason}", action="Give the same command again to go on.")


def _train_worker(options: dict[str, Any]) -> Any:
    """What runs in every worker of a training."""
    import torch
    from ray import train
    from ray.train.torch import get_device, prepare_model

    from tasks.training.paper.context import TrainContext

    class RayTrainContext(TrainContext):
        """A worker's place in Ray Train's group."""

        def wrap(self, network: torch.nn.Module) -> torch.nn.Module:
            wrapped: torch.nn.Module = prepare_model(network, move_to_device=False)
            return wrapped

        def report(self, figures: Mapping[str, float]) -> None:
            train.report(dict(figures))

    torch.set_num_threads(options["num_threads"])
    place: Any = train.get_context()
    context = RayTrainContext(get_device(), rank=place.get_world_rank(), world_size=place.get_world_size())
    return options["loop"](context, options["config"])


def _dead_parts() -> list[str]:
    """What died of the cluster this process started: new actors would wait for ever, or Ray end this process."""
    node: Any = ray._private.worker._global_node
    return sorted({kind for kind, _ in node.dead_processes() if kind in _VITAL_PARTS}) if node is not None else []


def _shut_down(slots: Collection[_Slot]) -> None:
    """End our own cluster, dead or alive, and its workers for certain."""
    processes = [_process_of(slot) for slot in slots]
    with _keeping_signal_handlers():
        ray.shutdown()
    # Not before: Ray would wonder aloud why they died.
    for process in processes:
        _end(process)


def _dismiss(slot: _Slot) -> int | None:
    """Have Ray end an actor; returns its `_process_of`."""
    process = _process_of(slot)
    ray.kill(slot.actor)
    return process


def _process_of(slot: _Slot) -> int | None:
    """A descriptor of an actor's process on this machine; its number may be another's by the time of `_end`."""
    try:
        host, pid = ray.get(slot.whereabouts, timeout=0)
    except (RayError, GetTimeoutError):
        host, pid = "", 0  # it died, or never came up
    process = None
    if host == socket.gethostname():
        with contextlib.suppress(ProcessLookupError, AttributeError):  # Linux has it; elsewhere Ray's word must do
            process = os.pidfd_open(pid)
    return process


def _end(process: int | None) -> None:
    """End a process for certain: one that hangs may not hear Ray."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


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
    """Give back what a signal handler raised while Ray's C++ code waited; it comes out wrapped in a SystemError."""
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
