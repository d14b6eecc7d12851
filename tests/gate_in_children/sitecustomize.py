"""Python imports this at its start where `tests.gate` put it in the way: workers of this process heed a gate."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_HELD = "tasks.worker"


class _Finder(importlib.abc.MetaPathFinder):
    """Changes the one module as it is imported, from wherever that is."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != _HELD:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def and_hold(module: ModuleType) -> None:
            execute(module)
            _hold(module.Worker, Path(os.environ["SINGALONG_TEST_GATE"]))

        spec.loader.exec_module = and_hold  # type: ignore[method-assign]
        return spec


def _hold(worker: Any, gate: Path) -> None:
    """Stand before a job as long as the gate is shut and so many of its kind have passed."""
    run, passed = worker.run, Counter[str]()

    def held(self: Any, job: Any) -> Any:
        kind = type(job).__name__
        while _is_shut(gate / kind, passed[kind]):
            (gate / f"{os.getpid()}.stands").touch()
            time.sleep(0.05)
        (gate / f"{os.getpid()}.stands").unlink(missing_ok=True)
        passed[kind] += 1
        return run(self, job)

    worker.run = held


def _is_shut(gate: Path, passed: int) -> bool:
    try:
        return passed >= int(gate.read_text())
    except FileNotFoundError:
        return False


if "SINGALONG_TEST_GATE" in os.environ:
    sys.meta_path.insert(0, _Finder())
