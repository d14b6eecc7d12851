"""A child process that takes a line of JSON and gives a line of JSON: both ends of it.

For work that may crash, hang or ask for all memory: the parent has a time limit, the child limits on itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_START_S = 60.0
"""Importing libav takes a second; on a machine under load, some."""
_MAX_REPLY_BYTES = 1 << 20
_MB = 1 << 20


class ChildGoneError(Exception):
    """The child died, or was killed because its time was up."""


class Child:
    """One child process: takes a line of JSON, gives a line of JSON, dies with its parent."""

    def __init__(self, module: str = "tasks.probe_child") -> None:
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self.pid_of_owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],  # -P: nothing is imported from where the user happens to be
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
        try:
            self._read_line(_START_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to one request. Raises ChildGoneError; TimeoutError when time ran out."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as exc:
            raise ChildGoneError from exc
        try:
            answer: dict[str, Any] = json.loads(self._read_line(timeout_s))
        except ValueError as exc:
            raise ChildGoneError from exc
        return answer

    def _read_line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        handle, line, end = self._process.stdout.fileno(), bytearray(), time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError
                part = os.read(handle, 1 << 16)
                if not part or len(line) > _MAX_REPLY_BYTES:
                    raise ChildGoneError
                line += part
        return bytes(line)

    def close(self, grace_s: float = 0.0) -> str:
        """End it, unless it ends by itself in time; returns what it died of."""
        if self.pid_of_owner != os.getpid():
            return ""  # a forked copy: the child is its parent's
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child: answer until the other end is closed. What anybody prints goes nowhere."""
    with os.fdopen(os.dup(1), "wb") as answers, Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, 0)
        _send(answers, {"ready": True})
        for line in sys.stdin.buffer:
            _send(answers, answer(json.loads(line)))


def limit_memory(num_mb: int) -> None:
    """Let this process have so much more memory than its libraries take."""
    _limit(resource.RLIMIT_AS, _address_space() + num_mb * _MB)


def _address_space() -> int:
    """Bytes of address space in use now: libraries mostly, before any media is read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 2048 * _MB  # no /proc: as measured elsewhere, and some
    return pages * resource.getpagesize()


def _limit(which: int, soft: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # a stricter limit from outside stands
        _, hard = resource.getrlimit(which)
        resource.setrlimit(which, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _send(answers: Any, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.flush()
