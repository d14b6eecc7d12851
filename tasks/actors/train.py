"""Ray Train: one training on several workers, which share out the cores of a machine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from singalong.errors import BugError, InfraError, SingalongError, UsageError, classify
from tasks.actors.connect import connect
from tasks.actors.signals import keeping_signal_handlers

if TYPE_CHECKING:
    from tasks.training.paper.context import TrainContext

_WAIT_S, _LOOK_S = 0.5, 0.2
_ENDS_S = 5.0
_CONTROLLER = "TrainController"
_MAX_REASON = 300


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
    owns_ray = connect(None)
    try:
        is_local = owns_ray and not os.environ.get("RAY_ADDRESS")
        options = _worker_resources(num_workers, use_gpu, is_local=is_local)
        fitted, thread = _fit_in_thread(loop, config, options, storage)
        try:
            while not fitted.done():
                on_wait()
                with contextlib.suppress(TimeoutError):
                    fitted.exception(timeout=_WAIT_S)
            return fitted.result()
        finally:
            _end(thread)
    finally:
        if owns_ray:
            with keeping_signal_handlers():
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


def _fit_in_thread(
    loop: Any, config: Mapping[str, Any], options: dict[str, Any], storage: Path
) -> tuple[Future[Any], threading.Thread]:
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

    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    return future, thread


def _end(thread: threading.Thread) -> None:
    """End the thread of a training that nobody waits for any more: Ray crashes when it is shut down under a caller.

    It waits for Ray Train's controller, of which it alone has the handle. The workers end with their controller.
    """
    core: Any = ray._private.worker.global_worker
    deadline = time.monotonic() + _ENDS_S
    while thread.is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(Exception):  # the head may be gone, and then the thread ends by itself
            for actor_id, actor in ray._private.state.actors(job_id=core.current_job_id).items():
                if actor["ActorClassName"].endswith(_CONTROLLER) and actor["State"] != "DEAD":
                    core.core_worker.kill_actor(ray.ActorID(bytes.fromhex(actor_id)), True)
        thread.join(_LOOK_S)


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
