"""What workers take of a cluster, and how many of them its nodes can hold."""

from __future__ import annotations

import pytest

from singalong.config import Settings, load_settings
from singalong.contracts import ModelRef
from tasks.actors.resources import Node, Share, shares_of
from tasks.jobs import WorkerSpec

BOX = Node("box", "10.0.0.1", 1, resources={"CPU": 8.0})
GPU_BOX = Node("gpu", "10.0.0.2", 1, resources={"CPU": 16.0, "GPU": 2.0}, labels={"kind": "A100"})


def spec(*overrides: str, architecture: str = "centerface") -> WorkerSpec:
    detector = ModelRef(name="d", architecture=architecture, weights_sha256="0" * 64)
    settings = load_settings(None, list(overrides)) if overrides else Settings()
    return WorkerSpec(settings=settings, store="/store", detector=detector, scorer=None)


def test_on_one_box_all_stages_share_the_same_workers() -> None:
    shares = shares_of(spec("cluster.songs.cpus=4"), [GPU_BOX], is_local=True)
    assert set(shares.values()) == {Share(1.0, 0.25)}


def test_on_a_cluster_without_gpus_all_stages_share_the_same_workers() -> None:
    assert len(set(shares_of(spec(), [BOX], is_local=False).values())) == 1


def test_where_there_are_gpus_only_stages_that_use_them_take_a_share() -> None:
    shares = shares_of(spec(), [BOX, GPU_BOX], is_local=False)
    assert {stage for stage, share in shares.items() if share.gpus} == {"lipsync", "speakers"}
    assert shares_of(spec(architecture="s3fd"), [GPU_BOX], is_local=False)["analyse"].gpus == 0.25


def test_gpus_that_are_asked_for_are_asked_for_before_there_are_any() -> None:
    assert shares_of(spec("cluster.lipsync.gpus=0.5"), [BOX], is_local=False)["lipsync"].gpus == 0.5


def test_a_node_that_died_brings_no_gpus() -> None:
    gone = Node("gpu", "10.0.0.2", 1, alive=False, resources={"GPU": 2.0})
    assert shares_of(spec(), [BOX, gone], is_local=False)["lipsync"].gpus == 0


@pytest.mark.parametrize(
    ("share", "room"),
    [
        (Share(1.0), 24),
        (Share(3.0), 7),  # two on the one and five on the other: what is left over of each joins to nothing
        (Share(1.0, 0.25), 8),
        (Share(1.0, 1 / 3), 6),
        (Share(1.0, labels=(("kind", "A100"),)), 16),
        (Share(1.0, labels=(("kind", "!A100"),)), 8),
        (Share(1.0, labels=(("kind", "in(H100, A100)"),)), 16),
        (Share(1.0, labels=(("kind", "!in(H100, A100)"),)), 8),
        (Share(1.0, memory_bytes=1), 0),
    ],
)
def test_room_is_counted_node_by_node(share: Share, room: int) -> None:
    assert share.room([BOX, GPU_BOX]) == room


def test_ray_is_asked_for_what_the_settings_say() -> None:
    share = shares_of(
        spec("cluster.lipsync.memory_gb=2", 'cluster.lipsync.labels={kind = "A100"}'), [GPU_BOX], is_local=False
    )["lipsync"]
    assert share.options() == {
        "num_cpus": 1.0,
        "num_gpus": 0.25,
        "memory": 2 << 30,
        "label_selector": {"kind": "A100"},
    }
    assert share.options({"b", "a"})["label_selector"] == {"kind": "A100", "ray.io/node-id": "!in(a, b)"}
