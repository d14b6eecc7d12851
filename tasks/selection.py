"""Which pairs of a run are to be made again: those that failed, that a person rejected, that scored low, or that a
query on the report finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
from pydantic import Field

from singalong.contracts import Row, Status
from singalong.errors import UsageError
from singalong.report import Report
from singalong.reviews import Ruling

_ASKED_OF = ("pair_id", "status", "error_message", "sync_confidence", "review_ruling", "review_reason")


class Wanted(Row):
    """How pairs are chosen; what is named by several ways is chosen once."""

    failed: bool = Field(default=False, description="failed, quarantined or never finished")
    rejected: bool = Field(default=False, description="sent back by a person, in the review")
    below: float | None = Field(default=None, description="sync confidence under this")
    where: str | None = Field(default=None, description="SQL condition on the rows of report.parquet")

    def words(self) -> tuple[str, ...]:
        """As on the command line."""
        words = [f"--{name}" for name in ("failed", "rejected") if getattr(self, name)]
        words += [f"--below {self.below:g}"] if self.below is not None else []
        return (*words, f"--where {self.where}") if self.where is not None else tuple(words)


@dataclass(frozen=True)
class Selection:
    """Pairs by id in the order of the manifest, each with the reasons why."""

    reasons: dict[str, tuple[str, ...]]


def select_pairs(report: Report, wanted: Wanted) -> Selection:
    """Choose pairs of a run by its report.

    Args:
        report: of the run as it stands.
        wanted: how.

    Raises UsageError for a query that cannot be run, naming the columns there are.
    """
    found = set() if wanted.where is None else _where(report, wanted.where)
    reasons = {}
    for batch in report.pairs(_ASKED_OF).to_batches():
        for pair in batch.to_pylist():
            own = _reasons(pair, wanted)
            if pair["pair_id"] in found:
                own.append("found by the query")
            if own:
                reasons[pair["pair_id"]] = tuple(own)
    return Selection(reasons)


def _reasons(pair: dict[str, Any], wanted: Wanted) -> list[str]:
    status, error, confidence = pair["status"], pair["error_message"], pair["sync_confidence"]
    own = []
    if wanted.failed and status != Status.DONE:
        own.append(f"{status}: {error}" if error else status)
    if wanted.rejected and pair["review_ruling"] == Ruling.REJECT:
        own.append(f"rejected: {pair['review_reason']}" if pair["review_reason"] else "rejected")
    if wanted.below is not None and confidence is not None and confidence < wanted.below:
        own.append(f"confidence {confidence:.2f}")
    return own


def _where(report: Report, condition: str) -> set[str]:
    """Pairs with a shard, or an unusable row, for which the condition is true."""
    table = report.shards()
    try:
        with duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "1"}) as database:
            database.register("report", table)
            database.execute("SET lock_configuration = true")
            # as one value of a prepared statement nothing can follow the condition
            (statement,) = database.extract_statements(f"SELECT DISTINCT pair_id FROM report WHERE ({condition}\n)")
            return {pair_id for (pair_id,) in database.execute(statement).fetchall()}
    except (duckdb.Error, ValueError) as exc:
        raise UsageError(
            f"the query cannot be run: {str(exc).splitlines()[0]}",
            value=condition,
            expected=f"a SQL condition on these columns: {', '.join(table.column_names)}",
            action='Example: --where "sync_confidence < 3 and face_coverage > 0.5"',
        ) from exc
