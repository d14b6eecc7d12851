"""The ledger: what was promised is there exactly once, whoever crashes, folds or looks on, and damage is named."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong import attempts as attempts_module
from singalong.attempt_files import encode_batch, segment_name
from singalong.attempts import AttemptLog
from singalong.contracts import AttemptRow, StartedMark
from singalong.errors import UsageError
from tests.power_cuts import lay_out, recording
from tests.singalong.builders import attempt, pair_row, plan_of
from tests.sudden_deaths import exit_code, fork_that_dies

SHARDS = plan_of([pair_row(1, song_end_s=20), pair_row(2, song_start_s=1, song_end_s=11)]).shards
KEYS = {shard.shard_id: shard.work_key for shard in SHARDS}

Name = tuple[str, int]


@pytest.fixture
def log(tmp_path: Path) -> AttemptLog:
    return AttemptLog(tmp_path / "attempts")


def fill(log: AttemptLog, number: int, *outcomes: str) -> list[AttemptRow]:
    """Attempt `number` at as many shards as there are outcomes, a batch each."""
    rows = [attempt(shard, number, outcome) for shard, outcome in zip(SHARDS, outcomes, strict=False)]
    for row in rows:
        log.mark_started(row.shard_id, number, work_key=row.work_key)
        log.record(row)
    return rows


def again(log: AttemptLog) -> AttemptLog:
    return AttemptLog(log.folder)


def files(log: AttemptLog) -> list[str]:
    return sorted(path.relative_to(log.folder).as_posix() for path in log.folder.rglob("*") if path.is_file())


# ---- batches


def test_many_starts_and_ends_share_one_flush(log: AttemptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes, real = list[int](), os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushes.append(fd), real(fd))[1])
    log.mark_started(SHARDS[0].shard_id, 1, work_key=SHARDS[0].work_key)
    flushes.clear()
    log.record(attempt(SHARDS[0]), flush=False)
    for shard in SHARDS[1:]:
        log.mark_started(shard.shard_id, 1, work_key=shard.work_key, flush=False)
    assert again(log).read().rows == []
    log.flush()
    assert len(flushes) == 2, "of the file and of its folder"
    content = again(log).read()
    assert (content.rows, len(content.marks)) == ([attempt(SHARDS[0])], len(SHARDS) - 1)


def test_what_waits_for_a_flush_counts_for_the_one_who_told_it(log: AttemptLog) -> None:
    row = attempt(SHARDS[0])
    log.record(row, flush=False)
    assert log.next_number(row.shard_id) == 2
    with pytest.raises(FileExistsError):
        log.record(attempt(SHARDS[0], 1, "BUG"), flush=False)
    log.record(row)
    assert again(log).read().rows == [row]


def test_a_thousand_ends_do_not_wait_for_ever(log: AttemptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "MAX_BATCH", 3)
    for number in range(1, 8):
        log.record(attempt(SHARDS[0], number, "INFRA"), flush=False)
    assert len(again(log).read().rows) == 6


def test_a_cut_or_changed_batch_is_named_and_what_is_sound_in_it_counts(log: AttemptLog) -> None:
    rows = [attempt(shard) for shard in SHARDS]
    for row in rows:
        log.record(row, flush=False)
    log.flush()
    path = log.folder / "journal" / "00000001.jsonl"
    whole = path.read_bytes()
    for at in range(0, len(whole), 31):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        content = again(log).read()
        assert content.damaged == [str(path)]
        assert len(content.rows) >= len(rows) - 2
        assert all(row in rows for row in content.rows)
        path.write_bytes(whole[:at])
        content = again(log).read()
        assert (content.damaged, content.rows) == ([str(path)], rows[: len(content.rows)])
    path.write_bytes(whole)
    assert again(log).read().rows == rows


def test_a_batch_of_a_newer_version_is_refused(log: AttemptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singalong.attempt_files.ATTEMPT_SCHEMA_VERSION", 99)
    fill(log, 1, "done")
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"newer singalong.*version 99"):
        again(log).read()


# ---- folding


def test_folding_changes_nothing_but_the_number_of_files(log: AttemptLog) -> None:
    fill(log, 1, "INFRA", "INPUT", "done")
    log.mark_started(SHARDS[0].shard_id, 2, work_key=SHARDS[0].work_key)
    before = log.read()
    log.fold()
    (name,) = files(log)
    assert name.startswith("segments/00000001-00000007-")
    for reader in (log, again(log)):
        content = reader.read()
        assert (content.rows, content.marks, content.damaged) == (before.rows, before.marks, [])
    log.record(attempt(SHARDS[0], 2))
    assert again(log).read().marks == [], "its end came after its start was folded"
    assert again(log).next_number(SHARDS[0].shard_id) == 3


def test_a_journal_is_folded_as_the_run_goes(log: AttemptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "FOLD_FROM", 8)
    rows = [row for number in range(1, 21) for row in fill(log, number, "INFRA")]
    assert len(files(log)) <= 8 + 5
    assert again(log).read().rows == rows


def test_a_small_journal_is_left_alone(log: AttemptLog) -> None:
    fill(log, 1, "done")
    log.fold(at_least=3)
    assert len(files(log)) == 2


def test_segments_can_be_selected_from_by_their_columns(log: AttemptLog) -> None:
    fill(log, 1, "BUG", "done")
    log.fold()
    row = pq.read_table(next(log.folder.glob("segments/*"))).to_pylist()[0]
    assert (row["failure_error_class"], row["failure_message"]) == ("BUG", "attempt 1 failed")


def test_a_damaged_batch_is_folded_as_far_as_it_can_be_read_and_kept(log: AttemptLog) -> None:
    rows = fill(log, 1, "done", "done", "done")
    path = log.folder / "journal" / "00000004.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    other = again(log)
    other.fold()
    content = again(log).read()
    assert content.rows == [rows[0], rows[2]]
    assert content.damaged == [str(log.folder / "damaged" / path.name)]
    assert [mark.shard_id for mark in content.marks] == [rows[1].shard_id]


def test_a_damaged_segment_is_named_and_hides_no_other(log: AttemptLog) -> None:
    fill(log, 1, "INFRA")
    log.fold()
    later = fill(log, 2, "done")
    log.fold()
    first = min(log.folder.glob("segments/*"))
    whole = first.read_bytes()
    for at in range(0, len(whole), 97):
        first.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        content = again(log).read()
        assert (content.rows, content.damaged) == (later, [str(first)])
    assert again(log).next_number(later[0].shard_id) == 3


def test_batches_in_a_segment_that_was_damaged_since_are_folded_anew(log: AttemptLog) -> None:
    rows = fill(log, 1, "INFRA", "done")
    kept = shutil.copytree(log.folder / "journal", log.folder.parent / "kept")
    log.fold()
    shutil.copytree(kept, log.folder / "journal", dirs_exist_ok=True)  # it died before it deleted them
    segment = next(log.folder.glob("segments/*"))
    segment.write_bytes(b"PAR1")
    other = again(log)
    assert other.read().rows == rows
    other.fold()
    assert again(log).read().rows == rows


def test_a_segment_of_a_newer_version_is_refused(log: AttemptLog, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, 1, "done")
    monkeypatch.setattr("singalong.attempt_files.ATTEMPT_SCHEMA_VERSION", 99)
    log.fold()
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"newer singalong.*version 99"):
        again(log).read()


# ---- readers while it is folded


@pytest.mark.parametrize("after", range(6))
def test_who_looks_while_it_is_folded_sees_every_attempt_once(
    log: AttemptLog, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    rows = fill(log, 1, "done", "BUG", "done")
    reader, looks, real = again(log), [0], attempts_module.names_in

    def folded_meanwhile(folder: Path) -> list[str]:
        looks[0] += 1
        if looks[0] - 1 == after:
            looks[0] = 99
            AttemptLog(log.folder).fold()
        return real(folder)

    monkeypatch.setattr(attempts_module, "names_in", folded_meanwhile)
    content = reader.read()
    assert (content.rows, content.marks) == (rows, [])


def test_a_watcher_is_told_of_a_segment_before_its_batches_go(log: AttemptLog) -> None:
    told = list[str]()

    class Told:
        def wrote(self, path: Path) -> None:
            assert path.is_file()
            told.append(path.parent.name)

        def removed(self, paths: Any) -> None:
            assert not any(path.exists() for path in paths)
            told.append(f"-{len(paths)}")

    log.watcher = Told()
    fill(log, 1, "done")
    log.fold()
    assert told == ["journal", "journal", "segments", "-2"]


# ---- crashes

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["flush", "fold", "look"]), st.just(0)),
    ),
    max_size=14,
)


def perform(log: AttemptLog, operations: list[tuple[str, int]], promise: Callable[[str, str, int], None]) -> None:
    """Do this, promising what is flushed: 'started' or 'ended', the shard, the number."""
    waiting, running = list[tuple[str, str, int]](), dict[str, int]()
    for operation, which in operations:
        shard = SHARDS[which]
        if operation == "start" and shard.shard_id not in running:
            number = running[shard.shard_id] = log.next_number(shard.shard_id)
            log.mark_started(shard.shard_id, number, work_key=shard.work_key, flush=False)
            waiting.append(("started", shard.shard_id, number))
        elif operation == "end" and shard.shard_id in running:
            number = running.pop(shard.shard_id)
            log.record(attempt(shard, number, "INFRA", final=False), flush=False)
            waiting.append(("ended", shard.shard_id, number))
        elif operation == "flush":
            log.flush()
            for one in waiting:
                promise(*one)
            waiting.clear()
        elif operation == "fold":
            log.fold()
        elif operation == "look":
            log.read()


def dying_at(folder: Path, operations: list[tuple[str, int]], step: int) -> set[tuple[str, str, int]]:
    """Perform in a fork that stops dead at its n-th change of the disk; what it had promised by then."""
    reading, writing = os.pipe()

    def promise(*what: object) -> None:
        os.write(writing, f"{' '.join(map(str, what))}\n".encode())

    pid = fork_that_dies(
        lambda: perform(AttemptLog(folder), operations, promise),
        at=step,
        calls=("replace", "link", "unlink", "mkdir", "rename", "fsync"),
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    exit_code(pid)
    return {(kind, shard_id, int(number)) for kind, shard_id, number in map(str.split, lines)}


@settings(max_examples=40)
@given(lives=st.lists(st.tuples(OPERATIONS, st.integers(1, 30)), min_size=1, max_size=3))
def test_drivers_that_die_at_any_step_lose_nothing_and_count_nothing_twice(
    lives: list[tuple[list[tuple[str, int]], int]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder, promised = Path(root) / "attempts", set[tuple[str, str, int]]()
        for operations, step in lives:
            promised |= dying_at(folder, operations, step)
            check(AttemptLog(folder), promised)
        log = AttemptLog(folder)
        before = log.read()
        log.fold()
        after = AttemptLog(folder).read()
        assert (after.rows, after.marks) == (before.rows, before.marks)
        assert not list(folder.glob("journal/*.jsonl"))
        check(log, promised)


def check(log: AttemptLog, promised: set[tuple[str, str, int]]) -> None:
    content = log.read()
    rows = [(row.shard_id, row.attempt) for row in content.rows]
    marks = [(mark.shard_id, mark.attempt) for mark in content.marks]
    assert content.damaged == []
    assert len(rows + marks) == len(set(rows + marks)), "something is counted twice"
    assert {(shard, number) for kind, shard, number in promised if kind == "ended"} <= set(rows)
    assert {(shard, number) for _, shard, number in promised} <= set(rows + marks)
    assert all(
        row == attempt(SHARDS[list(KEYS).index(row.shard_id)], row.attempt, "INFRA", final=False)
        for row in content.rows
    )


def test_a_power_cut_while_it_is_folded_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "images").mkdir()
    log = AttemptLog(tmp_path / "disk" / "attempts")
    with recording(tmp_path / "disk") as recorder:
        rows = fill(log, 1, "INFRA", "done")
        recorder.mark()
        AttemptLog(log.folder).fold()
    drawn, seen = random.Random(3), 0
    for number in range(recorder.marks[0], len(recorder.states)):
        for image in recorder.images(number, drawn):
            seen += 1
            content = AttemptLog(lay_out(image, tmp_path / "images" / f"{seen}") / "attempts").read()
            assert content.rows == rows
    assert seen > 10


def test_marks_and_rows_of_one_batch_come_back(log: AttemptLog) -> None:
    mark = StartedMark(shard_id="a b", attempt=3, work_key="k", started_at="now", worker='"{\n')
    (log.folder / "journal").mkdir(parents=True)
    (log.folder / "journal" / "00000001.jsonl").write_bytes(encode_batch([mark, attempt(SHARDS[0])]))
    content = log.read()
    assert (content.marks, content.rows) == ([mark], [attempt(SHARDS[0])])
    log.fold()
    assert again(log).read().marks == [mark]
    assert segment_name(next(log.folder.glob("segments/*")).name) is not None
