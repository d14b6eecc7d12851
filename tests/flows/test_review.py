"""`singalong review` as people start and end it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from singalong.config import Settings
from singalong.runfolder import RunFolder
from tests.singalong.builders import pair_row, plan_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return RunFolder.create(tmp_path / "run", plan_of([pair_row(1, song_end_s=4)]), Settings()).path


def test_it_prints_its_address_serves_this_machine_only_and_ends_well_with_ctrl_c(run: Path) -> None:
    command = [sys.executable, "-m", "flows", "review", str(run), "--no-open", "--json", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads("".join(process.stdout.readline() for _ in range(4)))
            assert (told["run"], told["url"].split(":")[1]) == (str(run), "//127.0.0.1")
            with httpx.Client() as browser:
                assert browser.get(told["url"]).status_code == 200
                address, _, _ = told["url"].partition("?")
                assert [row["id"] for row in browser.get(address + "api/pairs").json()["pairs"]] == ["p1"]
            taken = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert taken.returncode == 2
            assert "the port cannot be had" in " ".join(taken.stderr.split())
        finally:
            process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in complaints
        assert "every decision is in the run folder" in complaints


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
