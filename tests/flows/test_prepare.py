"""The whole command `train prepare`: exit codes, what it prints, and that it can be stopped at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flows import console
from tests.gate import Gate
from tests.tasks.training.talking import speech, talking_video

PATIENCE_S = 300.0


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SINGALONG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SINGALONG_MODELS", str(tmp_path / "models"))


def videos(folder: Path, num: int) -> Path:
    folder.mkdir()
    for number in range(num):
        talking_video(folder / f"{number}.mkv", speech(1, seed=number), seconds=1)
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return console.call(monkeypatch, "train", "prepare", *arguments)


def test_a_folder_is_prepared_and_then_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = videos(tmp_path / "videos", 2)
    arguments = (folder, "--data", tmp_path / "data", "--set", "run.executor=inprocess", "--json")
    assert call(monkeypatch, *arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["num_videos"], summary["reasons"], summary["num_sequences"]) == (2, {"no face": 2}, 0)
    assert Path(summary["table"]).is_file()
    monkeypatch.setattr("tasks.training.prepare_span.prepare_span", None)
    assert call(monkeypatch, *arguments) == 0
    assert json.loads(capsys.readouterr().out) == summary


def test_a_bad_video_exits_with_1_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = videos(tmp_path / "videos", 1)
    (folder / "bad.mp4").write_text("<!DOCTYPE html>")
    assert call(monkeypatch, folder, "--data", tmp_path / "data", "--set", "run.executor=inprocess") == 1
    shown = capsys.readouterr().out
    for expected in ("INPUT", "bad.mp4", "no face", "2 videos", "prepared.parquet"):
        assert expected in shown


def test_a_folder_that_is_not_there_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, tmp_path / "lost", "--data", tmp_path / "data", "--set", "run.executor=inprocess") == 2
    assert "lost" in capsys.readouterr().err


@pytest.mark.ray
def test_stopped_under_prefect_and_ray_it_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, dataset = videos(tmp_path / "videos", 3), tmp_path / "data"
    gate = Gate(tmp_path / "gate")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
    environment = inherited | gate.environment() | {"PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "flows", "train", "prepare", str(folder), "--data", str(dataset), "--json"]
    command += ["--set", "run.num_actors=1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with gate.shut(kind="SequencesJob"):
        process = subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)
        deadline = time.monotonic() + PATIENCE_S
        while not gate.standing() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        done = list(dataset.glob("videos/*/*/*.json"))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "run the same command again" in errors
    assert len(done) == 1
    before = {path: path.stat().st_mtime_ns for path in done}
    again = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    assert again.returncode == 0, again.stderr
    document = again.stdout[again.stdout.index("{") :]  # Ray may have said something before
    assert json.loads(document)["reasons"] == {"no face": 3}
    assert {path: path.stat().st_mtime_ns for path in before} == before
