"""`singalong train` as a user meets it: killed or interrupted, given again, and done as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.losses import SYNC_SWITCH
from tests.flows.console import call
from tests.gate import Gate
from tests.tasks.training.paper.datasets import write_dataset

PATIENCE_S = 300.0
SMALL = {
    "--width": 0.02,
    "--batch-size": 2,
    "--num-steps": 9,
    "--eval-every": 3,
    "--eval-batches": 1,
    "--checkpoint-every": 4,
    "--device": "cpu",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), num_videos=3)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def environment(tmp_path: Path, gate: Gate) -> dict[str, str]:
    changes = {"PREFECT_HOME": str(tmp_path / "prefect"), "SINGALONG_MODELS": str(tmp_path / "models")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
    for name in [name for name in inherited if name.endswith("_NUM_THREADS")]:  # left by tests that started Ray
        del inherited[name]
    return inherited | gate.environment() | changes | {"OMP_NUM_THREADS": "1"}


def start(kind: str, dataset: Path, run: Path, environment: dict[str, str], **changes: object) -> subprocess.Popen[str]:
    options = SMALL | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    words = [str(word) for option in options.items() for word in option]
    return subprocess.Popen(
        [sys.executable, "-m", "flows", "train", kind, str(dataset), "--run", str(run), *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def wait_for(process: subprocess.Popen[str], gate: Gate) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not gate.standing() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gate.standing(), process.communicate()[1]


def left_behind(run: Path) -> dict[str, bytes]:
    """All but older checkpoints, which are made by the minute, too."""
    paths = [path for pattern in ("log.jsonl", "samples/*", "model.safetensors") for path in run.glob(pattern)]
    paths.append(max(run.glob("checkpoints/*.pt")))
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def test_a_training_killed_without_warning_ends_as_an_unbroken_one(
    dataset: Path, tmp_path: Path, environment: dict[str, str], gate: Gate
) -> None:
    with gate.shut(after=4, kind="Step"):
        killed = start("expert", dataset, tmp_path / "killed", environment, executor="inprocess")
        wait_for(killed, gate)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
    assert (tmp_path / "killed" / "checkpoints" / "step-000000004.pt").exists()
    unbroken = start("expert", dataset, tmp_path / "unbroken", environment, executor="inprocess")
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    finish(start("expert", dataset, tmp_path / "killed", environment, executor="inprocess"))
    finish(unbroken)
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "unbroken")


@pytest.mark.ray
def test_an_interrupted_training_is_cancelled_and_ends_as_an_unbroken_one(
    dataset: Path, tmp_path: Path, environment: dict[str, str], gate: Gate
) -> None:
    with gate.shut(after=4, kind="Step"):
        process = start("expert", dataset, tmp_path / "run", environment)
        wait_for(process, gate)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does it
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "again to go on" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "run" / "checkpoints" / "step-000000004.pt").exists()
    finish(start("expert", dataset, tmp_path / "run", environment))
    device = json.loads((tmp_path / "run" / "progress.json").read_text())["device"]
    environment["OMP_NUM_THREADS"] = str(int(device.split()[1]))  # sums depend on how threads share them
    finish(start("expert", dataset, tmp_path / "unbroken", environment, executor="inprocess"))
    assert left_behind(tmp_path / "run") == left_behind(tmp_path / "unbroken")
    with sqlite3.connect(tmp_path / "prefect" / "prefect.db") as database:
        states = [state for (state,) in database.execute("select state_type from flow_run order by start_time")]
    assert states[-1] == "COMPLETED"


def test_an_expert_trains_a_generator_and_both_can_be_added(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SINGALONG_MODELS", str(tmp_path / "models"))
    options = [word for option in (SMALL | {"--num-steps": 1, "--executor": "inprocess"}).items() for word in option]
    expert, generator = tmp_path / "expert", tmp_path / "generator"
    assert call(monkeypatch, "train", "expert", dataset, "--run", expert, "--licence", "MIT", *options) == 0
    assert "singalong models add expert" in capsys.readouterr().out
    assert call(monkeypatch, "models", "add", "teacher", expert / "model.safetensors") == 0
    assert "licence: MIT\ntrained on: " in capsys.readouterr().out
    command = ["train", "generator", dataset, "--run", generator, "--expert", "teacher", "--gan", "--json", *options]
    assert call(monkeypatch, *command) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["model"] == str(generator / "model.safetensors")
    assert card["training"]["settings"]["sync_switch"] == SYNC_SWITCH
    assert card["licence"].startswith("unknown")
    assert (generator / "samples" / "step-000000001.png").stat().st_size > 0
    assert call(monkeypatch, "models", "add", "pupil", generator / "model.safetensors") == 0


def test_a_training_with_other_settings_exits_with_2_and_names_them(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "expert", dataset, "--run", tmp_path / "run", "--executor", "inprocess", "--width", "0.02"]
    steps = ["--num-steps", "1", "--batch-size", "2", "--eval-batches", "1"]
    assert call(monkeypatch, *command, *steps) == 0
    assert call(monkeypatch, *command, *steps, "--seed", "7") == 2
    message = capsys.readouterr().err
    assert "--seed: 0 then, 7 now" in message
    assert "Traceback" not in message


def test_a_missing_dataset_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "train", "expert", tmp_path / "none", "--run", tmp_path / "run") == 2
    assert "singalong train prepare" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
