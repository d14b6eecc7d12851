"""What the page is fed with: the report as it stands, and the decisions, each under the revision at which it changed.

Folding a large run takes seconds, so it is done aside, only when something was written, while the last state is shown.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from review.queue import queue_item
from singalong.contracts import PairPlan, Plan, ShardPlan
from singalong.report_schema import PairReportRow
from singalong.reviews import Decision, DecisionLog

_FOLD_SHARE = 5.0
"""Between two folds it rests this many times as long as one takes, so that the page costs a run little."""
_GLANCE_EVERY_S = 1.0
"""Of 5,000 pairs a glance at all folders of attempts takes some 20 ms, however many pages ask."""


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment: its pairs in the order of the manifest, the plan of the takes that stand, its driver."""

    pairs: Sequence[PairReportRow]
    plan: Plan
    holder: str | None


@dataclass(frozen=True)
class PairView:
    """All there is to a pair: its row, and its plan unless it could not be planned."""

    row: PairReportRow
    plan: PairPlan | None
    shards: tuple[ShardPlan, ...]


@dataclass
class _Item:
    """A row of the queue, and the revision at which it became what it is."""

    content: dict[str, Any]
    revision: int
    text: str = ""


@dataclass
class RunFeed:
    """The state of a run for any number of pages.

    Attributes:
        run: run folder.
        look: folds the run; called in a thread of its own once the first look is taken.
        epoch: names this server's count of revisions.
    """

    run: Path
    look: Callable[[], Snapshot]
    epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _revision: int = 0
    _items: dict[str, _Item] = field(default_factory=dict)
    _views: dict[str, PairView] = field(default_factory=dict)
    _decisions: dict[str, list[Decision]] = field(default_factory=dict)
    _num_decisions: int = -1
    _holder: str | None = None
    _print: object = None
    _folding: bool = False
    _rest_until: float = 0.0

    def __post_init__(self) -> None:
        self._log = DecisionLog(self.run)
        self._print = fingerprint(self.run)
        self._take_in(self.look())
        self._read_decisions()

    def changes(self, since: int) -> tuple[int, str]:
        """The new revision, and as JSON the rows of the queue that changed after another, in the manifest's order."""
        with self._lock:
            self._refresh()
            head = json.dumps({"epoch": self.epoch, "revision": self._revision, "holder": self._holder})
            changed = ",".join(item.text for item in self._items.values() if item.revision > since)
            return self._revision, f'{head[:-1]}, "pairs": [{changed}]}}'

    def revision(self) -> int:
        """The present revision; cheap, for a client that only asks whether something is new."""
        with self._lock:
            self._refresh()
            return self._revision

    def view(self, pair_id: str) -> PairView | None:
        """A pair; None where the run has no such pair."""
        with self._lock:
            return self._views.get(pair_id)

    def item(self, pair_id: str) -> dict[str, Any]:
        """A pair's row of the queue. Raises KeyError where the run has no such pair."""
        with self._lock:
            return self._items[pair_id].content

    def decisions(self, pair_id: str) -> list[Decision]:
        """All decisions on a pair in their order, also those taken back."""
        with self._lock:
            return list(self._decisions.get(pair_id, ()))

    def record(self, decision: Decision, name: str) -> None:
        """Write a decision; when this returns it is safe on the disk. The same name a second time changes nothing."""
        self._log.record(decision, name=name)
        with self._lock:
            self._read_decisions()

    def last_decided_at(self, pair_id: str) -> str:
        """When somebody last decided on a pair; empty where nobody did."""
        with self._lock:
            return max((one.decided_at for one in self._decisions.get(pair_id, ())), default="")

    def _refresh(self) -> None:
        self._read_decisions()
        if self._folding or time.monotonic() < self._rest_until:
            return
        self._rest_until = time.monotonic() + _GLANCE_EVERY_S
        now = fingerprint(self.run)
        if now != self._print:
            self._folding = True
            threading.Thread(target=self._fold, args=(now,), daemon=True, name="review-fold").start()

    def _fold(self, now: object) -> None:
        started = time.monotonic()
        try:
            snapshot = self.look()
            with self._lock:
                self._take_in(snapshot)
                self._print = now
        finally:
            self._rest_until = time.monotonic() + _FOLD_SHARE * (time.monotonic() - started)
            self._folding = False

    def _read_decisions(self) -> None:
        number = self._log.version()
        if number != self._num_decisions:
            before, self._decisions, self._num_decisions = self._decisions, self._log.all(), number
            self._update(
                name for name, own in self._decisions.items() if name in self._views and own != before.get(name)
            )

    def _take_in(self, snapshot: Snapshot) -> None:
        plans = {pair.pair_id: pair for pair in snapshot.plan.pairs}
        shards: dict[str, list[ShardPlan]] = {}
        for shard in snapshot.plan.shards:
            shards.setdefault(shard.pair_id, []).append(shard)
        if self._holder != snapshot.holder:
            self._holder, self._revision = snapshot.holder, self._revision + 1
        self._views = {
            row.pair_id: PairView(
                row,
                plans.get(row.pair_id),
                tuple(sorted(shards.get(row.pair_id, ()), key=lambda shard: shard.start_frame)),
            )
            for row in snapshot.pairs
        }
        self._items = {name: self._items.get(name) or _Item({}, 0) for name in self._views}
        self._update(self._views)

    def _update(self, names: Iterable[str]) -> None:
        """Make rows of the queue anew; those that are other than before get a new revision, one for all."""
        changed = False
        for name in names:
            content = queue_item(self._views[name].row, self._decisions.get(name, ()))
            if content != self._items[name].content:
                self._items[name] = _Item(content, self._revision + 1, json.dumps(content))
                changed = True
        self._revision += changed


def fingerprint(run: Path) -> object:
    """Changes whenever something is written that the report is made of; as cheap as looking at each shard's folder."""
    attempts = run / "attempts"
    try:
        with os.scandir(attempts) as entries:
            latest = [entry.stat().st_mtime_ns for entry in entries]
    except FileNotFoundError:
        latest = []
    names = ("plan.parquet", "pairs.parquet", "outputs", ".lock")
    return len(latest), max(latest, default=0), *(_mtime_ns(run / name) for name in names)


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
