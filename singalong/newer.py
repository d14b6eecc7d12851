"""What a newer singalong wrote is refused, never guessed at: it may mean something else, or be overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from singalong.errors import UsageError


def refuse_newer(what: str, found: object, known: int, *, file: str | Path | None = None) -> None:
    """Raise UsageError where `found`, the version of a file, is above `known`, the one this singalong writes.

    What is no version at all passes: reading on will tell what is wrong with the file.
    """
    try:
        version = int(found) if isinstance(found, int | str | bytes) else known
    except ValueError:
        return
    if version > known:
        raise UsageError(
            f"{what} was written by a newer singalong",
            file=file,
            value=f"version {version}",
            expected=f"version {known} or older",
            action="Update singalong.",
        )


def version_in(data: bytes, key: str, default: int = 1) -> Any:
    """What a JSON document says of its version; `default` where it says nothing, or is damaged: others notice that."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return default
    return content.get(key, default) if isinstance(content, dict) else default
