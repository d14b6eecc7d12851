"""The loop: a training that is killed anywhere and started again leaves what an unbroken one leaves, byte for byte."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from singalong.errors import InputError
from tasks.training.paper import loop
from tasks.training.paper.context import TrainContext
from tasks.training.paper.expert import ExpertTraining
from tasks.training.paper.generator import GeneratorTraining
from tasks.training.paper.launch import launch
from tasks.training.paper.loop import new_training
from tests.tasks.training.paper.datasets import write_dataset

TRAININGS = {
    "expert": {},
    "generator": {"sync_switch": 1e9, "eval_every": 2, "checkpoint_every": 3, "num_steps": 5, "batch_size": 1},
    "gan": {"gan": True, "sync_switch": 1e9, "eval_every": 2, "checkpoint_every": 3, "num_steps": 5, "batch_size": 1},
}


class Killed(BaseException):
    """Stands for kill -9: nothing of ours handles it."""


def kind_of(name: str) -> str:
    return "expert" if name == "expert" else "generator"


def left_behind(run: Path) -> dict[str, bytes]:
    """What must not depend on interruptions."""
    patterns = ("log.jsonl", "checkpoints/*", "samples/*")
    return {str(path.relative_to(run)): path.read_bytes() for pattern in patterns for path in run.glob(pattern)}


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def kill_at(monkeypatch: pytest.MonkeyPatch, where: str, number: int) -> None:
    """Die at the so-manyth call of this function of a training or of the loop."""
    owner = {"learn": (ExpertTraining, GeneratorTraining), "measure": (ExpertTraining, GeneratorTraining)}
    calls = 0
    for target in owner.get(where, (loop,)):
        original = getattr(target, where)

        def dying(*args, original=original, **kwargs):
            nonlocal calls
            calls += 1
            if calls == number:
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(target, where, dying)


@pytest.fixture(scope="module")
def unbroken(dataset, expert_file, tmp_path_factory):
    """unbroken(name): what a training leaves that nobody disturbed."""
    done = {}

    def get(name, plan):
        if name not in done:
            run = tmp_path_factory.mktemp(name) / "run"
            figures = launch(plan(kind_of(name), run, **TRAININGS[name]))
            done[name] = left_behind(run), figures, rows(run)
        return done[name]

    return get


@pytest.mark.parametrize(
    ("name", "where", "number"),
    [
        ("expert", "learn", 1),
        ("expert", "learn", 3),
        ("expert", "measure", 1),  # between step and evaluation
        ("expert", "save", 3),  # between evaluation and checkpoint
        ("generator", "write_atomic", 2),  # before the sheet
        ("gan", "learn", 5),
    ],
)
def test_a_killed_training_goes_on_as_if_it_had_not_been(name, where, number, plan, unbroken, tmp_path, monkeypatch):
    folder = plan(kind_of(name), tmp_path / "run", **TRAININGS[name])
    with monkeypatch.context() as patch:
        kill_at(patch, where, number)
        with pytest.raises(Killed):
            launch(folder)
    torch.manual_seed(1)
    figures = launch(plan(kind_of(name), tmp_path / "run", **TRAININGS[name]))
    files, expected, _ = unbroken(name, plan)
    assert left_behind(folder.path) == files
    assert figures == expected


def test_rows_evaluations_and_checkpoints_come_when_they_are_due(plan, unbroken):
    files, _, log = unbroken("expert", plan)
    assert [row["step"] for row in log if "loss" in row] == list(range(1, 9))
    assert [row["step"] for row in log if "eval_loss" in row] == [4, 8]
    assert {name for name in files if name.startswith("checkpoints")} == {
        "checkpoints/step-000000006.pt",
        "checkpoints/step-000000008.pt",
    }


def test_without_gan_the_first_evaluation_is_at_step_1(plan, unbroken):
    _, _, log = unbroken("generator", plan)
    assert [row["step"] for row in log if "eval_sync" in row] == [1, 2, 4]
    _, _, log = unbroken("gan", plan)
    assert [row["step"] for row in log if "eval_sync" in row] == [2, 4]


@pytest.mark.parametrize(("name", "weight", "since"), [("generator", 0.01, 1), ("gan", 0.03, 2)])
def test_the_sync_loss_counts_once_an_evaluation_was_good_enough(name, weight, since, plan, unbroken):
    _, _, log = unbroken(name, plan)
    steps = [row for row in log if "loss" in row]
    assert [row["step"] for row in steps if "sync" in row] == list(range(since + 1, 6))
    perceptual = 0.07 if name == "gan" else 0.0
    for row in steps:
        sync = weight if "sync" in row else 0.0
        expected = (
            sync * row.get("sync", 0) + perceptual * row.get("perceptual", 0) + (1 - sync - perceptual) * row["l1"]
        )
        assert row["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_sync_loss_stays_out_while_evaluations_are_bad(plan, tmp_path):
    folder = plan("generator", tmp_path / "run", num_steps=3, eval_every=1, sync_switch=0.0)
    launch(folder)
    assert all("sync" not in row for row in rows(folder.path))
    assert {row["sync_weight"] for row in rows(folder.path) if "sync_weight" in row} == {0.0}


def test_the_switch_survives_a_restart(plan, tmp_path):
    folder = plan("generator", tmp_path / "run", num_steps=2, sync_switch=1e9)
    launch(folder)
    launch(plan("generator", tmp_path / "run", num_steps=3, sync_switch=1e9))
    assert "sync" in rows(folder.path)[-1]


def test_sheets_show_four_columns(plan, unbroken):
    files, _, _ = unbroken("gan", plan)
    sheets = {name: data for name, data in files.items() if name.startswith("samples/")}
    assert sorted(sheets) == [f"samples/step-{step:09d}.png" for step in (1, 3)]
    for data in sheets.values():
        sheet = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert sheet.shape == (16 + 12 * 98, 4 * 98, 3)


def test_a_training_that_is_made_longer_equals_one_that_was_long_from_the_start(plan, unbroken, tmp_path):
    launch(plan("expert", tmp_path / "run", num_steps=5))
    launch(plan("expert", tmp_path / "run", num_steps=8))
    files, _, _ = unbroken("expert", plan)
    assert left_behind(tmp_path / "run") == files


def test_a_finished_training_is_not_trained_further(plan, tmp_path, monkeypatch):
    folder = plan("expert", tmp_path / "run", num_steps=2)
    figures = launch(folder)
    before = left_behind(folder.path)
    kill_at(monkeypatch, "learn", 1)
    assert launch(plan("expert", tmp_path / "run", num_steps=2)) == figures
    assert left_behind(folder.path) == before


def test_a_checkpoint_is_made_every_minute_and_disturbs_nothing(plan, unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    folder = plan("expert", tmp_path / "run")
    with monkeypatch.context() as patch:
        kill_at(patch, "learn", 6)
        with pytest.raises(Killed):
            launch(folder)
    assert (folder.checkpoints / "step-000000005.pt").is_file()
    monkeypatch.undo()
    launch(plan("expert", tmp_path / "run"))
    files, _, _ = unbroken("expert", plan)
    assert left_behind(folder.path) == files


def test_another_seed_gives_another_training(plan, unbroken, tmp_path):
    folder = plan("expert", tmp_path / "run", num_steps=1, seed=4)
    launch(folder)
    assert rows(folder.path)[0] != unbroken("expert", plan)[2][0]


def test_a_dataset_that_changed_since_the_start_is_refused(plan, tmp_path):
    dataset = write_dataset(tmp_path / "dataset", num_videos=3)
    folder = plan("expert", tmp_path / "run", dataset=dataset)
    write_dataset(dataset, num_videos=4)
    with pytest.raises(InputError, match="not those the training was started with"):
        launch(folder)


@pytest.mark.parametrize("name", list(TRAININGS))
def test_every_weight_of_what_is_trained_learns_and_the_expert_does_not(name, plan, tmp_path):
    settings = plan(kind_of(name), tmp_path / "run", **TRAININGS[name]).settings()
    training = new_training(settings, TrainContext(torch.device("cpu")))
    training.begin()
    training.evaluated({"sync": 0.0})
    before = {key: {k: v.clone() for k, v in net.state_dict().items()} for key, net in training.networks.items()}
    frozen = None if name == "expert" else {k: v.clone() for k, v in training.expert.state_dict().items()}
    training.learn(training.batch(1))
    training.measure(0)
    for key, network in training.networks.items():
        still = [k for k, v in network.named_parameters() if torch.equal(v, before[key][k])]
        # biases before a batch normalisation have no effect: their gradient is nothing but rounding, and may be 0
        normalised = {k.replace("block.1.weight", "block.0.bias") for k in before[key] if k.endswith("block.1.weight")}
        still = [k for k in still if k not in normalised]
        assert not still, still
    if frozen is not None:
        assert all(torch.equal(value, frozen[k]) for k, value in training.expert.state_dict().items())
