"""A run folder of version 1, far from its store and its media, is looked at and reported on by the code of today."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import singalong
from singalong.contracts import Status
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.progress import progress_of
from tasks.report import write_reports
from tasks.summary import summarise

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-v1"


@pytest.fixture
def old(tmp_path: Path) -> RunFolder:
    return RunFolder.open(Path(shutil.copytree(FIXTURE, tmp_path / "run")))


def test_its_status_is_told(old: RunFolder) -> None:
    summary, progress = summarise(old), progress_of(old)
    assert summary.shards[Status.DONE] == 2
    assert any("bad.mp4" in str(note) for note in summary.failures)
    assert progress.shards == summary.shards


def test_its_reports_are_folded_again_from_what_it_holds(old: RunFolder, tmp_path: Path) -> None:
    before = {name: singalong.load_report(FIXTURE, name) for name in ("shards", "pairs")}
    written = write_reports(old, Store(tmp_path / "another-store"))
    assert all(path.is_relative_to(old.path) for path in written)
    pairs = singalong.load_report(old.path, "pairs")
    assert list(pairs.pair_id) == list(before["pairs"].pair_id)  # their films were not copied, so they have none
    assert pairs.set_index("pair_id").loc["broken", "error_class"] == "INPUT"
    columns = ["pair_id", "shard_id", "work_key", "status", "num_frames", "fps"]
    pd.testing.assert_frame_equal(singalong.load_report(old.path, "shards")[columns], before["shards"][columns])


def test_columns_that_a_later_version_adds_do_no_harm(old: RunFolder, tmp_path: Path) -> None:
    for path in [old.path / "plan.parquet", *old.path.glob("attempts/*/*.parquet"), *old.path.glob("frames/*.parquet")]:
        table = pq.read_table(path)
        more = table.append_column("of_tomorrow", [["x"] * table.num_rows]).replace_schema_metadata(
            table.schema.metadata
        )
        pq.write_table(more, path)
    again = RunFolder.open(old.path)
    assert again.plan == old.plan
    assert again.fold().counts() == RunFolder.open(FIXTURE).fold().counts()
    assert write_reports(again, Store(tmp_path / "another-store"))
