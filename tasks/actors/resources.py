"""What workers take of a cluster, stage by stage, and how many of them its nodes can hold. Pure.

Stages that take the same share workers. On one box, and where nothing else is set, all do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from singalong.settings import StageSettings
from tasks.jobs import Job, WorkerSpec

STAGE_OF = {
    "analyse": "analyse",
    "likeness": "analyse",
    "survey": "analyse",
    "song": "songs",
    "speakers": "speakers",
    "sequences": "speakers",
    "lipsync": "lipsync",
    "join": "join",
    "conform": "join",
}
"""Kind of job to the stage whose settings it goes by."""

_ON_GPU = frozenset({"lipsync", "speakers"})
_DETECTORS_ON_GPU = frozenset({"s3fd"})
_GB = 1 << 30
_SELECTOR = re.compile(r"(?P<negated>!?)(?:in\((?P<several>[^)]*)\)|(?P<one>[^()]*))")
_LEAST = 1e-6
"""Ray counts in ten-thousandths: four quarters make a GPU, whatever a float says."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster as Ray's head knows it."""

    node_id: str
    address: str
    port: int
    alive: bool = True
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """What one worker takes; `most`: no more workers than that, None: as many as there is room for."""

    cpus: float
    gpus: float = 0.0
    memory_bytes: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    most: int | None = None

    def options(self, shunned: Collection[str] = ()) -> dict[str, Any]:
        """Arguments of `ray.remote`; `shunned`: ids of nodes to keep off."""
        options: dict[str, Any] = {"num_cpus": self.cpus}
        options |= {"num_gpus": self.gpus} if self.gpus else {}
        options |= {"memory": self.memory_bytes} if self.memory_bytes else {}
        labels = dict(self.labels)
        if shunned:
            labels["ray.io/node-id"] = f"!in({', '.join(sorted(shunned))})"
        return options | ({"label_selector": labels} if labels else {})

    def room(self, nodes: Iterable[Node]) -> int:
        """Number of such workers these nodes can hold when they hold nothing else."""
        return sum(self._room_on(node) for node in nodes if node.alive)

    def _room_on(self, node: Node) -> int:
        if not all(_matches(node.labels.get(name), selector) for name, selector in self.labels):
            return 0
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes or 0}
        return min(int(node.resources.get(name, 0.0) / each + _LEAST) for name, each in asked.items() if each)

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU", f"{self.gpus:g} GPU" if self.gpus else ""]
        parts += [f"{self.memory_bytes / _GB:g} GB of memory" if self.memory_bytes else ""]
        parts += [f"label {name}: {selector}" for name, selector in self.labels]
        return ", ".join(part for part in parts if part)


def _matches(value: str | None, selector: str) -> bool:
    """Whether a node's label is what a selector of Ray's asks for: `value`, `!value`, `in(a, b)`, `!in(a, b)`."""
    found = _SELECTOR.fullmatch(selector)
    if found is None:
        return False
    wanted = {part.strip() for part in (found["several"] or "").split(",")} if found["several"] else {found["one"]}
    return (value in wanted) != bool(found["negated"])


def shares_of(spec: WorkerSpec, nodes: Collection[Node], *, is_local: bool) -> dict[str, Share]:
    """What a worker of each stage takes. One box: all the same, as `run.gpus_per_actor` says."""
    settings, run = spec.settings.cluster, spec.settings.run
    there_are_gpus = any(node.alive and node.resources.get("GPU") for node in nodes)
    on_gpu = _ON_GPU | ({"analyse"} if spec.detector.architecture in _DETECTORS_ON_GPU else set())
    if is_local:
        share = Share(1.0, run.gpus_per_actor if there_are_gpus else 0.0, most=run.num_actors)
        return dict.fromkeys(set(STAGE_OF.values()), share)
    shares = {}
    for stage in set(STAGE_OF.values()):
        own: StageSettings = getattr(settings, stage)
        usual = run.gpus_per_actor if there_are_gpus and stage in on_gpu else 0.0
        shares[stage] = Share(
            cpus=own.cpus,
            gpus=usual if own.gpus is None else own.gpus,
            memory_bytes=None if own.memory_gb is None else int(own.memory_gb * _GB),
            labels=tuple(sorted(own.labels.items())),
            most=own.num_actors or run.num_actors,
        )
    return shares


def stage_of(job: Job) -> str:
    """The stage whose settings a job goes by."""
    return STAGE_OF[job.kind]
