"""What `ray start` is told so that Ray's own autoscaler starts nodes on this machine as they are asked for.

The nodes come from Ray's provider for its own tests, which starts raylets beside the head. `ray.cluster_utils.
AutoscalingCluster` is not used: it begins and ends with `ray stop --force`, which kills every Ray on the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The provider takes the node of this id for its head."""
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",  # the one that knows of labels
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}
"""Of the head."""


def write_config(file: Path, address: str, nodes: Mapping[str, Mapping[str, Any]], *, most: int = 4) -> None:
    """Write the autoscaler's configuration.

    address: of the cluster. nodes: kinds of nodes by name, with their `resources` and `labels`. most: nodes at a time.
    """
    kinds = {name: {"node_config": {}, "min_workers": 0, "max_workers": most, **kind} for name, kind in nodes.items()}
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    provider = {
        "type": "external",
        "module": _PROVIDER,
        "gcs_address": address,
        "head_node_id": _HEAD_ID,
        "launch_multiple": True,
        "disable_launch_config_check": True,
        "disable_node_updaters": True,
    }
    config = {
        "cluster_name": "fake",
        "max_workers": most,
        "provider": provider,
        "head_node_type": "ray.head.default",
        "available_node_types": {"ray.head.default": head, **kinds},
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1.0,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{f"{name}_commands": [] for name in _COMMANDS},
    }
    file.write_text(json.dumps(config))
