"""The `singalong` command, called in this process."""

from __future__ import annotations

import sys

import pytest

from flows.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Its exit code."""
    monkeypatch.setattr(sys, "argv", ["singalong", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)
