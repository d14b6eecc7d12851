"""The Prefect server of one command: out of reach of signals meant for the command, started again when it dies.

Prefect's own temporary server is a plain child. A signal to the whole process group ends it first, and the command
then waits minutes for it; a command that is killed leaves it running for ever; nobody starts it again; and to start
it, the command imports all that the server consists of. Ours comes up while the command reads its manifest.

Its port listens from the beginning, and stays when the server dies: who asks early waits, and nobody is refused.

Run as a program (`python -m flows.own_server PARENT_PID SOCKET`) this is the server's process.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from functools import cache, partial
from typing import Any

from flows.environment import prepare_environment
from singalong.errors import InfraError

_PR_SET_PDEATHSIG = 1
_MAX_RESTARTS = 5
_STARTS_WITHIN_S = 120.0
"""Cold starts take half a minute."""
_STOPS_WITHIN_S = 5.0
_AGAIN_S = 0.1
_LOOK_S = 5.0
"""Prefect's server looks so often for what it does beside answering: it marks late runs, revokes leases, deletes the
logs of deleted runs. Prefect's own four times a second are for servers with deployments, which ours has not."""
_SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class OwnServer:
    """Prefect's server in a session of its own, watched; `url` is its API's."""

    def __init__(self) -> None:
        """Take a port and start the server on it."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._environment = {**os.environ, **_SERVER}  # before anybody sets its address there
        self._lock, self._stopping = threading.Lock(), False
        # By this thread, the main one, or by the one that watches: the kernel takes the thread for the parent.
        self._process = self._start()
        atexit.register(self.stop)
        threading.Thread(target=self._watch, name="prefect-server-watch", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def wait(self, timeout_s: float = _STARTS_WITHIN_S) -> str:
        """Its URL, once it answers. Raises InfraError when it does not come up."""
        deadline = time.monotonic() + timeout_s
        while not self._answers(deadline - time.monotonic()):
            if self._socket.fileno() < 0 or time.monotonic() > deadline:
                code = self._process.poll()
                said = "does not answer" if code is None else f"ended with code {code}"
                raise InfraError(f"Prefect's server {said}", action="Try `prefect server start` to see why.")
            time.sleep(_AGAIN_S)
        return self.url

    def stop(self) -> None:
        """Stop it for good."""
        with self._lock:
            self._stopping = True
        self._process.terminate()
        try:
            self._process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()

    @property
    def _port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _start(self) -> subprocess.Popen[bytes]:
        number = self._socket.fileno()
        return subprocess.Popen(
            [sys.executable, "-m", "flows.own_server", str(os.getpid()), str(number)],
            env=self._environment,
            pass_fds=(number,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # when it is stopped it tells of what it was interrupted in
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _watch(self) -> None:
        """Start it again when it dies; Prefect's clients try again meanwhile."""
        for _ in range(_MAX_RESTARTS):
            code = self._process.wait()  # this thread's end would be the server's, too
            with self._lock:
                if self._stopping or code == 0:
                    break
                self._process = self._start()
        else:
            self._process.wait()
        self._socket.close()  # nobody will answer any more: who asks shall know

    def _answers(self, timeout_s: float) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            asked = http.client.HTTPConnection("127.0.0.1", self._port, timeout=max(_AGAIN_S, timeout_s))
            with contextlib.closing(asked):
                asked.request("GET", "/api/health")
                return asked.getresponse().status == http.client.OK
        return False


@cache
def own_server() -> OwnServer:
    """The server of this command, started at the first call; it ends with the command."""
    prepare_environment()
    return OwnServer()


def begin_server() -> None:
    """Have the server come up while something else is done, unless the user has one that is known by now."""
    if not os.environ.get("PREFECT_API_URL"):
        own_server()


def main(parent: int, number: int) -> None:
    """Be a server on this socket that ends when its parent does, however that ends."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return  # it died before it could be said
    gc.disable()  # a tenth of what the imports take
    prepare_environment()
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE

    if PREFECT_API_URL.value() or not PREFECT_SERVER_ALLOW_EPHEMERAL_MODE.value():
        return  # a profile names another server
    import uvicorn
    from prefect.server.api.server import create_app

    _look_seldom()
    app = create_app()
    gc.enable()
    gc.freeze()
    config = uvicorn.Config(app, log_level="critical", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


def _look_seldom() -> None:
    """Have the server's own worker look for work every few seconds; Prefect has no setting for this."""
    from prefect.server.api import background_workers

    module: Any = background_workers
    interval = timedelta(seconds=_LOOK_S)
    module.Worker = partial(module.Worker, minimum_check_interval=interval, scheduling_resolution=interval)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
