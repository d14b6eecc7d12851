"""What people decided about takes: one small file a decision under reviews/ of the run, never rewritten.

The last decision on a pair counts; `undo` takes back the last one of the same person, and what stood before stands
again. Files of several people never collide.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from singalong.contracts import Row
from singalong.durable import write_parquet_atomic
from singalong.newer import refuse_newer
from singalong.tables import from_table, to_table

_FOLDER = "reviews"
_SUFFIX = ".parquet"
_VERSION_KEY = b"singalong.review"
REVIEW_SCHEMA_VERSION = 1


class Ruling(StrEnum):
    """What a person says of a take."""

    ACCEPT = "accept"
    REJECT = "reject"
    UNDO = "undo"


class Decision(Row):
    """One decision on one pair."""

    pair_id: str
    ruling: Ruling
    reviewer: str
    decided_at: str = Field(description="ISO 8601, UTC, with milliseconds")
    reason: str = ""
    note: str = ""
    settings: tuple[str, ...] = Field(
        default=(), description="of a rejected take: what to make it again with, each section.key=value"
    )
    output_sha256: str | None = Field(
        default=None, description="the film that was judged, empty where there was none yet; None: it is not said"
    )

    def is_of(self, output_sha256: str | None) -> bool:
        """Whether it was about this film (None: there is none), and not about one that has been replaced since."""
        return self.output_sha256 is None or self.output_sha256 == (output_sha256 or "")


@dataclass
class DecisionLog:
    """The decisions of a run. Its files never change, so each is read only once, however often one asks."""

    run: Path
    _read: dict[str, list[Decision]] = field(default_factory=dict)

    def record(self, decision: Decision, *, name: str | None = None) -> bool:
        """Write a decision; returns when that is safe on the disk. False if `name`, which makes sending a decision
        twice harmless, was written before.
        """
        path = self.run / _FOLDER / f"{name or uuid.uuid4().hex}{_SUFFIX}"
        return _write(path, [decision])

    def all(self) -> dict[str, list[Decision]]:
        """All decisions on each pair that has one, also those taken back, in the order in which they were made."""
        self._look()
        timed = [(decision.decided_at, name, decision) for name, own in self._read.items() for decision in own]
        found: defaultdict[str, list[Decision]] = defaultdict(list)
        for _, _, decision in sorted(timed, key=lambda item: item[:2]):
            found[decision.pair_id].append(decision)
        return dict(found)

    def standing(self) -> dict[str, Decision]:
        """The decision that counts for each pair that has one, by pair id."""
        found = {pair_id: standing_decision(own) for pair_id, own in self.all().items()}
        return {pair_id: decision for pair_id, decision in found.items() if decision is not None}

    def version(self) -> int:
        """Number of files that were read; it grows with every decision."""
        self._look()
        return len(self._read)

    def _look(self) -> None:
        """Read what is new. A file that cannot be read does not count, and is tried again the next time.

        Raises UsageError for one of a newer version.
        """
        folder = self.run / _FOLDER
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for name in [entry.name for entry in entries if entry.name.endswith(_SUFFIX)]:
                if name not in self._read:
                    with contextlib.suppress(pa.ArrowException, OSError, ValidationError):
                        self._read[name] = _read(folder / name)


def standing_decision(decisions: Iterable[Decision]) -> Decision | None:
    """Of the decisions on a pair, in their order, the one that counts; None where all were taken back.

    An undo takes back the last decision of the person who asks for it, or else the last one of anybody.
    """
    standing: list[Decision] = []
    for decision in decisions:
        if decision.ruling is not Ruling.UNDO:
            standing.append(decision)
        elif standing:
            own = [number for number, one in enumerate(standing) if one.reviewer == decision.reviewer]
            del standing[own[-1] if own else -1]
    return standing[-1] if standing else None


def record_decision(run: Path, decision: Decision) -> Path:
    """Write a decision; returns its file when that is safe on the disk."""
    path = run / _FOLDER / f"{uuid.uuid4().hex}{_SUFFIX}"
    _write(path, [decision])
    return path


def read_decisions(run: Path) -> dict[str, Decision]:
    """The decision that counts for each pair that has one, by pair id.

    Files that cannot be read do not count. Raises UsageError for those of a newer version.
    """
    return DecisionLog(run).standing()


def inherit_decisions(run: Path, parent: Path, parent_run_id: str, pairs: Iterable[str]) -> None:
    """Have a run know what people decided about takes of its parent that it did not make again; once."""
    standing = read_decisions(parent)
    taken = [standing[pair_id] for pair_id in pairs if pair_id in standing]
    if taken:
        _write(run / _FOLDER / f"inherited-{parent_run_id}{_SUFFIX}", taken)


def _read(path: Path) -> list[Decision]:
    table = pq.ParquetFile(path).read(use_threads=False)
    version = (table.schema.metadata or {}).get(_VERSION_KEY, REVIEW_SCHEMA_VERSION)
    refuse_newer("a decision", version, REVIEW_SCHEMA_VERSION, file=path)
    return from_table(Decision, table)


def _write(path: Path, decisions: list[Decision]) -> bool:
    version = {_VERSION_KEY.decode(): str(REVIEW_SCHEMA_VERSION)}
    try:
        write_parquet_atomic(to_table(Decision, decisions, metadata=version), path, replace=False)
    except FileExistsError:
        return False
    return True
