"""Verdicts of a run, from its report as it stands."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.verdicts import verdict_counts, worst_pairs


def test_pairs_are_counted_by_verdict_and_the_worst_come_first(tmp_path: Path) -> None:
    rows = {
        "pair_id": ["a", "b", "c", "d", "e"],
        "verdict": ["pass", "fail", "pass", "not scorable", None],
        "sync_confidence": [5.0, 0.5, 4.0, None, None],
    }
    pq.write_table(pa.table(rows), tmp_path / "pairs.parquet")
    assert verdict_counts(tmp_path) == {"pass": 2, "fail": 1, "not scorable": 1}
    assert worst_pairs(tmp_path, 2) == [("b", "fail", 0.5), ("c", "pass", 4.0)]


def test_a_run_without_a_report_or_with_a_damaged_one_has_no_verdicts(tmp_path: Path) -> None:
    assert verdict_counts(tmp_path) == {}
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 no table")
    assert worst_pairs(tmp_path) == []
