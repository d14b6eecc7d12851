"""A `singalong run` on a cluster of raylets, and what became of it.

python -m tests.cluster_driver MANIFEST RUN [KEY=VALUE ...]    the same without Prefect, which takes seconds to start
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from singalong.contracts import AttemptRow, Failure
from singalong.errors import UsageError
from singalong.runfolder import RunFolder
from tests.raylets import Raylets, RayNode

ROOT = Path(__file__).parents[1]
PATIENCE_S = 420.0


class Driver:
    """A `singalong run` on a cluster, from a checkout that may be another than the nodes'."""

    def __init__(
        self,
        cluster: Raylets,
        folder: Path,
        manifest: Path,
        *settings: str,
        checkout: Path = ROOT,
        with_prefect: bool = True,
    ) -> None:
        self.run, self.store, self._log = folder / "run", folder / "store", folder / "log"
        told = ["plan.shard_s=0.2", f"run.store={self.store}", *settings]
        command = [*cluster.prefix, sys.executable, "-m"]
        if with_prefect:
            command += ["flows", "run", str(manifest), "--run", str(self.run), "--json"]
            command += ["--ray-address", cluster.address, *(word for value in told for word in ("--set", value))]
        else:
            command += [
                "tests.cluster_driver",
                str(manifest),
                str(self.run),
                f'run.ray_address="{cluster.address}"',
                *told,
            ]
        environment = cluster.environment | {
            "PREFECT_HOME": str(folder / "prefect"),
            "SINGALONG_MODELS": str(folder / "models"),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("RAY_ADDRESS")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "answer").open("w") as answer, self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=answer, stderr=log)
        cluster.drivers.append(self.process)
        self._cluster = cluster

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

    def failures(self) -> list[Failure]:
        return [row.failure for row in self.rows() if row.failure is not None]

    def workers(self) -> set[str]:
        return {row.worker for row in self.rows() if row.result is not None and not row.reused}

    def node_at_work(self) -> RayNode:
        """A node that has made a shard and lives; on a busy machine the first that made one may be gone."""
        found: list[RayNode] = []

        def look() -> bool:
            node = self._cluster.node_at_work(self.workers())
            if node is not None:
                found.append(node)
            return node is not None

        self.until(look)
        return found[0]

    def until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)


def main() -> None:
    """What `singalong run` does when Prefect does not work."""
    from flows.exit_codes import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
    from flows.interrupts import Interrupted, interruptible
    from flows.running import execute_plainly
    from flows.terminal import print_error
    from singalong.config import load_settings
    from singalong.errors import InputError, SingalongError
    from singalong.remote_store import store_of
    from tasks.plan_run import plan_run

    manifest, run, *told = sys.argv[1:]
    settings = load_settings(None, told)
    try:
        with interruptible():
            plan, rows = plan_run(manifest, settings=settings, store=store_of(settings))
            summary = execute_plainly(RunFolder.create(Path(run), plan, settings, manifest=rows))
    except (Interrupted, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except SingalongError as error:
        print_error(error)
        sys.exit(EXIT_USAGE if isinstance(error, InputError) else EXIT_SOME_FAILED)
    sys.exit(EXIT_OK if summary.complete else EXIT_SOME_FAILED)


if __name__ == "__main__":
    main()
