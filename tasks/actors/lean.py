"""A local cluster without those of Ray's processes that nobody asks anything here.

Its autoscaler has nothing to scale, its log monitor has nobody to send lines to, and of the dashboard only the part
that reports usage would run, which is switched off. Each of them took most of a second of the start, one after the
other, and memory and time ever after.

A raylet waits for its two agents before it takes part: 2 s of two processors, and 200 MB ever after. One reports to
that dashboard; a raylet without it is what Ray calls minimal. The other unpacks code and packages for jobs, which a
run's workers do not need on the machine of their driver. In their place stand processes that do nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray import _raylet
from ray._private import ray_constants, services, utils
from ray._private.node import Node
from ray._private.runtime_env.uv_runtime_env_hook import _get_uv_run_cmdline

_core: Any = _raylet  # its types leave out how ports are made known
_SPARE = ("start_monitor", "start_log_monitor", "start_api_server")
"""Methods of Ray's node that start them; Ray 2.60 has no settings for this."""
_COMMANDS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
_PORTS = ("METRICS_AGENT", "METRICS_EXPORT", "DASHBOARD_AGENT_LISTEN", "RUNTIME_ENV_AGENT")
_NO_PORT = -1
"""What Ray's agents themselves give for a service that they do not offer."""
_BYSTANDER = Path(__file__).with_name("bystander.py")
_JOBS_ENVIRONMENT = ("RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""Variables by which every job is given an environment."""
_REGISTERS_S, _LOOK_S = 10.0, 0.02

Start = Callable[..., Any]


@contextlib.contextmanager
def lean_head(*, agents: bool) -> Iterator[None]:
    """Around `ray.init`: leave them out. Where Ray no longer starts them so, it starts as it likes.

    agents: whether jobs of the cluster have environments of their own or somebody reads its metrics.
    """
    others: list[tuple[Any, str, Callable[[Start], Start]]] = [(Node, name, _nothing) for name in _SPARE]
    others.append((Node, "start_ray_processes", _and_wait_for_it))
    if not agents and not _jobs_get_environments():
        others.append((services, "start_ray_process", _without_agents))
        others.append((utils, "get_dashboard_dependency_error", _as_if_not_installed))
    kept = []
    for owner, name, instead_of in others:
        if hasattr(owner, name):
            kept.append((owner, name, getattr(owner, name)))
            setattr(owner, name, instead_of(getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, method in kept:
            setattr(owner, name, method)


def _jobs_get_environments() -> bool:
    """Whether Ray gives the jobs of this process an environment that nobody here asked for."""
    return any(name in os.environ for name in _JOBS_ENVIRONMENT) or bool(_get_uv_run_cmdline())


def _nothing(_start: Start) -> Start:
    """In place of what starts a process."""
    return lambda *_arguments, **_options: None


def _as_if_not_installed(_look: Start) -> Start:
    """In place of what imports all that the dashboard needs, to see whether it is there: a quarter of a second."""
    return lambda: ImportError("the dashboard is left out")


def _without_agents(start: Start) -> Start:
    """What starts Ray's processes, the raylet with bystanders for agents, whose services it is told are not there."""

    def start_process(command: list[str], process_type: str, *arguments: Any, **options: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_RAYLET:
            flags = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
            for name in _PORTS:
                port_name = getattr(_core, f"{name}_PORT_NAME")
                _core.persist_port(flags["--session_dir"], flags["--node_id"], port_name, _NO_PORT)
            idle = subprocess.list2cmdline([sys.executable, "-I", "-S", str(_BYSTANDER)])
            command = [next((key + idle for key in _COMMANDS if part.startswith(key)), part) for part in command]
        return start(command, process_type, *arguments, **options)

    return start_process


def _and_wait_for_it(start: Start) -> Start:
    """What starts a node's processes, then waits for it to be known: Ray would look once a second."""

    def start_processes(node: Any) -> None:
        start(node)
        deadline = time.monotonic() + _REGISTERS_S
        while not node.get_gcs_client().get_all_node_info() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    return start_processes
