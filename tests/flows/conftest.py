"""Synthetic input, made once for all tests of whole runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flows import console
from tests.synthetic_inputs import write_inputs

SETTINGS = ["--set", "run.executor=inprocess", "--set", "plan.shard_s=1.5"]


@pytest.fixture(scope="session")
def demo_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two short clips of synthetic faces, a song of three seconds and its vocals."""
    folder = tmp_path_factory.mktemp("demo-inputs")
    write_inputs(folder)
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> tuple[int, Any]:
        code = console.call(monkeypatch, *arguments, "--json")
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else printed.err

    return call


@pytest.fixture(scope="session")
def finished(demo_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests make passes of it beside it, and leave it as it is."""
    run = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        assert console.call(patch, "run", demo_inputs / "manifest.csv", "--run", run, *SETTINGS) == 0
    return run
