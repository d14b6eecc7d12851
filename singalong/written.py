"""Folders that are kept elsewhere, too: whoever keeps one is told of every file that is written below it.

A run at a URL is worked on in a folder on the disk. What writes there (the ledger, reports, reviews) need not know that
the truth is elsewhere: `singalong.durable` tells of each file once it is whole, and goes on when it is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol


class Keeper(Protocol):
    """Keeps what is written in a folder."""

    def wrote(self, path: Path) -> None:
        """A file stands there whole; it counts once this returns."""

    def removed(self, path: Path) -> None:
        """A file is gone for good."""


_keepers: dict[Path, Keeper] = {}


@contextlib.contextmanager
def kept_by(folder: Path, keeper: Keeper) -> Iterator[None]:
    """Have the keeper told of files in this folder, an absolute path, for the block."""
    assert folder not in _keepers, folder
    _keepers[folder] = keeper
    try:
        yield
    finally:
        del _keepers[folder]


def keeper_of(path: Path) -> Keeper | None:
    """Who keeps the folder that a path lies in, or is."""
    if not _keepers:
        return None
    return next((keeper for folder, keeper in _keepers.items() if path == folder or folder in path.parents), None)


def tell_written(path: Path) -> None:
    """Say that a file was written; returns when it is kept."""
    keeper = keeper_of(path)
    if keeper is not None:
        keeper.wrote(path)


def tell_removed(path: Path) -> None:
    """Say that a file was removed."""
    keeper = keeper_of(path)
    if keeper is not None:
        keeper.removed(path)


class Removals:
    """Says what the ledger removed; of what it wrote `singalong.durable` has told."""

    def wrote(self, path: Path) -> None:
        """Told already."""

    def removed(self, paths: Sequence[Path]) -> None:
        """Pass it on."""
        for path in paths:
            tell_removed(path)
