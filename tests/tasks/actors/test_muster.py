"""How long workers are waited for, and what is said meanwhile; Ray is not asked for any here."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.errors import InfraError, UsageError
from singalong.settings import ClusterSettings
from tasks.actors import muster as musters
from tasks.actors.code import code_id
from tasks.actors.fleet import Fleet, Slot
from tasks.actors.muster import Muster
from tasks.actors.resources import Node
from tasks.actors.worker import Greeting
from tasks.jobs import SongJob, WorkerSpec

HEAD = Node("head", "10.0.0.1", 1)
WORKER = Node("worker", "10.0.0.2", 1, resources={"CPU": 2.0})
PATIENCE_S = 0.05


class Nodes:
    """Nodes as the head would tell of them."""

    def __init__(self) -> None:
        self.known, self.here = {"head": HEAD}, "head"

    def name(self, node_id: str) -> str:
        return self.known[node_id].address


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def muster(nodes: Any) -> Muster:
    detector = ModelRef(name="none", architecture="none", weights_sha256="0" * 64)
    settings = Settings(cluster=ClusterSettings(wait_for_nodes_s=PATIENCE_S))
    spec = WorkerSpec(settings=settings, store="/store", detector=detector, scorer=None)
    return Muster(spec, nodes, lambda *_: None, is_local=False, files=())


@pytest.fixture
def fleet(muster: Muster) -> Fleet:
    """Wanted for longer than patience lasts."""
    fleet = muster.fleet_of(SongJob(path="/song.wav", sha256="0" * 64))
    fleet.ask_again_at = float("inf")
    muster.want([fleet])
    time.sleep(2 * PATIENCE_S)
    return fleet


@pytest.mark.usefixtures("fleet")
def test_with_no_node_a_run_gives_up_when_the_time_is_over(muster: Muster) -> None:
    with pytest.raises(InfraError, match="no node has had room for a worker"):
        muster.tend(is_idle=True)


@pytest.mark.usefixtures("fleet")
def test_a_node_that_comes_at_the_last_moment_is_given_time_for_its_first_worker(
    muster: Muster, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(musters, "_STARTING_S", 0.5)
    nodes.known = {"head": HEAD, "worker": WORKER}
    muster.tend(is_idle=True)
    time.sleep(0.6)
    muster._tend_at = 0.0
    with pytest.raises(InfraError):  # but not for ever
        muster.tend(is_idle=True)


def test_what_is_waited_for_is_said_soon_and_not_said_each_second(
    muster: Muster, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(musters, "_SPEAK_S", PATIENCE_S / 2)
    fleet.starts_until = float("inf")
    with caplog.at_level(logging.WARNING, "singalong.cluster"):
        for _ in range(3):
            muster._tend_at = 0.0
            muster.tend(is_idle=True)
    (said,) = caplog.messages
    assert "no node has room for a worker (1 CPU)" in said
    assert "the cluster has 10.0.0.1: no CPU" in said


def test_where_the_first_node_that_comes_does_not_see_the_files_the_run_ends_at_once(
    muster: Muster, nodes: Nodes, fleet: Fleet
) -> None:
    nodes.known = {"head": HEAD, "worker": WORKER}
    slot = Slot(None, fleet.share, time.monotonic())
    fleet.slots.add(slot)
    with pytest.raises(UsageError, match=r"10\.0\.0\.2 \(box\) does not see this"):
        muster.arrived(slot, Greeting("worker", "box", 1, code_id(), ("/store/.seen",)))
