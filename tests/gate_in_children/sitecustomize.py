"""Python imports this at its start where `tests.gate` put it in the way: workers of this process heed a gate."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_HELD: dict[str, tuple[str, str, Callable[..., str]]] = {
    "tasks.worker": ("Worker", "run", lambda _worker, job: type(job).__name__),
    "tasks.training.paper.loop": ("_Loop", "_save", lambda _loop: "Step"),
}
"""By module: the class and the method that wait, and the kind of what they do."""


class _Finder(importlib.abc.MetaPathFinder):
    """Changes these modules as they are imported, from wherever that is."""

    def __init__(self) -> None:
        self._left = set(_HELD)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self._left:
            return None
        self._left.remove(name)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def and_hold(module: ModuleType) -> None:
            execute(module)
            owner, method, kind_of = _HELD[name]
            _hold(getattr(module, owner), method, kind_of, Path(os.environ["SINGALONG_TEST_GATE"]))

        spec.loader.exec_module = and_hold  # type: ignore[method-assign]
        return spec


def _hold(owner: Any, method: str, kind_of: Callable[..., str], gate: Path) -> None:
    """Stand before a call as long as the gate is shut and so many of its kind have passed."""
    real, passed = getattr(owner, method), Counter[str]()

    def held(*arguments: Any) -> Any:
        kind = kind_of(*arguments)
        while _is_shut(gate / kind, passed[kind]):
            (gate / f"{os.getpid()}.stands").touch()
            time.sleep(0.05)
        (gate / f"{os.getpid()}.stands").unlink(missing_ok=True)
        passed[kind] += 1
        return real(*arguments)

    setattr(owner, method, held)


def _is_shut(gate: Path, passed: int) -> bool:
    try:
        return passed >= int(gate.read_text())
    except FileNotFoundError:
        return False


if "SINGALONG_TEST_GATE" in os.environ:
    sys.meta_path.insert(0, _Finder())
