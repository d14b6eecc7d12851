"""The tables of a report as they were written, read by columns; of rows only those that are to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from singalong.contracts import Status
from singalong.errors import ErrorClass
from singalong.fold import Ints
from singalong.report_montages import PAIR_COLUMNS
from singalong.report_schema import PairReportRow, rows_of
from singalong.scoring import WORST_FIRST

STATUS_ORDER = (Status.FAILED, Status.QUARANTINED, Status.PENDING, Status.DONE)
_LOOKED_AT = (
    *PAIR_COLUMNS,
    *("fps", "num_done", "review_ruling", "confidence_before", "verdict_before"),
)
_NAMES_KEPT = 5


@dataclass
class Failures:
    """Failures that share class and message: how many, and the names of the first few."""

    error_class: ErrorClass
    message: str
    count: int
    names: list[str]


class ReportFiles:
    """The tables in a run folder."""

    def __init__(self, run: Path) -> None:
        self._shards, self._pairs = pq.ParquetFile(run / "report.parquet"), pq.ParquetFile(run / "pairs.parquet")

    @cached_property
    def pairs(self) -> pa.Table:
        """Columns of all pairs: those from which totals are made, and the order."""
        names = [name for name in _LOOKED_AT if name not in ("pair_id", "error_message", "rights")]
        return self._pairs.read(columns=names)

    @property
    def num_pairs(self) -> int:
        """Number of pairs."""
        return int(self._pairs.metadata.num_rows)

    def montage_pairs(self) -> pa.Table:
        """What montages are folded from."""
        return self._pairs.read(columns=list(PAIR_COLUMNS))

    def montage_names(self) -> list[str]:
        """Montages of which a pair was planned."""
        planned = pc.greater(self.pairs["num_shards"], 0)
        return [name for name in pc.unique(self.pairs["montage"].filter(planned)).to_pylist() if name is not None]

    def rows(self, places: Sequence[int] | Ints) -> list[PairReportRow]:
        """The pairs in these rows, in this order."""
        wanted = np.asarray(places, np.int64)
        order, found, start = np.argsort(wanted, kind="stable"), list[PairReportRow](), 0
        rising = wanted[order]
        for group in range(self._pairs.num_row_groups):
            end = start + self._pairs.metadata.row_group(group).num_rows
            own = rising[slice(*np.searchsorted(rising, (start, end)))] - start
            if len(own):
                found += rows_of(PairReportRow, self._pairs.read_row_group(group).take(pa.array(own)))
            start = end
        return [found[place] for place in np.argsort(order, kind="stable").tolist()]

    def worst_first(self) -> Ints:
        """The rows of the pairs, those that most need a look first."""
        confidence = self.pairs["sync_confidence"].fill_null(np.inf).to_numpy()
        verdict, status = _rank(self.pairs["verdict"], WORST_FIRST), _rank(self.pairs["status"], STATUS_ORDER)
        return np.lexsort((self.pairs["row"].to_numpy(), confidence, verdict, status))

    def shards_by_status(self) -> Counter[str]:
        """Number of shards, and of rows that could not be planned, by status."""
        counts = Counter[str]()
        for table in self._groups(["status"]):
            counts.update({one["values"]: one["counts"] for one in pc.value_counts(table["status"]).to_pylist()})
        return counts

    def frames_made(self) -> int:
        """Frames of the shards that are done."""
        done = (
            table.filter(pc.equal(table["status"], Status.DONE.value)) for table in self._groups(["status", _FRAMES])
        )
        return sum(pc.sum(table[_FRAMES]).as_py() or 0 for table in done)

    def seconds_by_stage(self) -> Counter[str]:
        """Seconds of work of all shards by stage."""
        seconds = Counter[str]()
        for table in self._groups(["seconds"]):
            maps = table["seconds"].combine_chunks()
            spent = pa.table({"stage": maps.keys, "seconds": maps.items}).group_by("stage", use_threads=False)
            seconds.update(
                {one["stage"]: one["seconds_sum"] for one in spent.aggregate([("seconds", "sum")]).to_pylist()}
            )
        return seconds

    def failures(self) -> list[Failures]:
        """Failures of shards by class and message, the most frequent first; and of films whose shards did not fail."""
        groups: dict[tuple[str, str], Failures] = {}
        for error_class, message, name in (*self._failed_shards(), *self._failed_films()):
            group = groups.setdefault((error_class, message), Failures(ErrorClass(error_class), message, 0, []))
            group.count += 1
            if group.count <= _NAMES_KEPT:
                group.names.append(name)
        return sorted(groups.values(), key=lambda group: -group.count)

    def _failed_shards(self) -> Iterator[tuple[str, str, str]]:
        for table in self._groups(["status", "error_class", "error_message", "shard_id", "pair_id"]):
            is_over = pc.and_(table["error_class"].is_valid(), pc.not_equal(table["status"], Status.PENDING.value))
            for row in table.filter(is_over).to_pylist():
                yield row["error_class"], row["error_message"] or "", row["shard_id"] or row["pair_id"]

    def _failed_films(self) -> Iterator[tuple[str, str, str]]:
        made = pc.and_(
            pc.greater(self.pairs["num_shards"], 0), pc.equal(self.pairs["num_shards"], self.pairs["num_done"])
        )
        failed = pc.and_(self.pairs["error_class"].is_valid(), made)
        names = ["error_class", "error_message", "pair_id"]
        rows = self._pairs.read(columns=names).filter(failed).to_pylist() if pc.any(failed).as_py() else []
        yield from ((row["error_class"], row["error_message"] or "", row["pair_id"]) for row in rows)

    def _groups(self, columns: list[str]) -> Iterator[pa.Table]:
        for group in range(self._shards.num_row_groups):
            yield self._shards.read_row_group(group, columns=columns)


_FRAMES = "num_frames"


def _rank(column: pa.ChunkedArray, order: Sequence[StrEnum]) -> Ints:
    """The place of each value in this order; nulls after all others."""
    places = pc.index_in(column, value_set=pa.array(order, pa.string()))
    return np.asarray(places.fill_null(len(order)).to_numpy(), np.int64)
