"""A store that keeps nothing made from a file that is no longer the one the run was planned with.

A clip may be replaced while its shards are made. Work keys are made of the planned content, so what was made of another
must not stand under them: every later run would take it for right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from singalong.contracts import ShardResult
from singalong.store import Store

PlannedFile = tuple[Path, str]
"""A file with the SHA-256 it was planned with."""


class CheckedStore(Store):
    """The same store, which looks at `files` before it commits; raises ChangedFileError then."""

    def __init__(self, store: Store, files: Sequence[PlannedFile]) -> None:
        super().__init__(store.root)
        self._temp = store._temp  # or every job would leave a folder and a lock behind
        self._files = files

    def check(self) -> None:
        """Raise ChangedFileError unless all files are there as they were planned."""
        for path, sha256 in self._files:
            self.check_unchanged(path, sha256)

    def commit(self, result: ShardResult, *, segment: Path, frames: Path) -> ShardResult:
        """Like `Store.commit`, if the files are unchanged after the last of them was read."""
        self.check()
        return super().commit(result, segment=segment, frames=frames)

    def commit_cache(self, kind: str, sha256: str, version: str, build: Callable[[Path], object]) -> Path:
        """Like `Store.commit_cache`, if the files are unchanged after `build` read them."""

        def build_and_check(folder: Path) -> None:
            build(folder)
            self.check()

        return super().commit_cache(kind, sha256, version, build_and_check)
