"""A real Prefect server, real workers and a real Postgres for tests: started, killed and started again."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from flows.schedule_help import LEASES

PATIENCE_S = float(os.environ.get("PATIENCE", "240"))
ROOT = Path(__file__).resolve().parents[2]
_PREFECT = [sys.executable, "-m", "prefect"]
_OFTEN = (
    "WORKER_QUERY_SECONDS",
    "WORKER_CANCELLATION_POLL_SECONDS",
    "SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS",
    "SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS",
)
"""Every second, what Prefect does every 5 to 15 s: tests wait for the same thing to happen, less long."""
Found = TypeVar("Found")


def until(look: Callable[[], Found], what: str, *, patience_s: float = PATIENCE_S) -> Found:
    """What `look` returns once that is true."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.25)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bed:
    """A server on a port and a database of its own, and its workers."""

    def __init__(self, folder: Path, database: str | None = None, more: Mapping[str, str] | None = None) -> None:
        """`more`: of the environment of server and workers."""
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._server: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
        self.environment = inherited | {
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "tmp"),  # turns of its own: other tests may run on this machine
            "RAY_TMPDIR": tempfile.gettempdir(),  # Ray's sockets have short names
            "PYTHONPATH": str(ROOT),  # these sources, wherever a worker's working directory is
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
            **{f"PREFECT_{name}": "1" for name in _OFTEN},
            "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "3",
            **(more or {}),
        }
        (folder / "tmp").mkdir()
        if database:
            self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database

    def start_server(self) -> None:
        command = [*_PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self._server = self._start(command, "server.log")
        until(self.answers, "the server answers")

    def stop_server(self) -> None:
        assert self._server is not None
        _end(self._server, signal.SIGINT)
        self._server = None

    def answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self.folder / "server.log").read_text()
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def start_worker(self, pool: str) -> None:
        command = [*_PREFECT, "worker", "start", "--pool", pool, "--type", "process"]
        self._workers[pool] = self._start(command, f"worker-{pool}.log")

    def stop_worker(self, pool: str, number: signal.Signals = signal.SIGTERM) -> None:
        _end(self._workers.pop(pool), number)

    def stop(self) -> None:
        for pool in list(self._workers):
            self.stop_worker(pool)
        if self._server is not None:
            self.stop_server()

    def _start(self, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def pids_of_flow(flow_run_id: object, command: bytes = b"") -> list[int]:
    """The processes that are in a flow run, and whose command has this in it."""
    wanted = f"PREFECT__FLOW_RUN_ID={flow_run_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                there = wanted in (entry / "environ").read_bytes().split(b"\0")
                if there and command in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """A Postgres of our own, with its database; where to connect. Skips where there is none."""
    initdb = _postgres_program("initdb")
    owner = _who_may_run_it()
    cluster = folder / "postgres"
    cluster.mkdir()
    kind: dict[str, Any] = {"cwd": cluster, "stdin": subprocess.DEVNULL}
    if owner is not None:
        for path in (folder, *folder.parents):  # others may pass through, to their own
            if path.owner() == pwd.getpwuid(os.getuid()).pw_name and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        shutil.chown(cluster, owner)
        kind |= {"user": owner, "extra_groups": []}
    data, port = cluster / "data", free_port()
    made = [initdb, "--pgdata", str(data), "--username", "prefect", "--auth", "trust", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, **kind)
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(cluster)}
    command = [_postgres_program("postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **kind)
    try:
        until(lambda: _listens(port), "Postgres listens", patience_s=60)
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        _end(process, signal.SIGINT)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _postgres_program(name: str) -> str:
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(home / name) for home in homes if (home / name).exists()), shutil.which(name))
    if found is None:
        pytest.skip("there is no Postgres on this machine (Debian: apt-get install postgresql)")
    return found


def _who_may_run_it() -> str | None:
    """Postgres refuses root; None: whoever we are."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("Postgres refuses root, and there is nobody else on this machine")
