"""What people decided about takes: one small file a decision under reviews/ of the run, never rewritten.

The last decision on a pair counts; `undo` takes back what stood before. Files of several people never collide.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from singalong.contracts import Row
from singalong.durable import write_parquet_atomic
from singalong.tables import from_table, to_table

_FOLDER = "reviews"
_VERSION = {"singalong.review": "1"}


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


def record_decision(run: Path, decision: Decision) -> Path:
    """Write a decision; returns its file when that is safe on the disk."""
    path = run / _FOLDER / f"{uuid.uuid4().hex}.parquet"
    write_parquet_atomic(to_table(Decision, [decision], metadata=_VERSION), path, replace=False)
    return path


def read_decisions(run: Path) -> dict[str, Decision]:
    """The decision that counts for each pair that has one, by pair id. Files that cannot be read do not count."""
    found: list[tuple[str, str, Decision]] = []
    for path in (run / _FOLDER).glob("*.parquet"):
        try:
            decisions = from_table(Decision, pq.read_table(path))
        except (pa.ArrowException, OSError, ValidationError):
            continue
        found += [(decision.decided_at, path.name, decision) for decision in decisions]
    last = {decision.pair_id: decision for _, _, decision in sorted(found, key=lambda item: item[:2])}
    return {pair_id: decision for pair_id, decision in last.items() if decision.ruling is not Ruling.UNDO}
