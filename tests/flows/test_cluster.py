"""Runs on a real cluster of several raylets: nodes come, die and do not fit; nothing is lost and nothing made twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from singalong.contracts import AttemptRow, Status
from singalong.errors import ErrorClass
from singalong.runfolder import RunFolder
from tests.raylets import Raylets

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
PACKAGES = ("singalong", "models", "tasks", "flows", "review")


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
        return RunFolder.open(self.run).attempts() if (self.run / "run.json").exists() else []

    def workers(self) -> set[str]:
        return {row.worker for row in self.rows() if row.result is not None and not row.reused}

    def until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    with Raylets(tmp_path_factory.mktemp("ray")) as raylets:
        yield raylets


def test_with_no_node_that_fits_a_run_says_what_it_waits_for_and_ends(
    cluster: Raylets, tmp_path: Path, demo_inputs: Path
) -> None:
    driver = Driver(cluster, tmp_path, demo_inputs / "manifest.csv", "cluster.wait_for_nodes_s=2")
    said = " ".join(driver.wait().split())
    assert driver.process.returncode not in (0, 130), said
    assert "no node has had room for a worker (1 CPU)" in said
    assert "cluster.wait_for_nodes_s" in said
    assert "Traceback" not in said


def test_a_run_follows_nodes_that_come_and_survives_one_that_dies(
    cluster: Raylets, tmp_path: Path, demo_inputs: Path
) -> None:
    checkout = tmp_path / "checkout"  # code that no node has: it must come from the driver
    for package in PACKAGES:
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (checkout / "tasks" / "worker.py").open("a") as file:
        file.write("\n# not what is installed\n")
    driver = Driver(cluster, tmp_path, demo_inputs / "manifest.csv", checkout=checkout)
    first = cluster.add_node()  # a run may be there before its nodes
    driver.until(driver.workers)
    cluster.add_node()
    driver.until(lambda: len(driver.workers()) > 1)
    first.kill()
    said = driver.wait()
    assert driver.process.returncode == 0, said
    assert "Traceback" not in said

    folder = RunFolder.open(driver.run)
    assert all(shard.status is Status.DONE for shard in folder.fold().shards.values())
    made = [row.shard_id for row in driver.rows() if row.result is not None]
    assert len(made) == len(set(made)), "a finished shard was done again"
    failures = [row.failure for row in driver.rows() if row.failure is not None]
    assert all(failure.error_class is ErrorClass.INFRA for failure in failures)
    assert any("was lost" in failure.message for failure in failures), failures
