"""Starting a local Ray cluster, or joining one."""

from __future__ import annotations

import os
import time
from typing import Any

import ray
from ray.exceptions import RayError

from singalong.errors import UsageError
from tasks.actors.code import as_zip, wheel
from tasks.actors.lean import lean_head
from tasks.actors.probe import listens
from tasks.actors.signals import keeping_signal_handlers

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
WORKER_ENVIRONMENT = dict.fromkeys(_THREAD_SETTINGS, "1")
_QUIET = {"RAY_event_stats": "0", "RAY_task_events_report_interval_ms": "0", "RAY_enable_metrics_collection": "0"}
"""What Ray's processes of a local cluster count and report to its dashboard, which is not there; each of them wakes
for it all the time."""
_IMPATIENT = {
    "RAY_raylet_client_connect_timeout_milliseconds": "20",
    "RAY_raylet_client_num_connect_attempts": "1500",
}
"""A raylet looks for its own object store, which comes up beside it, and tries again after so long; Ray's way is after
a second, ten times."""
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # only rows travel; Ray's smallest store is ample
_MAX_REASON = 300
_HEAD_S, _PAUSE_S = 5.0, 0.2


def connect(
    address: str | None, *, share_code: bool = True, metrics_port: int | None = None, job_environments: bool = True
) -> bool:
    """Start a local cluster or join an existing one; True if we own it.

    metrics_port: where a local one serves Ray's own metrics; None: it has none.
    job_environments: whether what is done on a local one has environments of its own (Ray's `runtime_env`).
    share_code: hand an existing cluster this program's code. UsageError where nobody answers at the address.
    """
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "configure_logging": True, "logging_level": "error"}
    with keeping_signal_handlers():
        if address:
            _join(address, share_code=share_code, **common)
        else:
            os.environ.update(WORKER_ENVIRONMENT)  # raylet and workers inherit them
            for name, value in (_IMPATIENT | (_QUIET if metrics_port is None else {})).items():
                os.environ.setdefault(name, value)
            own: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES, "_metrics_export_port": metrics_port}
            with lean_head(agents=job_environments or metrics_port is not None):
                ray.init(address="local", include_dashboard=False, **own, **common)
    return True


def _join(address: str, *, share_code: bool, **common: Any) -> None:
    if "://" in address:
        raise UsageError(
            "a run needs a node of the Ray cluster to run on, not a Ray client's address",
            value=address,
            expected="HOST:PORT of the cluster's head",
            action="Give the command on a node of the cluster.",
        )
    _await_head(address)
    environment: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if share_code:
        # As the working folder: so comes first whatever a node has installed, and our checkout's path is left out.
        environment["working_dir"] = str(as_zip(wheel()))
    try:
        ray.init(address=address, runtime_env=environment, **common)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UsageError(
            f"cannot join the Ray cluster: {' '.join(str(error).split())[:_MAX_REASON]}",
            value=address,
            expected="HOST:PORT of the cluster's head, and a node of it on this machine",
            action="See `ray status`; where the cluster has a token, RAY_AUTH_MODE and RAY_AUTH_TOKEN must be set.",
        ) from error


def _await_head(address: str) -> None:
    """Return once somebody listens there; UsageError if nobody does. Ray would try for minutes, deaf to Ctrl-C."""
    if ":" not in address:
        return  # `auto`: Ray knows
    deadline = time.monotonic() + _HEAD_S
    while not listens(address):
        if time.monotonic() > deadline:
            raise UsageError(
                "cannot join the Ray cluster: nobody listens there",
                value=address,
                expected="HOST:PORT of the cluster's head",
                action="Start the head (`ray start --head`), or correct --ray-address, run.ray_address or RAY_ADDRESS.",
            )
        time.sleep(_PAUSE_S)
