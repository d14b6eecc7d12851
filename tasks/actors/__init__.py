"""Ray: the pool of actors and training on several workers. The only package that imports ray.

Files:
    worker     what runs inside an actor
    pool       the slots behind `tasks.pool.Pool`
    processes  an actor's process on this machine, and what is left of a cluster that died
    connect    starting a cluster or joining one; probe: whether anybody listens
    signals    handlers that Ray would replace
    train      Ray Train
"""

from __future__ import annotations

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported: no telemetry
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves workers behind anything else, into deadlines

from tasks.actors.pool import RayCluster, RayPool
from tasks.actors.train import train_on_ray
from tasks.actors.worker import WorkerActor

__all__ = ["RayCluster", "RayPool", "WorkerActor", "train_on_ray"]
