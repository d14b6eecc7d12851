"""Runs on a real cluster of several raylets: nodes come, die and do not fit; nothing is lost and nothing made twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from singalong.contracts import Status
from singalong.errors import ErrorClass
from singalong.runfolder import RunFolder
from tests.cluster_driver import ROOT, Driver
from tests.gate import Gate
from tests.raylets import Raylets
from tests.synthetic_inputs import write_inputs

pytestmark = pytest.mark.ray

PACKAGES = ("singalong", "models", "tasks", "flows", "review")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "gate")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Raylets]:
    with Raylets(tmp_path_factory.mktemp("ray"), environment=gate.environment()) as raylets:
        yield raylets


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, clip_s=0.4, song_s=0.8)
    return folder / "manifest.csv"


def test_with_no_node_that_fits_a_run_says_what_it_waits_for_and_ends(
    cluster: Raylets, tmp_path: Path, manifest: Path
) -> None:
    driver = Driver(cluster, tmp_path, manifest, "cluster.wait_for_nodes_s=2", with_prefect=False)
    said = " ".join(driver.wait().split())
    assert driver.process.returncode not in (0, 130), said
    assert "no node has had room for a worker (1 CPU)" in said
    assert "cluster.wait_for_nodes_s" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding a folder from a node needs root")
def test_a_node_that_has_another_disk_under_the_same_path_is_named_also_if_it_comes_late(
    cluster: Raylets, tmp_path: Path, manifest: Path
) -> None:
    (tmp_path / "store").mkdir()
    driver = Driver(cluster, tmp_path, manifest, "run.num_actors=1", with_prefect=False)
    node = cluster.add_node(hidden=tmp_path / "store")
    said = " ".join(driver.wait().split())
    node.kill()
    assert driver.process.returncode == 2, said
    assert "does not see this" in said
    assert str(driver.store / ".seen-") in said
    assert not list(driver.store.glob(".seen-*"))


def test_a_run_follows_nodes_that_come_and_survives_one_that_dies(
    cluster: Raylets, tmp_path: Path, manifest: Path, gate: Gate
) -> None:
    checkout = tmp_path / "checkout"  # code that no node has: it must come from the driver
    for package in PACKAGES:
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (checkout / "tasks" / "worker.py").open("a") as file:
        file.write("\n# not what is installed\n")
    with gate.shut():
        driver = Driver(cluster, tmp_path, manifest, checkout=checkout)
        for node in (cluster.add_node(), cluster.add_node()):  # a run may be there before its nodes
            assert node.wait()
        driver.until(lambda: len(gate.standing()) == 2)  # both work for it, and are in the middle of a shard
        driver.node_at_work().kill()
    said = driver.wait()
    assert driver.process.returncode == 0, said
    assert "Traceback" not in said

    folder = RunFolder.open(driver.run)
    assert all(shard.status is Status.DONE for shard in folder.fold().shards.values())
    made = [row.shard_id for row in driver.rows() if row.result is not None]
    assert len(made) == len(set(made)), "a finished shard was done again"
    failures = driver.failures()
    assert all(failure.error_class is ErrorClass.INFRA for failure in failures), failures
    assert any("was lost" in failure.message for failure in failures), failures
