"""Reports come back as data frames."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import singalong
from singalong.contracts import Status
from singalong.errors import UsageError
from singalong.report_schema import ReportRow, table_of

ROW = {"run_id": "r", "pair_id": "p", "row": 1, "clip": "c", "song": "s", "status": Status.DONE}


def test_a_report_loads_as_a_data_frame(tmp_path: Path) -> None:
    table = table_of(ReportRow, ROW | {"seconds": {"decode": 1.0}}, num_rows=1, tags={"a": pa.array(["b"])})
    pq.write_table(table, tmp_path / "report.parquet")
    frame = singalong.load_report(str(tmp_path))
    assert frame.loc[0, "seconds"] == {"decode": 1.0}
    assert (frame.loc[0, "status"], frame.loc[0, "tag_a"], len(frame)) == ("done", "b", 1)


def test_a_missing_damaged_newer_or_unknown_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="singalong report"):
        singalong.load_report(tmp_path, "pairs")
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read"):
        singalong.load_report(tmp_path, "pairs")
    newer = pa.table({"x": [1]}).replace_schema_metadata({"singalong.report": "99"})
    pq.write_table(newer, tmp_path / "montages.parquet")
    with pytest.raises(UsageError, match="newer singalong"):
        singalong.load_report(tmp_path, "montages")
    with pytest.raises(UsageError, match="expected one of shards"):
        singalong.load_report(tmp_path, "frames")  # type: ignore[arg-type]


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, singalong, singalong.config, singalong.contracts, singalong.errors\n"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'av', 'cv2', 'torch') if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == "[]"


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod_report'"):
        _ = singalong.lod_report
