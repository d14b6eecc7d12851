import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from tasks.training.loop import LoopSettings, TrainingState, learning_rate_factor, train

SETTINGS = LoopSettings(num_steps=12, learning_rate=0.05, warmup_steps=3, checkpoint_every=5, log_every=4)


def _run(folder: Path, *, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))

    def loss_of_step(step: int):
        x = torch.sin(torch.arange(6.0).reshape(2, 3) + step)
        return network(x).square().mean(), {"step_seen": float(step)}

    train(TrainingState.new(network, SETTINGS), loss_of_step, SETTINGS, folder, stop_at=stop_at)
    return network.state_dict()


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    whole = _run(tmp_path / "whole")
    _run(tmp_path / "parts", stop_at=5)
    resumed = _run(tmp_path / "parts")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_the_log_of_a_run_killed_after_its_checkpoint_has_every_row_once(tmp_path):
    _run(tmp_path, stop_at=8)  # logs at steps 4 and 8, checkpoint at 5
    _run(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12]


def test_a_finished_run_is_not_trained_further(tmp_path):
    first = {key: value.clone() for key, value in _run(tmp_path).items()}
    again = _run(tmp_path)
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_learning_rate_rises_then_falls_to_zero():
    factors = [learning_rate_factor(step, SETTINGS) for step in range(13)]
    assert factors[0] < factors[1] < factors[2] <= 1
    assert factors[3] == 1
    assert all(later < earlier for earlier, later in pairwise(factors[3:]))
    assert abs(factors[12]) < 1e-9


def test_parameters_named_by_a_prefix_learn_at_their_own_rate():
    network = nn.ModuleDict({"slow": nn.Linear(1, 1), "fast": nn.Linear(1, 1)})
    state = TrainingState.new(network, SETTINGS, {"slow": 0.1})
    assert sorted(round(rate, 6) for rate in state.base_rates) == [0.005, 0.05]
