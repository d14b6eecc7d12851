"""What runs inside an actor process: a `tasks.worker.Worker`, single-threaded."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tasks.jobs import Job, Outcome, WorkerSpec


class WorkerActor:
    """What runs inside an actor process: a `Worker`, made there, so that models load there."""

    def __init__(self, spec: WorkerSpec) -> None:
        import cv2

        from models.engine import limit_threads
        from tasks.worker import Worker

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
        _leave_terminal()
        cv2.setNumThreads(1)
        limit_threads()
        self._worker = Worker(spec, owns_process=True)

    def run(self, job: Job) -> Outcome:
        """Do one job."""
        return self._worker.run(job)

    def whereabouts(self) -> tuple[str, int]:
        """Host and process id."""
        return socket.gethostname(), os.getpid()


def _leave_terminal() -> None:
    """Read from nowhere: the kernel stops who sets up a terminal from its background, as scenedetect's ffmpeg does."""
    with Path(os.devnull).open() as nowhere:
        os.dup2(nowhere.fileno(), 0)
