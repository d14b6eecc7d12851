"""A file by which other nodes show that they see this machine's disk, and not one of their own under the same path."""

from __future__ import annotations

import secrets
from pathlib import Path


class Marker:
    """An empty file in a folder, with a name that no other has."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = str(folder / f".seen-{secrets.token_hex(8)}")
        Path(self.path).touch()

    def close(self) -> None:
        """Take it away."""
        Path(self.path).unlink(missing_ok=True)
