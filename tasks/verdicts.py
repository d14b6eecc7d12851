"""The verdicts of a run's pairs, and the worst of them, from its report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.remote_run import here

_COLUMNS = ["pair_id", "verdict", "sync_confidence"]


def verdict_counts(run: Path) -> dict[str, int]:
    """Pairs by verdict, of the report as it stands in a run folder; empty where there is none that can be read."""
    return dict(Counter(str(row["verdict"]) for row in _rows(run) if row["verdict"] is not None))


def worst_pairs(run: Path, count: int = 5) -> list[tuple[str, str, float]]:
    """The scored pairs of least sync confidence: pair id, verdict, confidence."""
    scored = [row for row in _rows(run) if row["sync_confidence"] is not None]
    scored.sort(key=lambda row: float(row["sync_confidence"]))
    return [(str(row["pair_id"]), str(row["verdict"]), float(row["sync_confidence"])) for row in scored[:count]]


def _rows(run: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(here(run / "pairs.parquet"), columns=_COLUMNS).to_pylist()
        return rows
    except (OSError, pa.ArrowException, KeyError):
        return []
