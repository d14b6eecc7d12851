"""A Ray cluster of several nodes on this machine: a head without cores, and raylets that come, die and lose their way.

Where root may make network namespaces, each node has one with an address of its own, and the bridge between them lies
in that of the head, where drivers must be started too (`prefix`). Elsewhere all share this machine's address, since Ray
wants no several nodes on the loopback. A head that works itself listens on the loopback alone. Everything is ended by
process id, and nobody else can join: the cluster has a token of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import autoscaling

PATIENCE_S = 150.0
_OBJECT_STORE_BYTES = 80_000_000
_ELSEWHERE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')
_NUMBERS = itertools.count()
_SUBNET, _PORT = "10.213.0", 6379  # in namespaces of their own, so they are nobody else's
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's word for: every address is 127.0.0.1. Without, it would advertise and use this machine's own."""


def can_make_namespaces() -> bool:
    """Whether this process may make network namespaces with addresses of their own."""
    name = f"sgprobe{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    except OSError:
        return False
    return made


class RayNode:
    """One node: `ray start --block` and all that it started."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        address: str,
        link: tuple[str, str] | None,
    ) -> None:
        """`link`: the namespace and the name of the bridge's end of its cable."""
        self.address, self._command, self._environment = address, command, environment
        self._log, self._link = log, link
        self.start()

    def start(self) -> None:
        """Start it; it is up some seconds later."""
        with self._log.open("w") as log:
            streams: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            self.process = subprocess.Popen(self._command, env=self._environment, cwd="/", text=True, **streams)

    def wait(self) -> bool:
        """Wait until it is up; False when it takes too long. On a busy machine Ray gives a start up after 30 s."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if "Ray runtime started" in self._log.read_text():
                return True
            if self.process.poll() is not None:
                self.start()
            time.sleep(0.1)
        return False

    def processes(self, name: str) -> list[int]:
        """Ids of its processes whose command has this word."""
        found = []
        for pid in _family(self.process.pid):
            with contextlib.suppress(OSError):
                if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def kill(self) -> None:
        """End all its processes at once, as when its plug is pulled."""
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that nobody sees another die
            for pid in _family(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait(PATIENCE_S)

    def cut(self) -> None:
        """Take its network away."""
        self._switch("down")

    def mend(self) -> None:
        """Give its network back."""
        self._switch("up")

    def _switch(self, state: str) -> None:
        assert self._link is not None
        namespace, name = self._link
        _ip("-n", namespace, "link", "set", name, state)


class Raylets:
    """A cluster; use as a context manager. `environment` is what a driver needs to join it."""

    def __init__(
        self,
        folder: Path,
        *,
        head_cpus: int = 0,
        environment: Mapping[str, str] | None = None,
        autoscaled: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """head_cpus: cores of the head; if it has any, or is autoscaled, no node can be added.

        environment: more of it, for nodes and drivers. autoscaled: kinds of nodes that Ray's autoscaler adds.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.mkdtemp(prefix="sgr-")  # short: Ray's sockets lie below it
        self._folder, self._head_cpus, self._autoscaled = folder, head_cpus, autoscaled
        is_alone = head_cpus > 0 or autoscaled is not None
        namespaces = not is_alone and can_make_namespaces()
        self.nodes: list[RayNode] = []
        """The head, and all that were added."""
        self.drivers: list[subprocess.Popen[bytes]] = []
        """What runs on it, and ends with it at the latest."""
        self._namespaces: list[str] = []
        self._name = f"sg{os.getpid()}-{next(_NUMBERS)}" if namespaces else None
        self.host = f"{_SUBNET}.1" if namespaces else "127.0.0.1"
        self.prefix: list[str] = [] if self._name is None else ["ip", "netns", "exec", self._name]
        """What a driver's command begins with."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PREFECT_"))},
            **(environment or {}),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        if is_alone:
            self.environment |= _ON_LOOPBACK

    def __enter__(self) -> Raylets:
        try:
            port = self._lay_out()
            self.address = f"{self.host}:{port}"
            self.environment["RAY_ADDRESS"] = self.address
            options = ["--head", f"--port={port}", f"--num-cpus={self._head_cpus}", "--include-dashboard=false"]
            if self._autoscaled is not None:
                config = self._folder / "autoscaler.json"
                autoscaling.write_config(config, self.address, self._autoscaled)
                options.append(f"--autoscaling-config={config}")
            self.head = self._start(self.host, [*options, f"--temp-dir={self._scratch}"], prefix=self.prefix)
            assert self.head.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def add_node(
        self, *, cpus: int = 1, gpus: int = 0, labels: dict[str, str] | None = None, hidden: Path | None = None
    ) -> RayNode:
        """Start a node; it joins some seconds later. `hidden`: a folder it does not see, as on another disk."""
        options = [f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        if labels:
            options += ["--labels", ",".join(f"{name}={value}" for name, value in labels.items())]
        prefix = [] if hidden is None else [*_ELSEWHERE, str(hidden)]
        if self._name is None:
            return self._start(self.host, options, prefix=prefix)
        place = len(self._namespaces) + 1
        name, link, address = f"{self._name}-{place}", f"veth{place}", f"{_SUBNET}.{place}"
        self._add_namespace(name)
        _ip("-n", self._name, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", self._name, "link", "set", link, "master", "bridge", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        return self._start(address, options, prefix=["ip", "netns", "exec", name, *prefix], link=(self._name, link))

    def node_at_work(self, workers: Iterable[str]) -> RayNode | None:
        """A node that holds one of these workers, HOST:PID; None where all of them are gone."""
        pids = {int(name.rpartition(":")[2]) for name in workers}
        return next((node for node in self.nodes if pids & set(_family(node.process.pid))), None)

    def close(self) -> None:
        """End everything that was started, drivers first."""
        for driver in self.drivers:
            driver.kill()
            driver.wait()
        for node in reversed(self.nodes):
            node.kill()
        for name in self._namespaces:  # and with them all that lies in them
            _ip("netns", "del", name)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _lay_out(self) -> int:
        """Make the head's network; a free port in it."""
        if self._name is None:
            return _free_port()
        self._add_namespace(self._name)
        _ip("-n", self._name, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._name, "addr", "add", f"{self.host}/24", "dev", "bridge")
        _ip("-n", self._name, "link", "set", "bridge", "up")
        return _PORT

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _start(
        self,
        address: str,
        options: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        link: tuple[str, str] | None = None,
    ) -> RayNode:
        ray = str(Path(sys.executable).with_name("ray"))
        common = [f"--node-ip-address={address}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        command = [*prefix, ray, "start", "--block", "--disable-usage-stats", *common, *options]
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        if self._autoscaled is not None and "--head" in options:
            environment = autoscaling.ENVIRONMENT | environment
        node = RayNode(command, environment, self._folder / f"node{len(self.nodes)}.log", address, link)
        self.nodes.append(node)
        return node


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for parent, child in _parents():
        children.setdefault(parent, []).append(child)
    family, todo = [], [pid]
    while todo:
        family.append(todo.pop())
        todo += children.get(family[-1], [])
    return family


def _parents() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            yield int(stat.read_text().rpartition(")")[2].split()[1]), int(stat.parent.name)
