"""Faults of a cluster, for real: several raylets on this machine, each in a network namespace with its own address.

    python -m bench.cluster                 all of them, some 15 minutes on two cores; needs root for the namespaces
    python -m bench.cluster --only network  those whose name has this

Of each: whether every shard was made once, whether its bytes are those of an undisturbed run in process, how long it
took until what was lost was noticed, and how long the run took. Writes bench/results/cluster.json; with --only its
other entries stay.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.rough import make_inputs
from flows.exit_codes import EXIT_INTERRUPTED
from flows.order import run_stages
from singalong.config import load_settings
from singalong.contracts import AttemptRow
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.cluster_driver import Driver
from tests.raylets import Raylets, RayNode

RESULTS = Path(__file__).parent / "results" / "cluster.json"
_LOST_STORE_S = 60.0
_SHORT_CUT_S = 10.0
_UNNOTICED_S = 2.0
_SONG_S = 6.0
_GENERATOR = "lipsync.generator=auto"


@dataclass(frozen=True)
class Came:
    """What came of a fault; `noticed_s`: until the first failure was recorded, None where none was."""

    ended: bool
    num_shards: int
    num_made_twice: int
    num_missing: int
    same_bytes: bool
    num_workers: int
    failures: dict[str, int]
    noticed_s: float | None
    seconds: float

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing made twice, and all is as undisturbed."""
        return self.ended and not self.num_made_twice and not self.num_missing and self.same_bytes


class Bed:
    """Inputs, and the bytes of an undisturbed run of them."""

    def __init__(self, home: Path) -> None:
        self.home, self.manifest = home, make_inputs(home / "inputs", song_s=_SONG_S)
        told = ["run.executor=inprocess", f"run.store={home / 'truth' / 'store'}", "plan.shard_s=0.2"]
        settings = load_settings(None, [*told, _GENERATOR])
        plan, rows = plan_run(self.manifest, settings=settings, store=Store(settings.store_path))
        run = RunFolder.create(home / "truth" / "run", plan, settings, manifest=rows)
        with Session(run) as session:
            assert run_stages(session).complete
        self.truth = _bytes_of(run.attempts())

    def drive(self, cluster: Raylets, name: str, *settings: str, with_prefect: bool = False) -> Driver:
        """Start a run of its own; or resume it. Without Prefect's server, whose start is a third of so short a run."""
        folder = self.home / name.replace(" ", "-")
        return Driver(cluster, folder, self.manifest, _GENERATOR, *settings, with_prefect=with_prefect)

    def judge(self, driver: Driver, began: float, struck: float | None) -> Came:
        """What came of a run, once it has ended."""
        driver.wait()
        rows = driver.rows()
        done = _bytes_of(rows)
        made = Counter(row.shard_id for row in rows if row.result is not None and not row.reused)
        failed = [row for row in rows if row.failure is not None]
        told = [datetime.fromisoformat(row.finished_at).timestamp() for row in failed]
        noticed = [when - struck for when in told if struck is not None and when > struck]
        return Came(
            ended=driver.process.returncode == 0,
            num_shards=len(self.truth),
            num_made_twice=sum(count > 1 for count in made.values()),
            num_missing=len(self.truth.keys() - done.keys()),
            same_bytes=done == self.truth,
            num_workers=len(driver.workers()),
            failures=dict(Counter(row.failure.message for row in failed if row.failure is not None)),
            noticed_s=round(min(noticed), 1) if noticed else None,
            seconds=round(time.time() - began, 1),
        )


def _bytes_of(rows: list[AttemptRow]) -> dict[str, str]:
    return {row.shard_id: row.result.segment_sha256 for row in rows if row.result is not None}


def _with_two_nodes(bed: Bed, name: str, strike: Callable[[RayNode, Driver], None] | None) -> Came:
    """A run on two nodes, of which one that is at work is struck."""
    with Raylets(bed.home / "ray") as cluster:
        nodes = [cluster.add_node(), cluster.add_node()]
        assert all(node.wait() for node in nodes)
        began, driver = time.time(), bed.drive(cluster, name)
        struck = None
        if strike is not None:
            node = driver.node_at_work()
            struck = time.time()
            strike(node, driver)
        return bed.judge(driver, began, struck)


def undisturbed(bed: Bed) -> Came:
    """Nothing happens: what the others compare with."""
    return _with_two_nodes(bed, "undisturbed", None)


def add_a_node(bed: Bed) -> Came:
    """A run begins where there is no node at all; one comes, and later another."""
    with Raylets(bed.home / "ray") as cluster:
        began, driver = time.time(), bed.drive(cluster, "add a node")
        assert cluster.add_node().wait()
        driver.until(driver.workers)
        assert cluster.add_node().wait()
        return bed.judge(driver, began, None)


def kill_a_node(bed: Bed) -> Came:
    """One of two nodes ends at once, with all its processes."""
    return _with_two_nodes(bed, "kill a node", lambda node, _driver: node.kill())


def cut_and_mend_soon(bed: Bed) -> Came:
    """One of two nodes is cut off for a few seconds, and back before anybody gives it up."""

    def strike(node: RayNode, _driver: Driver) -> None:
        node.cut()
        time.sleep(_SHORT_CUT_S)
        node.mend()

    return _with_two_nodes(bed, "cut and mend soon", strike)


def cut_and_mend_late(bed: Bed) -> Came:
    """One of two nodes is cut off, works on alone, and comes back when the run has gone on without it."""

    def strike(node: RayNode, driver: Driver) -> None:
        node.cut()
        driver.until(lambda: any(row.failure is not None for row in driver.rows()))
        node.mend()

    return _with_two_nodes(bed, "cut and mend late", strike)


def cut_for_ever(bed: Bed) -> Came:
    """One of two nodes is cut off and never comes back."""
    return _with_two_nodes(bed, "cut for ever", lambda node, _driver: node.cut())


def lose_the_head(bed: Bed) -> Came:
    """The head ends; the run says so and ends, and the same command on another cluster brings it to its end."""
    began = time.time()
    with Raylets(bed.home / "ray") as cluster:
        assert cluster.add_node().wait()
        driver = bed.drive(cluster, "lose the head")
        driver.until(lambda: len(driver.workers()) == 1 and len(driver.rows()) > 3)
        struck = time.time()
        cluster.nodes[0].kill()
        said = " ".join(driver.wait().split())
        noticed_s = time.time() - struck
        assert "the head of the Ray cluster has not answered" in said, said
        assert "Traceback" not in said, said
    return _resumed(bed, "lose the head", began, noticed_s)


def interrupt_without_a_head(bed: Bed) -> Came:
    """The head ends, and Ctrl-C comes before the run has noticed; `noticed_s`: until the command has ended."""
    began = time.time()
    with Raylets(bed.home / "ray") as cluster:
        assert cluster.add_node().wait()
        driver = bed.drive(cluster, "interrupt without a head", with_prefect=True)
        driver.until(lambda: len(driver.rows()) > 3)
        cluster.nodes[0].kill()
        time.sleep(_UNNOTICED_S)
        struck = time.time()
        driver.process.send_signal(signal.SIGINT)
        said = driver.wait()
        noticed_s = time.time() - struck
        assert driver.process.returncode == EXIT_INTERRUPTED, said
        assert "Traceback" not in said, said
    return _resumed(bed, "interrupt without a head", began, noticed_s)


def _resumed(bed: Bed, name: str, began: float, noticed_s: float) -> Came:
    """What came of a run that ended with its cluster, once the same command has gone on with it on another."""
    with Raylets(bed.home / "ray2") as cluster:
        cluster.add_node()
        came = bed.judge(bed.drive(cluster, name), began, None)
    return Came(**asdict(came) | {"noticed_s": round(noticed_s, 1)})


def lose_the_object_store(bed: Bed) -> Came:
    """The store at s3:// refuses all connections for a minute; run and nodes share nothing else."""
    from tests.object_server import ObjectServer

    server = ObjectServer()
    try:
        with Raylets(bed.home / "ray", head_cpus=2, environment=server.env) as cluster:
            url = f"run.store=s3://{server.make_bucket()}/store"
            began, driver = time.time(), bed.drive(cluster, "lose the store", url)
            driver.until(lambda: len(driver.rows()) > 3)
            struck = time.time()
            server.lose()
            time.sleep(_LOST_STORE_S)
            server.regain()
            return bed.judge(driver, began, struck)
    finally:
        server.close()


FAULTS: dict[str, Callable[[Bed], Came]] = {
    "undisturbed": undisturbed,
    "add a node": add_a_node,
    "kill a node": kill_a_node,
    "cut a node's network for ten seconds": cut_and_mend_soon,
    "cut a node's network until it is given up": cut_and_mend_late,
    "cut a node's network for ever": cut_for_ever,
    "lose the head": lose_the_head,
    "interrupt without a head": interrupt_without_a_head,
    "lose the object store": lose_the_object_store,
}


def main() -> None:
    """Suffer the faults, say what came of each, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression for names of faults")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sg-"))  # short: Ray's sockets lie below it
    bed = Bed(home)
    for name, fault in FAULTS.items():
        if not re.search(options.only, name):
            continue
        try:
            came = fault(bed)
        except Exception as error:  # noqa: BLE001 - the others are still to come
            print(f"BAD {name}: {type(error).__name__}: {error}", flush=True)
            continue
        print(f"{'ok ' if came.good else 'BAD'} {name}: {came}", flush=True)
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        known[name] = asdict(came) | {"good": came.good, "on": datetime.now(UTC).date().isoformat()}
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
