"""The pool interface the dispatcher drives, and the in-process pool behind it for tests and debugging.

A pool has slots, whose number may change as machines come and go. Each slot runs one job at a time; the driver owns
retries, so a pool never tries anything twice. A worker that dies, or is killed because it is late, answers with a
failure of its own class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from tasks.jobs import Job, Outcome, WorkerSpec
from tasks.worker import Worker


class Pool(Protocol):
    """Slots that run jobs."""

    def free_slots(self) -> int:
        """Number of jobs that can be submitted now."""

    def choose(self, jobs: Iterable[Job]) -> int | None:
        """Place of the one of these jobs that is to start next; None: no slot is free for any of them.

        A slot is kept for it. Jobs are submitted in the order in which they were chosen.
        """

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:
        """Start a job that was chosen, in the slot kept for it."""

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:
        """Outcomes that arrived within `timeout_s`; an empty list when none did, or when a slot came free instead."""

    def refresh(self, job_id: str) -> None:
        """Replace the worker that ran this finished job by a fresh one, e.g. after it ran out of memory."""

    def close(self) -> None:
        """Stop all workers; jobs in flight are abandoned."""


class InProcessPool:
    """Runs jobs one after the other in this process: no Ray, no isolation, no deadlines."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._worker = Worker(spec)
        self._waiting: deque[tuple[str, Job]] = deque()
        self._is_kept = False

    def free_slots(self) -> int:
        """One slot."""
        return 1 - (self._is_kept or len(self._waiting))

    def choose(self, jobs: Iterable[Job]) -> int | None:  # noqa: ARG002 - one after the other
        """The first."""
        if not self.free_slots():
            return None
        self._is_kept = True
        return 0

    def submit(self, job_id: str, job: Job, *, timeout_s: float) -> None:  # noqa: ARG002 - no deadlines here
        """Queue the job; it runs when `wait` is called."""
        self._is_kept = False
        self._waiting.append((job_id, job))

    def wait(self, timeout_s: float) -> list[tuple[str, Outcome]]:  # noqa: ARG002 - runs to the end
        """Run the queued job to its end."""
        if not self._waiting:
            return []
        job_id, job = self._waiting.popleft()
        return [(job_id, self._worker.run(job))]

    def refresh(self, job_id: str) -> None:  # noqa: ARG002 - there is one worker
        """Forget the loaded models."""
        self._worker = Worker(self._spec)

    def close(self) -> None:
        """Nothing to stop."""
