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
from singalong.newer import refuse_newer
from singalong.tables import from_table, to_table

_FOLDER = "reviews"
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


def record_decision(run: Path, decision: Decision) -> Path:
    """Write a decision; returns its file when that is safe on the disk."""
    path = run / _FOLDER / f"{uuid.uuid4().hex}.parquet"
    version = {_VERSION_KEY.decode(): str(REVIEW_SCHEMA_VERSION)}
    write_parquet_atomic(to_table(Decision, [decision], metadata=version), path, replace=False)
    return path


def read_decisions(run: Path) -> dict[str, Decision]:
    """The decision that counts for each pair that has one, by pair id.

    Files that cannot be read do not count. Raises UsageError for those of a newer version.
    """
    found: list[tuple[str, str, Decision]] = []
    for path in (run / _FOLDER).glob("*.parquet"):
        try:
            table = pq.read_table(path)
            version = (table.schema.metadata or {}).get(_VERSION_KEY, REVIEW_SCHEMA_VERSION)
            refuse_newer("a decision", version, REVIEW_SCHEMA_VERSION, file=path)
            decisions = from_table(Decision, table)
        except (pa.ArrowException, OSError, ValidationError):
            continue
        found += [(decision.decided_at, path.name, decision) for decision in decisions]
    last = {decision.pair_id: decision for _, _, decision in sorted(found, key=lambda item: item[:2])}
    return {pair_id: decision for pair_id, decision in last.items() if decision.ruling is not Ruling.UNDO}
