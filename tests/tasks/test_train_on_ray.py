"""Ray Train on a real local cluster: places in the group, mean gradients, errors as they are, nobody left behind."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from singalong.errors import InfraError, InputError, ResourceError, UsageError
from tasks.actors import train_on_ray
from tasks.actors.connect import connect
from tasks.training.paper.checkpoint import read_network
from tasks.training.paper.context import TrainContext
from tasks.training.paper.launch import launch
from tasks.training.paper.loop import new_training
from tests.tasks.training.paper.conftest import dataset, expert_file, plan  # noqa: F401

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def loop_for_test(context: TrainContext, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker sees; module-level, so that workers find it by name."""
    if config["deed"] == "refuse":
        raise InputError("nothing to learn", file="here")
    if config["deed"] == "fill the disk":
        raise OSError(errno.ENOSPC, "No space left on device", "here")
    if config["deed"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if config["deed"] == "wait":
        Path(config["sign"]).touch()
        time.sleep(600.0)
    context.barrier()
    ranks = context.total(torch.tensor([context.rank + 1.0]))
    context.report({"loss": 1.0})
    return {"rank": context.rank, "world_size": context.world_size, "sum": float(ranks), "pid": os.getpid()}


def fit(tmp_path: Path, deed: str, *, num_workers: int = 1, sign: str = "", **options: Any) -> Any:
    config = {"deed": deed, "sign": sign}
    return train_on_ray(
        loop_for_test, config, num_workers=num_workers, use_gpu=False, storage=tmp_path / "ray", **options
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for the tests below that ask for it; nobody ends what others started."""
    assert connect(None)
    yield
    ray.shutdown()


def test_the_first_of_two_workers_answers_and_all_end(tmp_path):
    waits = []
    answer = fit(tmp_path, "work", num_workers=2, on_wait=lambda: waits.append(1))
    assert (answer["rank"], answer["world_size"], answer["sum"]) == (0, 2, 3.0)
    assert waits
    with pytest.raises(ProcessLookupError):
        os.kill(answer["pid"], 0)


def test_nobody_is_in_ray_any_more_when_an_interrupted_training_shuts_it_down(tmp_path, monkeypatch):
    """Ray crashes, with its caller, when it is shut down under a thread that waits for it."""
    sign, left = tmp_path / "sign", []

    def interrupt() -> None:
        if sign.exists():
            raise KeyboardInterrupt

    shutdown = ray.shutdown
    monkeypatch.setattr(ray, "shutdown", lambda: (left.extend(threading.enumerate()), shutdown()))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, "wait", sign=str(sign), on_wait=interrupt)
    assert left
    assert "ray-train" not in {thread.name for thread in left}
    assert time.monotonic() - began < 300.0, "it waited for its worker"


def test_more_workers_than_cores_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cores"):
        fit(tmp_path, "work", num_workers=10_000)


def test_an_error_of_ours_comes_out_as_it_is(tmp_path, cluster):
    with pytest.raises(InputError, match="here: nothing to learn"):
        fit(tmp_path, "refuse")


def test_an_error_of_the_system_is_filed_as_everywhere(tmp_path, cluster):
    with pytest.raises(ResourceError, match="No space left on device"):
        fit(tmp_path, "fill the disk")


def test_two_workers_learn_the_mean_of_what_each_learns(plan, tmp_path, cluster):  # noqa: F811
    folder = plan("expert", tmp_path / "run", num_steps=1, batch_size=4, num_workers=2, executor="ray", eval_batches=2)
    figures = launch(folder)
    _, together = read_network(folder.checkpoints, "expert")
    settings = folder.settings()
    gradients = []
    for rank in range(2):
        training = new_training(settings, TrainContext(torch.device("cpu"), rank=rank, world_size=2))
        training.networks["expert"].train()
        training._figures(training.batch(1), training.networks["expert"])["loss"].backward()
        gradients.append([parameter.grad for parameter in training.networks["expert"].parameters()])
    training = new_training(settings, TrainContext(torch.device("cpu")))
    network = training.networks["expert"]
    for parameter, first, second in zip(network.parameters(), *gradients, strict=True):
        parameter.grad = (first + second) / 2
    training.optimizers["expert"].step()
    for name, parameter in network.named_parameters():
        if name.endswith("conv_block.0.bias"):
            continue  # the batch norm behind it takes it away again: its gradient is nothing but rounding
        # Adam's first step has the size of the learning rate whatever the gradient's; rounding may turn tiny ones round
        assert torch.isclose(parameter, together[name], atol=1e-6).float().mean() > 0.9, name
    assert figures.keys() == {"loss", "accuracy"}


def test_two_workers_train_against_a_discriminator(plan, tmp_path, cluster):  # noqa: F811
    options = {"num_steps": 2, "batch_size": 2, "num_workers": 2, "executor": "ray", "eval_batches": 2, "gan": True}
    folder = plan("generator", tmp_path / "run", **options)
    assert launch(folder).keys() == {"l1", "sync", "perceptual", "disc_real", "disc_fake"}
    assert len(folder.log.read_text().splitlines()) == 2


def test_a_worker_that_dies_is_the_clusters_failure(tmp_path, cluster):
    # the last test of the cluster: Ray keeps the cores of a group that died for as long as its driver lives
    with pytest.raises(InfraError, match="worker of the training died"):
        fit(tmp_path, "die")
