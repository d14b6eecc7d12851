"""A `singalong run` on a cluster of raylets, and what became of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from singalong.contracts import AttemptRow
from singalong.errors import UsageError
from singalong.runfolder import RunFolder
from tests.raylets import Raylets

ROOT = Path(__file__).parents[1]
PATIENCE_S = 420.0


class Driver:
    """A `singalong run` on a cluster, from a checkout that may be another than the nodes'."""

    def __init__(self, cluster: Raylets, folder: Path, manifest: Path, *settings: str, checkout: Path = ROOT) -> None:
        self.run, self.store, self._log = folder / "run", folder / "store", folder / "log"
        told = ["plan.shard_s=0.2", "lipsync.generator=untrained", f"run.store={self.store}", *settings]
        command = [sys.executable, "-m", "flows", "run", str(manifest), "--run", str(self.run), "--json"]
        command += ["--ray-address", cluster.address, *(word for value in told for word in ("--set", value))]
        environment = cluster.environment | {
            "PREFECT_HOME": str(folder / "prefect"),
            "SINGALONG_MODELS": str(folder / "models"),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("RAY_ADDRESS")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "answer").open("w") as answer, self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=answer, stderr=log)

    def wait(self) -> str:
        """What it said on standard error, once it has ended."""
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
        return self.said()

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def answer(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.run.parent / "answer").read_text())
        return found

    def rows(self) -> list[AttemptRow]:
        try:
            return RunFolder.open(self.run).attempts()
        except UsageError:
            return []  # it is yet to be planned

    def workers(self) -> set[str]:
        return {row.worker for row in self.rows() if row.result is not None and not row.reused}

    def until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
