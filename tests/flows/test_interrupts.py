"""An interrupted command ends soon, whatever it waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from flows import interrupts
from flows.exit_codes import EXIT_INTERRUPTED

STUCK = """
import signal, time
from flows import interrupts
from flows.interrupts import Interrupted, interruptible
interrupts.ENDS_WITHIN_S = 1.0
with interruptible():
    try:
        signal.alarm(100)  # as Ray's handler of SIGTERM does, to abort the process
        print("ready", flush=True)
        time.sleep(90)
    except Interrupted:
        print("alarm in", signal.alarm(0), flush=True)
        time.sleep(90)  # like the clients of servers that died
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_command_that_waits_for_the_dead_ends_all_the_same(times: int) -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        started = time.monotonic()
        for _ in range(times):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        output, errors = process.communicate(timeout=85)
    assert time.monotonic() - started < 60
    if times == 1:
        assert process.returncode == EXIT_INTERRUPTED
        assert output == b"alarm in 0\n"
        assert b"run the same command again" in errors


def test_a_process_that_is_no_command_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "ENDS_WITHIN_S", 0.0)
    interrupts.end_soon()
    time.sleep(0.2)  # still here


STARTING = """
import sys, time
import flows.commands.doctor
from flows.cli import main
def starts(**options):
    print("ready", flush=True)
    time.sleep(60)
flows.commands.doctor.doctor_command = starts
sys.argv = ["singalong", "doctor"]
main()
"""


def test_a_command_that_is_interrupted_before_it_listens_says_so() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == EXIT_INTERRUPTED
    assert errors.decode().splitlines() == [interrupts.INTERRUPTED]
