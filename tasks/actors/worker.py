"""What runs inside an actor process: a `tasks.worker.Worker`, single-threaded."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from tasks.actors.code import code_id
from tasks.jobs import Job, Outcome, WorkerSpec


class WorkerActor:
    """What runs inside an actor process: a `Worker`, made there, so that models load there."""

    def __init__(self, spec: WorkerSpec, files: Sequence[str] = ()) -> None:
        """`files`: what of the run must be seen here."""
        import cv2

        from models.engine import limit_threads
        from tasks.worker import Worker

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
        _leave_terminal()
        _leave_package()
        cv2.setNumThreads(1)
        limit_threads()
        self._worker, self._files = Worker(spec, owns_process=True), tuple(files)

    def run(self, job: Job) -> Outcome:
        """Do one job."""
        return self._worker.run(job)

    def greet(self) -> Greeting:
        """Say where this is, what it runs and what it cannot see."""
        unseen = [path for path in self._files if not Path(path).exists()]
        node: str = ray.get_runtime_context().get_node_id()
        return Greeting(node, socket.gethostname(), os.getpid(), code_id(), tuple(unseen))


@dataclass(frozen=True)
class Greeting:
    """What an actor says when it is up. `unseen`: files of the run that are not there where it is."""

    node: str
    host: str
    pid: int
    code: str
    unseen: tuple[str, ...] = ()


def _leave_terminal() -> None:
    """Read from nowhere: the kernel stops who sets up a terminal from its background, as scenedetect's ffmpeg does."""
    with Path(os.devnull).open() as nowhere:
        os.dup2(nowhere.fileno(), 0)


def _leave_package() -> None:
    """Leave the folder of the code that was handed over: Ray may unpack it anew, and then nobody has one to be in."""
    if ray.get_runtime_context().runtime_env.get("working_dir"):
        os.chdir(os.sep)
