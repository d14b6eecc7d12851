"""The Prefect server of one command: out of reach of signals meant for the command, started again when it dies.

Prefect's own temporary server is a plain child. A signal to the whole process group ends it first, and the command
then waits minutes for it; a command that is killed leaves it running for ever; and nobody starts it again.

Run as a program (`python -m flows.own_server PARENT_PID UVICORN_ARGUMENT...`) this is the server's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1
_MAX_RESTARTS = 5


def main(arguments: list[str]) -> None:
    """Be a server that ends when its parent does, however that ends."""
    parent = int(arguments[0])
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return  # it died before it could be said
    import uvicorn

    uvicorn.main(arguments[1:])


def make_server() -> Any:
    """The server that Prefect would start by itself, and will find instead of starting another."""
    from prefect.server.api.server import SubprocessASGIServer

    class OwnServer(SubprocessASGIServer):
        """Prefect's temporary server in a session of its own, watched."""

        _stopping = False

        def start(self, timeout: int | None = None) -> None:
            """Start it, once, and watch it."""
            was_running = self.running
            super().start(timeout)
            if not was_running:
                threading.Thread(target=self._watch, name="prefect-server-watch", daemon=True).start()

        def stop(self) -> None:
            """Stop it for good."""
            self._stopping = True
            super().stop()

        def _watch(self) -> None:
            """Start it again on the same port and database when it dies; Prefect's clients try again meanwhile."""
            num_starts = 1
            while (process := self.server_process) is not None:  # this thread's end would be the server's, too
                process.wait()
                if self._stopping or num_starts > _MAX_RESTARTS:
                    return
                self.server_process = self._run_uvicorn_command()
                num_starts += 1

        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            from prefect.settings import get_current_settings

            command = [sys.executable, "-m", "flows.own_server", str(os.getpid())]
            command += ["--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1"]
            command += ["--port", str(self.port), "--log-level", "critical", "--lifespan", "on"]
            settings = get_current_settings().to_environment_variables(exclude_unset=True)
            kind = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
            return subprocess.Popen(
                command,
                env={**os.environ, **kind, **settings},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # when it is stopped it tells of what it was interrupted in
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    return OwnServer()


if __name__ == "__main__":
    main(sys.argv[1:])
