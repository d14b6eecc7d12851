"""The tables of a report, read again to be shown."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.contracts import Status, Verdict
from singalong.report_schema import PairReportRow, ReportRow, report_schema, table_of
from tasks.report_files import ReportFiles


def test_pairs_that_most_need_a_look_come_first(tmp_path: Path) -> None:
    """By status, then verdict, then confidence; who has no verdict or no confidence comes after who has."""
    pairs = {
        "pass": (Status.DONE, Verdict.PASS, 8.0),
        "not judged": (Status.DONE, None, 1.0),
        "not scorable": (Status.DONE, Verdict.NOT_SCORABLE, None),
        "review": (Status.DONE, Verdict.REVIEW, 4.0),
        "fail": (Status.DONE, Verdict.FAIL, 3.0),
        "fail without confidence": (Status.DONE, Verdict.FAIL, None),
        "worse fail": (Status.DONE, Verdict.FAIL, 2.0),
        "pending": (Status.PENDING, None, None),
        "quarantined": (Status.QUARANTINED, None, None),
        "failed": (Status.FAILED, None, None),
    }
    status, verdict, confidence = zip(*pairs.values(), strict=True)
    columns = {
        **{"pair_id": pa.array(list(pairs)), "status": pa.array(status, pa.string())},
        **{"verdict": pa.array(verdict, pa.string()), "sync_confidence": pa.array(confidence, pa.float64())},
        **{"row": pa.array(range(len(pairs))), "run_id": "run-1", "clip": "a.mp4", "song": "s.wav"},
    }
    pq.write_table(table_of(PairReportRow, columns, num_rows=len(pairs), tags={}), tmp_path / "pairs.parquet")
    pq.write_table(report_schema(ReportRow).empty_table(), tmp_path / "report.parquet")
    files = ReportFiles(tmp_path)
    assert [row.pair_id for row in files.rows(files.worst_first())] == [
        *("failed", "quarantined", "pending", "worse fail", "fail", "fail without confidence"),
        *("review", "not scorable", "pass", "not judged"),
    ]
