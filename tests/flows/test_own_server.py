"""Prefect's server of one command: apart from the command's signals, started again, and gone with the command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows import own_server
from flows.own_server import OwnServer
from singalong.errors import InfraError

pytestmark = pytest.mark.ray

PATIENCE_S = 90.0
COMMAND = """
import sys, time
from flows.own_server import begin_server, own_server
begin_server()
server = own_server()
print(server.pid, server.wait(), any(name in sys.modules for name in ("prefect", "uvicorn")), flush=True)
time.sleep(600)
"""


def answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/health", timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_server_outlives_signals_to_the_group_but_not_the_command(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment["PREFECT_HOME"] = str(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as command:
        assert command.stdout is not None
        word, url, heavy = command.stdout.readline().split()
        assert heavy == "False", "the command imported what the server consists of"
        server = int(word)
        assert os.getsid(server) != os.getsid(command.pid)
        os.kill(server, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while (lives(server) or not answers(url)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answers(url), "it was not started again"
        (again,) = children_of(command.pid)
        assert again != server
        command.kill()
    deadline = time.monotonic() + PATIENCE_S
    while lives(again) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not lives(again), "it was left running"


def test_a_server_that_a_profile_makes_needless_ends_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # as a profile would
    server = OwnServer()
    with pytest.raises(InfraError, match="ended with code 0"):  # and not: not up within so many seconds
        server.wait(PATIENCE_S)
    server.stop()


def test_its_own_worker_looks_for_work_every_few_seconds_and_not_four_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from docket import Docket
    from prefect.server.api import background_workers

    module: Any = background_workers
    monkeypatch.setattr(module, "Worker", module.Worker)  # put back afterwards
    own_server._look_seldom()
    worker = module.Worker(Docket(name="test", url="memory://test"))
    assert worker.minimum_check_interval == worker.scheduling_resolution == timedelta(seconds=5)


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and lives(int(path.name)):
            with contextlib.suppress(OSError):
                parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
                found += [int(path.name)] if int(parent) == pid else []
    return found
