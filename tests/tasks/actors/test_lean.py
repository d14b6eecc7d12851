"""A local cluster's processes: none that nobody asks anything, and none left when the cluster is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

PATIENCE_S = 30.0
CLUSTER = """
import sys, time
from tasks.actors.connect import connect
assert connect(None, job_environments=sys.argv[1] == "environments")
import ray
if sys.argv[1] == "environments":
    options = {"num_cpus": 0, "runtime_env": {"env_vars": {"GIVEN": "yes"}}}
    given = ray.remote(**options)(lambda: __import__("os").environ["GIVEN"])
else:
    given = ray.remote(num_cpus=0)(lambda: "no")
print(ray.get(given.remote()), flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def cluster(kind: str) -> Iterator[tuple[str, dict[int, str]]]:
    with subprocess.Popen([sys.executable, "-c", CLUSTER, kind], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        try:
            yield driver.stdout.readline().strip(), processes_below(driver.pid)
        finally:
            driver.kill()


def processes_below(root: int) -> dict[int, str]:
    """Commands of all processes that a process has started, by process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, ours = {}, {root}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    for pid in ours - {root}:
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return {pid: command for pid, command in found.items() if command}


def pids_of(processes: dict[int, str], name: str) -> list[int]:
    return [pid for pid, command in processes.items() if name in command.split(" --", 1)[0]]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_runs_own_cluster_has_no_agents_and_bystanders_end_with_a_raylet_that_is_killed() -> None:
    with cluster("bare") as (answer, processes):
        assert answer == "no"
        commands = " ".join(processes.values())
        assert "DashboardAgent" not in commands
        assert "RuntimeEnvAgent" not in commands
        bystanders = pids_of(processes, "bystander.py")
        assert len(bystanders) == 2
        (raylet,) = pids_of(processes, "raylet/raylet")
        os.kill(raylet, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while any(map(lives, bystanders)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(lives, bystanders)), "they were left running"


def test_a_cluster_whose_jobs_have_environments_of_their_own_gets_the_agent_that_makes_them() -> None:
    with cluster("environments") as (answer, _):
        assert answer == "yes"
