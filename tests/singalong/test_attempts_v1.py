"""Runs of version 1: an attempt is two small files, which are read for ever and joined by what is written now."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from singalong.attempts import AttemptLog
from singalong.contracts import AttemptRow, StartedMark, Status
from singalong.runfolder import RunFolder
from tests.singalong.builders import attempt, pair_row, plan_of, touch

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-v1"
SHARDS = plan_of([pair_row(1, song_end_s=20), pair_row(2, song_end_s=5)]).shards


def write_loose(folder: Path, row: AttemptRow) -> Path:
    mark = StartedMark(shard_id=row.shard_id, attempt=row.attempt, work_key=row.work_key, started_at=row.started_at)
    touch(folder / row.shard_id / f"{row.attempt:04d}.started", mark.model_dump_json().encode())
    path = folder / row.shard_id / f"{row.attempt:04d}.parquet"
    write_rows(path, [row])
    return path


def write_rows(path: Path, rows: list[AttemptRow]) -> None:
    table = pa.table({"row": [row.model_dump_json() for row in rows]}).replace_schema_metadata(
        {"singalong.attempt": "1"}
    )
    pq.write_table(table, path, write_page_checksum=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "attempts"


@pytest.fixture
def rows(folder: Path) -> list[AttemptRow]:
    rows = [attempt(shard, 1, outcome) for shard, outcome in zip(SHARDS, ["done", "BUG", "done"], strict=True)]
    for row in rows:
        write_loose(folder, row)
    return rows


def test_they_are_read_and_counted_on_from(folder: Path, rows: list[AttemptRow]) -> None:
    log = AttemptLog(folder)
    assert (log.read().rows, log.read().marks, log.read().damaged) == (rows, [], [])
    assert log.next_number(SHARDS[1].shard_id) == 2
    with pytest.raises(FileExistsError):
        log.record(attempt(SHARDS[1], 1))
    later = attempt(SHARDS[1], 2)
    log.record(later)
    log.fold()
    assert AttemptLog(folder).read().rows == [rows[0], rows[1], later, rows[2]]


def test_a_mark_without_an_end_is_an_attempt_that_died(folder: Path, rows: list[AttemptRow]) -> None:
    (folder / SHARDS[0].shard_id / "0001.parquet").unlink()
    (mark,) = AttemptLog(folder).read().marks
    assert (mark.shard_id, mark.attempt) == (SHARDS[0].shard_id, 1)


def test_an_attempt_in_the_wrong_place_does_not_count(folder: Path, rows: list[AttemptRow]) -> None:
    source = folder / SHARDS[0].shard_id / "0001.parquet"
    target = touch(folder / SHARDS[1].shard_id / "0007.parquet", source.read_bytes())
    content = AttemptLog(folder).read()
    assert (content.rows, content.damaged) == (rows, [str(target)])


def test_no_flipped_bit_is_taken_for_another_truth(folder: Path) -> None:
    row = attempt(SHARDS[0])
    path = write_loose(folder, row)
    whole = path.read_bytes()
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        content = AttemptLog(folder).read()
        assert content.rows in ([row], [])
        assert bool(content.rows) != bool(content.damaged), "a damaged file is named"


def test_a_pack_spares_reading_every_file(
    folder: Path, rows: list[AttemptRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(folder / "pack.parquet", rows)
    later = attempt(SHARDS[0], 2)
    write_loose(folder, later)
    reads, real = list[str](), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: (reads.append(self.name), real(self))[1])
    assert AttemptLog(folder).read().rows == [rows[0], later, *rows[1:]]
    assert reads == ["pack.parquet", "0002.parquet"]


def test_a_pack_counts_only_for_files_that_are_there(folder: Path, rows: list[AttemptRow]) -> None:
    write_rows(folder / "pack.parquet", rows)
    shutil.rmtree(folder / SHARDS[0].shard_id)
    assert AttemptLog(folder).read().rows == rows[1:]


def test_a_damaged_pack_is_not_missed(folder: Path, rows: list[AttemptRow]) -> None:
    touch(folder / "pack.parquet", b"PAR1")
    assert AttemptLog(folder).read().rows == rows


def test_an_old_run_goes_on_as_a_new_one_and_keeps_what_it_had(tmp_path: Path) -> None:
    old = RunFolder.open(Path(shutil.copytree(FIXTURE, tmp_path / "run")))
    before = old.fold()
    shard = old.plan.shards[0]
    number = old.next_attempt(shard.shard_id)
    old.journal_started(shard.shard_id, number)
    assert json.loads((old.path / "run.json").read_text())["schema_version"] == 2
    after = RunFolder.open(old.path).fold()
    assert after.count(Status.DONE) == before.count(Status.DONE)
    assert after.shards[shard.shard_id].unfinished == (number,)
    assert after.shards[shard.shard_id].result == before.shards[shard.shard_id].result
