"""What befalls a cluster in a run: a node's network goes, the object store goes, the head goes."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.exit_codes import EXIT_INTERRUPTED
from flows.interrupts import ENDS_WITHIN_S
from singalong.contracts import Status
from singalong.errors import ErrorClass
from singalong.runfolder import RunFolder
from tests.cluster_driver import Driver
from tests.gate import Gate
from tests.object_server import ObjectServer
from tests.raylets import Raylets, can_make_namespaces
from tests.synthetic_inputs import write_inputs

pytestmark = pytest.mark.ray

SOON = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
"""The head gives a node up after some 15 s, not after a minute; much else to do holds one up for less."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, clip_s=0.4, song_s=0.8)
    return folder / "manifest.csv"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    server = ObjectServer()
    yield server
    server.close()


def assert_whole(driver: Driver) -> None:
    """Every shard is done, and none was made twice."""
    folder = RunFolder.open(driver.run)
    assert all(shard.status is Status.DONE for shard in folder.fold().shards.values())
    made = Counter(row.shard_id for row in driver.rows() if row.result is not None and not row.reused)
    assert set(made.values()) == {1}


@pytest.mark.skipif(not can_make_namespaces(), reason="cutting a node's network needs root and network namespaces")
def test_a_node_that_loses_its_network_loses_its_shards_to_others(tmp_path: Path, manifest: Path, gate: Gate) -> None:
    with Raylets(tmp_path / "ray", environment=gate.environment() | SOON) as cluster:
        with gate.shut():
            driver = Driver(cluster, tmp_path, manifest, with_prefect=False)
            for node in (cluster.add_node(), cluster.add_node()):
                assert node.wait()
            driver.until(lambda: len(gate.standing()) == 2)
            cut = driver.node_at_work()
            cut.cut()
            driver.until(driver.failures)
        cut.mend()  # it may come back, and is not asked
        said = driver.wait()
    assert driver.process.returncode == 0, said
    assert "Traceback" not in said
    assert_whole(driver)
    assert [failure.error_class for failure in driver.failures()] == [ErrorClass.INFRA]
    assert "was lost" in driver.failures()[0].message


def test_a_run_outlasts_an_object_store_that_is_away_and_one_that_stays_away_leaves_it_resumable(
    tmp_path: Path, manifest: Path, server: ObjectServer, gate: Gate
) -> None:
    environment = server.env | gate.environment() | {"SINGALONG_OBJECT_RETRY_S": "1"}
    with Raylets(tmp_path / "ray", head_cpus=2, environment=environment) as cluster:
        store = f"run.store=s3://{server.make_bucket()}/store"

        def run() -> Driver:
            with gate.shut():
                driver = Driver(cluster, tmp_path, manifest, store, with_prefect=False)
                driver.until(lambda: len(gate.standing()) == 2)
                server.lose()
            return driver

        driver = run()
        said = driver.wait()
        assert driver.process.returncode == 1, said
        assert "s3://" in said
        assert "Traceback" not in said
        done = {row.shard_id for row in driver.rows() if row.result is not None}
        assert done

        server.regain()
        before = len(driver.failures())
        driver = run()
        driver.until(lambda: len(driver.failures()) > before)  # shards are tried again for 7 s from here
        server.regain()
        said = driver.wait()
        assert driver.process.returncode == 0, said
    assert_whole(driver)
    assert {failure.error_class for failure in driver.failures()} <= {ErrorClass.TRANSIENT_IO}


def test_an_interrupt_while_the_head_is_dead_ends_the_command_soon(tmp_path: Path, manifest: Path, gate: Gate) -> None:
    with Raylets(tmp_path / "ray", head_cpus=1, environment=gate.environment()) as cluster, gate.shut():
        driver = Driver(cluster, tmp_path, manifest)
        driver.until(driver.workers)
        (store,) = cluster.head.processes("gcs_server")
        os.kill(store, signal.SIGKILL)
        time.sleep(1.0)
        done = {row.shard_id for row in driver.rows() if row.result is not None}
        began = time.monotonic()
        driver.process.send_signal(signal.SIGINT)
        said = driver.wait()
        took_s = time.monotonic() - began
    assert driver.process.returncode == EXIT_INTERRUPTED, said
    assert took_s < ENDS_WITHIN_S + 20.0  # without an end of its own it waits for Ray for a minute
    assert "run the same command again" in said
    assert "Traceback" not in said
    states = RunFolder.open(driver.run).fold().shards
    assert done <= {name for name, shard in states.items() if shard.status is Status.DONE}
