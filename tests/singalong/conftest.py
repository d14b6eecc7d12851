"""Fixtures of several files here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from singalong.remote_store import RemoteStore, open_store
from singalong.store import Store

Machine = Callable[[], RemoteStore]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "still.png", "song.wav", "voice.wav", "day 1.mov"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def url(bucket_url: str) -> str:
    """Of a store in the object server."""
    return f"{bucket_url}/the store"


@pytest.fixture
def machine(url: str, tmp_path: Path) -> Machine:
    """Makes machines: the same store, each with an empty cache."""
    number = iter(range(100))

    def make() -> RemoteStore:
        store = open_store(url, cache_dir=tmp_path / f"machine{next(number)}")
        assert isinstance(store, RemoteStore)
        return store

    return make
