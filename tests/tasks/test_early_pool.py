"""Workers that come up while something else is done: taken once, and closed by whoever has them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.errors import InfraError
from tasks.early_pool import EarlyPool
from tasks.jobs import WorkerSpec
from tasks.pool import Pool
from tests.tasks.test_dispatch import ScriptedPool

SPEC = WorkerSpec(
    settings=Settings(),
    store="/nowhere",
    detector=ModelRef(name="none", architecture="none", weights_sha256="0" * 64),
    scorer=None,
)


class ClosingPool(ScriptedPool):
    """Tells whether it was closed."""

    def __init__(self) -> None:
        super().__init__({})
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Begun:
    """A cluster that tells what became of it."""

    def __init__(self) -> None:
        self.closed, self.pools = False, list[ClosingPool]()

    def open_pool(self, spec: WorkerSpec) -> Pool:
        assert spec is SPEC
        self.pools.append(ClosingPool())
        return self.pools[-1]

    def close(self) -> None:
        self.closed = True


def wanted(begin: Callable[[], Begun]) -> EarlyPool:
    early = EarlyPool(begin)
    early.want(lambda: SPEC, ClosingPool)
    return early


def early_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "early-pool"]


def test_a_pool_that_was_taken_is_the_takers_to_close() -> None:
    with wanted(Begun) as early:
        pool = early.take()
    assert isinstance(pool, ClosingPool)
    assert not pool.closed


def test_a_pool_that_nobody_took_is_closed() -> None:
    cluster = Begun()
    with wanted(lambda: cluster):
        pass
    assert [pool.closed for pool in cluster.pools] == [True]


def test_who_takes_again_after_a_failed_flow_gets_a_pool_of_its_own() -> None:
    with wanted(Begun) as early:
        assert early.take() is not early.take()


def test_what_opening_raised_is_raised_to_the_taker_and_to_nobody_else() -> None:
    def fail() -> Begun:
        raise InfraError("no cluster", action="Start one.")

    with wanted(fail):
        pass  # a run that has nothing for workers to do has no need of them
    with wanted(fail) as early, pytest.raises(InfraError, match="no cluster"):
        early.take()


def test_a_cluster_comes_up_before_it_is_known_what_for_and_is_closed_when_it_never_is() -> None:
    up, cluster = threading.Event(), Begun()

    def begin() -> Begun:
        up.set()
        return cluster

    with EarlyPool(begin) as early:
        early.begin()
        assert up.wait(5.0)
        assert not cluster.pools, "there is no plan yet"
    assert cluster.closed
    assert not cluster.pools


def test_the_workers_of_a_cluster_that_was_begun_are_opened_on_it() -> None:
    clusters = list[Begun]()

    def begin() -> Begun:
        clusters.append(Begun())
        return clusters[-1]

    with EarlyPool(begin) as early:
        early.begin()
        early.want(lambda: SPEC, ClosingPool)
        pool = early.take()
    assert [cluster.pools for cluster in clusters] == [[pool]]
    assert not clusters[0].closed, "its pool closes it"


def test_nothing_comes_up_that_was_neither_begun_nor_wanted() -> None:
    clusters = list[Begun]()

    def begin() -> Begun:
        clusters.append(Begun())
        return clusters[-1]

    with EarlyPool(begin) as early:
        pass
    assert not early.is_begun
    assert not clusters


def test_the_thread_that_opened_it_lives_as_long_as_the_body_because_rays_processes_end_with_it() -> None:
    with wanted(Begun) as early:
        early.take()
        (thread,) = early_threads()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(5.0)
    assert not early_threads()
