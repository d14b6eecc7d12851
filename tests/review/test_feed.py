"""The feed of a run that goes on: what was written is seen, and nothing is folded while nothing was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from review.feed import RunFeed, Snapshot
from singalong.config import Settings
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.report import write_reports
from tasks.reviewing import Look
from tests.singalong.builders import pair_row, plan_of
from tests.tasks.test_report import finish, join_films


class Counted:
    """A look that counts how often somebody looked."""

    def __init__(self, run: RunFolder) -> None:
        self.look, self.times = Look(run), 0

    def __call__(self) -> Snapshot:
        self.times += 1
        return Snapshot(*self.look())


def going_on(folder: Path) -> tuple[RunFolder, Store]:
    settings = Settings().model_copy(update={"run": Settings().run.model_copy(update={"store": str(folder / "store")})})
    plan = plan_of([pair_row(n, song_end_s=3 + n, tags={"scene": f"s{n}"}) for n in (1, 2)])
    return RunFolder.create(folder / "run", plan, settings), Store(folder / "store")


def statuses(feed: RunFeed) -> dict[str, Any]:
    return {row["id"]: row["status"] for row in json.loads(feed.changes(-1)[1])["pairs"]}


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_pairs_appear_as_they_are_made_and_idle_runs_are_left_alone(tmp_path: Path) -> None:
    run, store = going_on(tmp_path)
    look = Counted(run)
    feed = RunFeed(run.path, look)
    assert statuses(feed) == {"p1": "pending", "p2": "pending"}
    first = feed.revision()
    for _ in range(5):
        assert feed.revision() == first
    assert look.times == 1
    finish(run, store, run.plan.shards[0])
    assert soon(lambda: feed.revision() > first)
    changed = json.loads(feed.changes(first)[1])["pairs"]
    assert [(row["id"], row["done"], row["status"]) for row in changed] == [("p1", 1, "pending")]
    finish(run, store, run.plan.shards[1])
    join_films(run, store)
    assert soon(lambda: statuses(feed) == {"p1": "done", "p2": "done"})


def test_a_plan_that_was_changed_is_followed(tmp_path: Path) -> None:
    run, _ = going_on(tmp_path)
    feed = RunFeed(run.path, Counted(run))
    more = plan_of([pair_row(n, song_end_s=3 + n) for n in (1, 2, 3)])
    RunFolder.create(run.path, more, run.settings)
    assert soon(lambda: set(statuses(feed)) == {"p1", "p2", "p3"})


def test_a_report_that_is_up_to_date_is_taken_as_it_is(tmp_path: Path) -> None:
    run, store = going_on(tmp_path)
    for shard in run.plan.shards:
        finish(run, store, shard)
    join_films(run, store)
    write_reports(run, store)
    folded, taken = Look(run), Look(RunFolder.open(run.path))
    folded._is_first = False
    assert taken()[0] == folded()[0]
    (run.path / "pairs.parquet").write_bytes(b"damaged")
    assert Look(run)()[0] == folded()[0]
