"""A machine's turn: one at a time, and free again however its holder ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import schedule_turn
from flows.schedule_turn import machine_turn
from singalong.errors import UsageError

HOLDER = """
import sys, time
from pathlib import Path
from flows.schedule_turn import machine_turn
with machine_turn(lambda: None, folder=Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_the_second_waits_and_a_killed_holder_gives_its_turn_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_turn, "LOOK_AGAIN_S", 0.02)
    told = []
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"

        def waiting() -> None:
            told.append(True)
            holder.send_signal(signal.SIGKILL)

        with machine_turn(waiting, folder=tmp_path):
            assert told == [True]


def test_a_large_machine_has_as_many_turns_as_its_worker_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINGALONG_RUNS_AT_ONCE", "2")
    with machine_turn(pytest.fail, folder=tmp_path), machine_turn(pytest.fail, folder=tmp_path):
        pass
    monkeypatch.setenv("SINGALONG_RUNS_AT_ONCE", "many")
    with pytest.raises(UsageError, match="SINGALONG_RUNS_AT_ONCE"), machine_turn(pytest.fail, folder=tmp_path):
        pass
