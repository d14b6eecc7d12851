"""A Ray cluster of several nodes on this machine: a head without cores, and raylets that come, die and lose their way.

Where root may make network namespaces, each node has one of its own, with an address of its own on a bridge; else all
share the loopback. Everything is ended by process id, and nobody else can join: the cluster has a token of its own.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 90.0
_NUM_TRIES = 3
_OBJECT_STORE_BYTES = 80_000_000
_ELSEWHERE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')
_NUMBERS = itertools.count()


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

    def __init__(self, process: subprocess.Popen[str], address: str, link: str | None = None) -> None:
        self.process, self.address, self._link = process, address, link

    def kill(self) -> None:
        """End all its processes at once, as when its plug is pulled."""
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that nobody sees another die
            for pid in _family(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait(PATIENCE_S)

    def cut(self) -> None:
        """Take its network away."""
        assert self._link is not None
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        """Give its network back."""
        assert self._link is not None
        _ip("link", "set", self._link, "up")


class Raylets:
    """A cluster; use as a context manager. `environment` is what a driver needs to join it."""

    def __init__(self, folder: Path, *, namespaces: bool = False, environment: Mapping[str, str] | None = None) -> None:
        """`environment`: more of it, for nodes and drivers."""
        folder.mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.mkdtemp(prefix="sgr-")  # short: Ray's sockets lie below it
        self._folder, self._number = folder, f"{os.getpid() % 10_000}{next(_NUMBERS)}"
        self.nodes: list[RayNode] = []
        """The head, and all that were added."""
        self._namespaces: list[str] = []
        self._bridge = f"sgb{self._number}" if namespaces else None
        self._subnet = f"10.213.{secrets.randbelow(250) + 1}"
        self.host = f"{self._subnet}.1" if namespaces else "127.0.0.1"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PREFECT_"))},
            **(environment or {}),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def __enter__(self) -> Raylets:
        try:
            if self._bridge is not None:
                _ip("link", "add", self._bridge, "type", "bridge")
                _ip("addr", "add", f"{self.host}/24", "dev", self._bridge)
                _ip("link", "set", self._bridge, "up")
            port = _free_port(self.host)
            self.address = f"{self.host}:{port}"
            self.environment["RAY_ADDRESS"] = self.address
            options = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
            for _ in range(_NUM_TRIES):  # on a busy machine Ray gives itself up after 30 s
                self.head = self._start(self.host, [*options, f"--temp-dir={self._scratch}"])
                if self._is_up(port):
                    break
                self.head.kill()
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
        if self._bridge is None:
            return self._start(self.host, options, prefix=prefix)
        place = len(self._namespaces) + 2
        name, link = f"{self._bridge}n{place}", f"sgv{self._number}{place}"
        address = f"{self._subnet}.{place}"
        _ip("netns", "add", name)
        self._namespaces.append(name)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", link, "master", self._bridge, "up")
        for arguments in (("link", "set", "lo", "up"), ("addr", "add", f"{address}/24", "dev", "eth0")):
            _ip("-n", name, *arguments)
        _ip("-n", name, "link", "set", "eth0", "up")
        return self._start(address, options, prefix=["ip", "netns", "exec", name, *prefix], link=link)

    def close(self) -> None:
        """End everything that was started."""
        for node in reversed(self.nodes):
            node.kill()
        for name in self._namespaces:
            _ip("netns", "del", name)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._bridge is not None:
            subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)

    def _start(
        self,
        address: str,
        options: Sequence[str],
        *,
        prefix: Sequence[str] = (),
        link: str | None = None,
    ) -> RayNode:
        ray = str(Path(sys.executable).with_name("ray"))
        common = [f"--node-ip-address={address}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        command = [*prefix, ray, "start", "--block", "--disable-usage-stats", *common, *options]
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        with (self._folder / f"node{len(self.nodes)}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=environment, cwd="/", text=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        node = RayNode(process, address, link)
        self.nodes.append(node)
        return node

    def _is_up(self, port: int) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.head.process.poll() is None:
            time.sleep(0.1)
            if "Ray runtime started" in (self._folder / f"node{len(self.nodes) - 1}.log").read_text():
                return _listens(self.host, port)
        return False


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


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
