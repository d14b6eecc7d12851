"""A gate for the workers of commands that tests start: shut, it stops them in their work, however fast they are.

So a test finds a run in the middle of its shards whenever it looks, on a fast machine as on a slow one, and needs
neither many shards nor slow ones. Workers come to it in whatever process they run; theirs are the real ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_IN_CHILDREN = Path(__file__).parent / "gate_in_children"


class Gate:
    """Open, but for while it is shut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What of their environment makes processes heed it."""
        path = os.pathsep.join(filter(None, (str(_IN_CHILDREN), inherited.get("PYTHONPATH"))))
        return {"SINGALONG_TEST_GATE": str(self._folder), "PYTHONPATH": path}

    @contextmanager
    def shut(self, after: int = 1, kind: str = "LipsyncJob") -> Iterator[None]:
        """Each process does so many jobs of this kind and stops before the next, until this context ends.

        kind: the class of the job; or "Step", of a training, which stops before it saves the next.
        """
        part, sign = self._folder / "part", self._folder / kind
        part.write_text(str(after))
        part.replace(sign)
        try:
            yield
        finally:
            sign.unlink()

    def standing(self) -> set[int]:
        """Ids of the processes that stand there."""
        pids = {int(path.stem) for path in self._folder.glob("*.stands")}
        return {pid for pid in pids if self._is_ours(pid)}

    def _is_ours(self, pid: int) -> bool:
        """Whether a process lives, and is none that got a dead one's id."""
        try:
            return str(self._folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
