"""A run on a cluster that begins with no node at all and asks Ray's own autoscaler for those it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from singalong.contracts import Status
from singalong.runfolder import RunFolder
from tests.cluster_driver import Driver
from tests.gate import Gate
from tests.raylets import Raylets
from tests.synthetic_inputs import write_inputs

pytestmark = pytest.mark.ray

KINDS = {
    "plain": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}},
    "blue": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}, "labels": {"colour": "blue"}},
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "gate")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Raylets]:
    environment = gate.environment()
    with Raylets(tmp_path_factory.mktemp("ray"), autoscaled=KINDS, environment=environment) as raylets:
        yield raylets


def test_a_run_waits_for_the_nodes_it_asked_for_and_works_on_those_with_its_labels(
    cluster: Raylets, tmp_path: Path, gate: Gate
) -> None:
    write_inputs(tmp_path, clip_s=0.4, song_s=0.8)
    told = ('cluster.lipsync.labels={"colour" = "blue"}', "cluster.wait_for_nodes_s=120")
    with gate.shut():
        driver = Driver(cluster, tmp_path, tmp_path / "manifest.csv", *told, with_prefect=False)
        driver.until(gate.standing)
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in gate.standing()]
    kinds = [re.search(rb"RAY_NODE_TYPE_NAME=(\w+)", found) for found in environments]
    said = driver.wait()
    assert driver.process.returncode == 0, said
    assert {kind and kind[1] for kind in kinds} == {b"blue"}
    assert all(shard.status is Status.DONE for shard in RunFolder.open(driver.run).fold().shards.values())
    said = " ".join(said.split())
    assert "no node has room for a worker (1 CPU): 1 asked for" in said
    assert "no node has room for a worker (1 CPU, label colour: blue)" in said
    assert "the cluster has 127.0.0.1: no CPU" in said
