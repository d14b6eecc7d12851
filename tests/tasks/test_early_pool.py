"""Workers that come up while something else is done: taken once, and closed by whoever has them."""

from __future__ import annotations

import threading

import pytest

from singalong.errors import InfraError
from tasks.early_pool import EarlyPool
from tests.tasks.test_dispatch import ScriptedPool


class ClosingPool(ScriptedPool):
    """Tells whether it was closed."""

    def __init__(self) -> None:
        super().__init__({})
        self.closed = False

    def close(self) -> None:
        self.closed = True


def early_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "early-pool"]


def test_a_pool_that_was_taken_is_the_takers_to_close() -> None:
    with EarlyPool(ClosingPool) as early:
        pool = early.take()
    assert isinstance(pool, ClosingPool)
    assert not pool.closed


def test_a_pool_that_nobody_took_is_closed() -> None:
    opened: list[ClosingPool] = []

    def open_pool() -> ClosingPool:
        opened.append(ClosingPool())
        return opened[0]

    with EarlyPool(open_pool):
        pass
    assert [pool.closed for pool in opened] == [True]


def test_who_takes_again_after_a_failed_flow_gets_a_pool_of_its_own() -> None:
    with EarlyPool(ClosingPool) as early:
        assert early.take() is not early.take()


def test_what_opening_raised_is_raised_to_the_taker_and_to_nobody_else() -> None:
    def fail() -> ClosingPool:
        raise InfraError("no cluster", action="Start one.")

    with EarlyPool(fail):
        pass  # a run that has nothing for workers to do has no need of them
    with EarlyPool(fail) as early, pytest.raises(InfraError, match="no cluster"):
        early.take()


def test_the_thread_that_opened_it_lives_as_long_as_the_body_because_rays_processes_end_with_it() -> None:
    with EarlyPool(ClosingPool) as early:
        early.take()
        (thread,) = early_threads()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(5.0)
    assert not early_threads()
