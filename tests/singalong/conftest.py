"""Fixtures of several files here."""

from pathlib import Path

import pytest

from singalong.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "still.png", "song.wav", "voice.wav", "day 1.mov"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "sub").mkdir()
    return tmp_path
