"""The state-dict keys are a file format: published checkpoints carry them, in this order."""

import json
from pathlib import Path

import pytest
import torch

from models.discriminator import VisualQualityDiscriminator
from models.generator import Generator
from models.s3fd import S3FD
from models.sync_expert import SyncExpert
from models.syncnet import SyncNet

NETWORKS = {
    "wav2lip_generator": Generator,
    "lipsync_expert": SyncExpert,
    "visual_quality_disc": VisualQualityDiscriminator,
    "s3fd": S3FD,
    "syncnet_v2": SyncNet,
}
FROZEN = json.loads((Path(__file__).parent / "state_dict_keys.json").read_text(encoding="utf-8"))


def keys_of(name):
    with torch.device("meta"):
        network = NETWORKS[name]()
    return [f"{key} {'x'.join(map(str, value.shape))}".strip() for key, value in network.state_dict().items()]


@pytest.mark.parametrize("name", NETWORKS)
def test_keys_shapes_and_order_are_frozen(name):
    assert keys_of(name) == FROZEN[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_keys_are_those_of_the_reference(name, reference_dir):
    path = reference_dir / "golden" / "shapes" / f"{name}.json"
    shapes = json.loads(path.read_text(encoding="utf-8"))["shapes"]
    assert [f"{key} {'x'.join(map(str, shape))}".strip() for key, shape in shapes.items()] == FROZEN[name]
