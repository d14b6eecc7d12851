from __future__ import annotations

import sys

import pytest

from flows.watchers import terminal_progress


def test_what_libraries_print_during_a_run_does_not_reach_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_progress():
        sys.stdout.write("(raylet) A worker died\n")
    sys.stdout.write("{}\n")
    captured = capsys.readouterr()
    assert captured.out == "{}\n"
    assert "raylet" in captured.err
