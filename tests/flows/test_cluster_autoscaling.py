"""A run on a cluster that begins with no node at all and asks Ray's own autoscaler for those it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from singalong.contracts import Status
from singalong.runfolder import RunFolder
from tests.cluster_driver import Driver
from tests.raylets import Raylets
from tests.synthetic_inputs import write_inputs

pytestmark = pytest.mark.ray

KINDS = {
    "plain": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}},
    "blue": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}, "labels": {"colour": "blue"}},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    with Raylets(tmp_path_factory.mktemp("ray"), autoscaled=KINDS) as raylets:
        yield raylets


def test_a_run_waits_for_the_nodes_it_asked_for_and_works_on_those_with_its_labels(
    cluster: Raylets, tmp_path: Path
) -> None:
    write_inputs(tmp_path, clip_s=0.4, song_s=0.8)
    driver = Driver(
        cluster,
        tmp_path,
        tmp_path / "manifest.csv",
        'cluster.lipsync.labels={"colour" = "blue"}',
        "cluster.wait_for_nodes_s=120",
        with_prefect=False,
    )
    driver.until(driver.workers)
    (pid,) = {int(name.rpartition(":")[2]) for name in driver.workers()}
    kind = re.search(rb"RAY_NODE_TYPE_NAME=(\w+)", Path(f"/proc/{pid}/environ").read_bytes())
    said = driver.wait()
    assert driver.process.returncode == 0, said
    assert kind is not None
    assert kind[1] == b"blue"
    assert all(shard.status is Status.DONE for shard in RunFolder.open(driver.run).fold().shards.values())
    said = " ".join(said.split())
    assert "no node has room for a worker (1 CPU): 1 asked for" in said
    assert "no node has room for a worker (1 CPU, label colour: blue)" in said
    assert "the cluster has 127.0.0.1: no CPU" in said
