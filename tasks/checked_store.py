"""A store that keeps nothing made from a file that is no longer the one the run was planned with.

A clip may be replaced while its shards are made. Work keys are made of the planned content, so what was made of another
must not stand under them: every later run would take it for right.
"""

from __future__ import annotations

from collections.abc import Sequence

from singalong.store import Store

PlannedFile = tuple[str, str]
"""A path or URL with the SHA-256 it was planned with."""


def checked_store(store: Store, files: Sequence[PlannedFile]) -> Store:
    """The same store, which looks at `files` before it commits; raises ChangedFileError then, as its `check` does."""

    def check() -> None:
        for location, sha256 in files:
            store.check_unchanged(location, sha256)

    return store.guarded(check)
