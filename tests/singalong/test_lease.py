"""The lease of a run at a URL: one holder, who is named, and who is missed when dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from singalong import lease as lease_module
from singalong.errors import HeldError, TransientIOError, UsageError
from singalong.lease import Holder, Lease
from singalong.objects import ObjectFolder
from tests.object_server import ObjectServer

LAPSE_S = 4.0


@pytest.fixture
def run(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> ObjectFolder:
    monkeypatch.setenv("SINGALONG_LEASE_S", str(LAPSE_S))
    return ObjectFolder.at(f"{bucket_url}/run")


@contextmanager
def held(run: ObjectFolder) -> Iterator[Lease]:
    lease = Lease(run)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


def die(lease: Lease) -> None:
    """Stop giving signs of life, as a process does that is killed."""
    lease._stop.set()
    assert lease._thread is not None
    lease._thread.join()


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes a lease does so on a machine whose processes we cannot see."""
    monkeypatch.setattr(lease_module, "_machine", lambda: "")


def test_the_second_is_refused_by_the_name_of_the_first_until_that_lets_go(run: ObjectFolder) -> None:
    with held(run):
        assert str(os.getpid()) in str(Lease(run).holder())
        with pytest.raises(HeldError, match=rf"process {os.getpid()} on .* since .* a sign of life \d+ s ago"):
            Lease(run).take()
    assert Lease(run).holder() is None
    with held(run):
        pass


def test_of_many_that_try_at_once_one_gets_it(run: ObjectFolder) -> None:
    leases, got, start = [Lease(run) for _ in range(6)], list[Lease](), threading.Barrier(6)

    def attempt(lease: Lease) -> None:
        start.wait()
        try:
            lease.take()
        except HeldError:
            return
        got.append(lease)

    threads = [threading.Thread(target=attempt, args=[lease]) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()


def test_a_holder_lives_for_as_long_as_it_gives_signs(run: ObjectFolder, another_machine: None) -> None:
    with held(run):
        time.sleep(1.5 * LAPSE_S)
        with pytest.raises(HeldError):
            Lease(run).take()


@pytest.mark.usefixtures("another_machine")
def test_a_dead_holder_elsewhere_is_missed_by_the_clock_of_the_store_alone(
    run: ObjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Lease(run)
    dead.take()
    die(dead)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # our own clock may say what it likes
    watcher = Lease(run)
    assert watcher.holder() is not None
    with pytest.raises(HeldError, match="If it is dead, the run is free 4 s after"):
        Lease(run).take()
    deadline = time.monotonic() + 60
    while watcher.holder() is not None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert watcher.holder() is None
    assert Lease(run).holder() is None
    with held(run) as alive:
        with pytest.raises(TransientIOError, match=f"taken over by process {os.getpid()}"):
            dead.check()
        alive.check()
        dead.release()  # lets go of nothing
        assert Lease(run).holder() is not None


def test_a_process_of_this_machine_that_is_dead_is_not_waited_for(run: ObjectFolder) -> None:
    code = "import os, sys; from singalong.lease import Lease; from singalong.objects import ObjectFolder; "
    code += "Lease(ObjectFolder.at(sys.argv[1])).take(); os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code, run.url], check=False, timeout=60)
    assert done.returncode == 9
    assert Lease(run).holder() is None
    with held(run):
        pass


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    me = Holder.me()
    assert not me.is_dead()
    assert me.model_copy(update={"born": "1"}).is_dead()
    assert not me.model_copy(update={"born": "1", "machine": "another"}).is_dead()


def test_a_store_that_is_away_for_longer_than_a_lease_lasts_costs_the_lease_only_if_somebody_took_it(
    run: ObjectFolder, object_server: ObjectServer
) -> None:
    with held(run) as lease:
        object_server.lose()
        time.sleep(1.5 * LAPSE_S)
        object_server.regain()
        lease.check()
        with pytest.raises(HeldError):
            Lease(run).take()


def test_old_leases_are_cleared_away(run: ObjectFolder) -> None:
    for _ in range(8):
        with held(run):
            pass
    assert len({facts.key.partition(".")[0] for facts in run.list("lease")}) <= 5


@pytest.mark.parametrize("text", ["soon", "0", "-5", "nan"])
def test_a_time_that_is_none_is_refused(run: ObjectFolder, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SINGALONG_LEASE_S", text)
    with pytest.raises(UsageError, match="SINGALONG_LEASE_S"):
        Lease(run).take()
