"""The actors of one share of resources: those at work, those that are idle, and those asked for and not yet there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import ray

from tasks.actors.resources import Share
from tasks.actors.worker import Greeting, WorkerActor
from tasks.jobs import Job, WorkerSpec

_ONCE = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 1}
GREETING = 0
"""The turn in which an actor says that it is there."""
Told = Callable[["Slot", int, "Future[Any]"], None]
"""Is told when an actor's turn has ended; called in a thread of Ray's."""


@dataclass(eq=False)
class Slot:
    """One actor, and the job it does."""

    actor: Any
    share: Share
    asked_at: float
    greeting: Greeting | None = None
    job_id: str | None = None
    last_job_id: str | None = None
    turn: int = GREETING
    deadline: float = 0.0
    _turns: Iterator[int] = field(default_factory=lambda: itertools.count(GREETING + 1))

    @property
    def node(self) -> str:
        """Id of its node; only of one that is up."""
        assert self.greeting is not None
        return self.greeting.node

    def start(self, job_id: str, job: Job, told: Told) -> None:
        """Hand it a job."""
        self.job_id = self.last_job_id = job_id
        self.turn = turn = next(self._turns)
        self.actor.run.remote(job).future().add_done_callback(lambda future: told(self, turn, future))


class Fleet:
    """All actors that take the same share of a node."""

    def __init__(self, share: Share, spec: WorkerSpec, files: tuple[str, ...], told: Told) -> None:
        self.share, self._spec, self._files, self._told = share, spec, files, told
        self.slots: set[Slot] = set()
        self.idle: dict[str, list[Slot]] = {}
        self.num_idle = 0
        self.empty_since: float | None = time.monotonic()
        self.starts_until = 0.0
        self.num_failed_starts = 0
        self.ask_again_at = 0.0

    def ask(self, shunned: Collection[str] = ()) -> None:
        """Ask Ray for one actor more, on none of the nodes shunned; autoscalers see what is asked for."""
        options: dict[str, Any] = self.share.options(shunned) | _ONCE
        actor: Any = ray.remote(**options)(WorkerActor).remote(self._spec, self._files)
        slot = Slot(actor, self.share, time.monotonic())
        self.slots.add(slot)
        actor.greet.remote().future().add_done_callback(lambda future: self._told(slot, GREETING, future))

    def arrived(self, slot: Slot, greeting: Greeting) -> None:
        """An actor is up."""
        slot.greeting, self.empty_since, self.num_failed_starts = greeting, None, 0
        self.rest(slot)

    def rest(self, slot: Slot) -> None:
        """An actor has nothing to do."""
        slot.job_id = None
        self.idle.setdefault(slot.node, []).append(slot)
        self.num_idle += 1

    def take(self, node: str) -> Slot:
        """An idle actor on a node, idle no longer; the one that was at work last, whose models are warm."""
        slots = self.idle[node]
        slot = slots.pop()
        if not slots:
            del self.idle[node]
        self.num_idle -= 1
        return slot

    def drop(self, slot: Slot) -> None:
        """An actor is no longer one of ours."""
        self.slots.discard(slot)
        if slot.greeting is not None and slot in self.idle.get(slot.node, ()):
            self.idle[slot.node].remove(slot)
            self.num_idle -= 1
            if not self.idle[slot.node]:
                del self.idle[slot.node]
        if self.empty_since is None and not any(slot.greeting for slot in self.slots):
            self.empty_since = time.monotonic()

    def failed_to_start(self, slot: Slot) -> None:
        """An actor never came up: the next is asked for after a while, longer each time."""
        self.drop(slot)
        self.num_failed_starts += 1
        self.ask_again_at = time.monotonic() + min(30.0, 2.0 ** (self.num_failed_starts - 1))
