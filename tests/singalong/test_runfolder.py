"""The run folder: plans that are never lost, attempts that are never rewritten, one driver at a time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from singalong.config import Settings
from singalong.contracts import Plan, Status
from singalong.errors import TransientIOError, UsageError
from singalong.runfolder import RunFolder
from tests.singalong.builders import attempt, pair_row, plan_of, touch
from tests.sudden_deaths import exit_code, fork_that_dies

SETTINGS = Settings.model_validate({"lipsync": {"crf": 20}, "run": {"store": "/tmp/é"}})
ROWS = [pair_row(1, song_end_s=20, tags={"a": "b"}), pair_row(2, song_end_s=5)]


def plan(*values: dict[str, Any], **options: Any) -> Plan:
    rows = [row.model_copy(update=values[n] if n < len(values) else {}) for n, row in enumerate(ROWS)]
    return plan_of(rows, settings=SETTINGS, **options)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", plan(), SETTINGS, manifest=ROWS)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ---- making, opening, planning again


def test_a_run_comes_back_as_it_was_made(run: RunFolder) -> None:
    again = RunFolder.open(run.path)
    assert (again.plan, again.settings, again.manifest, again.run_id) == (plan(), SETTINGS, ROWS, "run-1")
    assert files(run.path) == {
        *(".lock", "run.json", "plan.parquet", "manifest.parquet", "config.toml"),
        *("plans/0001.parquet", "plans/0001.manifest.parquet", "plans/0001.toml"),
    }


def test_making_the_same_run_again_writes_nothing(run: RunFolder) -> None:
    before = {name: (run.path / name).stat().st_mtime_ns for name in files(run.path) - {".lock"}}
    same = plan(created_at="later", run_id="another")
    assert RunFolder.create(run.path, same, SETTINGS, manifest=ROWS).plan == run.plan
    assert {name: (run.path / name).stat().st_mtime_ns for name in files(run.path) - {".lock"}} == before


def test_an_edited_manifest_makes_a_new_plan_and_keeps_the_old_one(run: RunFolder) -> None:
    old = (run.path / "plans/0001.parquet").read_bytes()
    edited = RunFolder.create(run.path, plan({"song_end_s": 15}, run_id="run-2"), SETTINGS, manifest=ROWS)
    assert edited.run_id == "run-1"
    assert edited.plan.pairs[0].num_frames == 375
    assert RunFolder.open(run.path).plan == edited.plan
    assert (run.path / "plans/0001.parquet").read_bytes() == old
    assert pq.read_table(run.path / "plans/0002.parquet").equals(pq.read_table(run.path / "plan.parquet"))


def test_new_settings_alone_are_kept_too(run: RunFolder) -> None:
    other = Settings.model_validate({"run": {"batch_size": 3}})
    RunFolder.create(run.path, plan(), other, manifest=ROWS)
    assert RunFolder.open(run.path).settings == other
    assert "batch_size = 3" in (run.path / "config.toml").read_text()


def test_attempts_count_as_long_as_the_plan_asks_for_the_same_work(run: RunFolder) -> None:
    for shard in run.plan.shards:
        run.record(attempt(shard))
    edited = RunFolder.create(run.path, plan({}, {"song_end_s": 4}), SETTINGS, manifest=ROWS)
    fold = edited.fold()
    assert {name: state.status for name, state in fold.shards.items()} == {
        "p1-0000": Status.DONE,
        "p1-0001": Status.DONE,
        "p2-0000": Status.PENDING,
    }
    assert fold.num_stale == 1
    assert edited.next_attempt("p2-0000") == 2
    back = RunFolder.create(run.path, plan(), SETTINGS, manifest=ROWS)
    assert back.fold().count(Status.DONE) == 3


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "run" / "holiday.jpg")
    with pytest.raises(UsageError, match=r"holiday\.jpg"):
        RunFolder.create(tmp_path / "run", plan(), SETTINGS)
    touch(tmp_path / "file")
    with pytest.raises(UsageError, match="this is a file"):
        RunFolder.create(tmp_path / "file", plan(), SETTINGS)


def test_an_empty_folder_with_logs_will_do(tmp_path: Path) -> None:
    touch(tmp_path / "run" / "logs" / "today.log")
    assert RunFolder.create(tmp_path / "run", plan(), SETTINGS).plan == plan()


def test_what_is_no_run_folder_says_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", touch(tmp_path / "file")):
        with pytest.raises(UsageError, match="not a run folder"):
            RunFolder.open(path)


def test_a_run_of_a_newer_version_is_refused_and_left_alone(run: RunFolder) -> None:
    marker = json.loads((run.path / "run.json").read_text()) | {"schema_version": 99}
    (run.path / "run.json").write_text(json.dumps(marker))
    for use in (lambda: RunFolder.open(run.path), lambda: RunFolder.create(run.path, plan({"fit": "cut"}), SETTINGS)):
        with pytest.raises(UsageError, match=r"newer singalong.*version 99.*Update"):
            use()
    assert not (run.path / "plans/0002.parquet").exists()


@pytest.mark.parametrize("name", ["run.json", "plan.parquet"])
def test_damaged_files_are_named(run: RunFolder, name: str) -> None:
    (run.path / name).write_bytes(b"{")
    (run.path / "plans" / "0001.parquet").unlink()
    with pytest.raises(UsageError, match=name):
        RunFolder.open(run.path)


def test_a_crash_at_any_step_of_planning_again_leaves_the_old_plan_or_the_new_one(tmp_path: Path) -> None:
    old, new = plan(), plan({"song_end_s": 15})
    for step in range(1, 80):
        path = tmp_path / str(step)
        RunFolder.create(path, old, SETTINGS, manifest=ROWS)
        code = _in_child(lambda path=path: RunFolder.create(path, new, Settings(), manifest=ROWS[:1]), dies_at=step)
        run = RunFolder.open(path)
        expected = (old, SETTINGS, ROWS) if run.plan == old else (new, Settings(), ROWS[:1])
        assert (run.plan, run.settings, run.manifest) == expected
        assert RunFolder.create(path, new, Settings(), manifest=ROWS[:1]).plan == new
        if code == 0:
            assert step > 10
            return
    pytest.fail("planning never ran to its end")


def test_a_crash_at_any_step_of_making_a_run_can_be_made_good(tmp_path: Path) -> None:
    for step in range(1, 80):
        path = tmp_path / str(step)
        code = _in_child(lambda path=path: RunFolder.create(path, plan(), SETTINGS, manifest=ROWS), dies_at=step)
        assert RunFolder.create(path, plan(), SETTINGS, manifest=ROWS).fold().count(Status.PENDING) == 3
        assert RunFolder.open(path).plan == plan()
        if code == 0:
            return
    pytest.fail("making the run never ran to its end")


def _in_child(action: Any, *, dies_at: int) -> int:
    """Run in a fork that stops dead at the n-th call that changes something on the disk; its exit code."""
    calls = ("replace", "link", "unlink", "mkdir", "ftruncate")
    return exit_code(fork_that_dies(action, at=dies_at, calls=calls))


# ---- attempts


def test_attempts_are_numbered_from_one_past_any_start_or_end(run: RunFolder) -> None:
    shard = run.plan.shards[0]
    assert run.next_attempt(shard.shard_id) == 1
    run.journal_started(shard.shard_id, 1, "box:1")
    assert run.next_attempt(shard.shard_id) == 2
    run.record(attempt(shard, 4))
    assert run.next_attempt(shard.shard_id) == 5
    assert run.next_attempt(run.plan.shards[1].shard_id) == 1


def test_recorded_attempts_come_back_in_order_to_any_reader(run: RunFolder) -> None:
    first, second = run.plan.shards[:2]
    rows = [attempt(first, 1, "TRANSIENT_IO", final=False), attempt(first, 2), attempt(second, 1, reused=True)]
    for row in (rows[2], rows[0], rows[1]):
        run.record(row)
    assert run.attempts() == rows
    assert RunFolder.open(run.path).attempts(first.shard_id) == rows[:2]


def test_an_attempt_is_never_rewritten(run: RunFolder) -> None:
    shard = run.plan.shards[0]
    run.record(attempt(shard, 1, "BUG"))
    run.record(attempt(shard, 1, "BUG"))
    with pytest.raises(FileExistsError):
        run.record(attempt(shard, 1))
    assert run.fold().shards[shard.shard_id].status is Status.FAILED
    run.journal_started(shard.shard_id, 2)
    with pytest.raises(FileExistsError):
        run.journal_started(shard.shard_id, 2)


def test_a_driver_that_died_leaves_its_attempts_unfinished(run: RunFolder) -> None:
    shard = run.plan.shards[0]
    run.journal_started(shard.shard_id, 1)
    state = RunFolder.open(run.path).fold().shards[shard.shard_id]
    assert (state.status, state.unfinished, state.num_attempts) == (Status.PENDING, (1,), 1)


def test_a_fold_sees_what_others_wrote_since_the_last_one(run: RunFolder) -> None:
    reader, shard = RunFolder.open(run.path), run.plan.shards[0]
    assert reader.fold().count(Status.DONE) == 0
    run.record(attempt(shard))
    assert reader.fold().count(Status.DONE) == 1


def test_attempts_in_segments_and_those_that_came_since_are_folded_together(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singalong.attempts.FOLD_FROM", 1)
    for shard in run.plan.shards[:-1]:
        run.record(attempt(shard))
    run.fold_journal()
    monkeypatch.undo()
    run.record(attempt(run.plan.shards[-1], 1, "BUG"))
    found = [*(run.path / "attempts" / "segments").iterdir(), *(run.path / "attempts" / "journal").iterdir()]
    assert len(found) >= 2
    fold = RunFolder.open(run.path).fold()
    assert [state.status for state in fold.shards.values()] == [Status.DONE] * (len(fold.shard_ids) - 1) + [
        Status.FAILED
    ]
    assert fold.outcomes(["failure_message"])["failure_message"].to_pylist()[-1] == "attempt 1 failed"


def test_damaged_attempts_are_named_and_do_not_hide_the_others(run: RunFolder) -> None:
    for shard in run.plan.shards:
        run.journal_started(shard.shard_id, 1)
        run.record(attempt(shard))
    victim = run.path / "attempts" / "journal" / "00000004.jsonl"
    victim.write_bytes(victim.read_bytes()[:100])
    fold = RunFolder.open(run.path).fold()
    assert fold.damaged == (str(victim),)
    assert fold.count(Status.DONE) == 2
    assert fold.shards["p1-0001"].unfinished == (1,)


def test_leftovers_of_a_crash_among_the_attempts_are_ignored(run: RunFolder) -> None:
    touch(run.path / "attempts" / "journal" / ".00000001.jsonl.abc123.tmp", b"half")
    touch(run.path / "attempts" / "segments" / "notes.txt", b"?")
    assert run.next_attempt("p1-0000") == 1
    assert run.fold().damaged == ()


def test_a_run_that_is_written_on_is_closed_to_older_versions(run: RunFolder) -> None:
    marker = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(marker | {"schema_version": 1}))
    again = RunFolder.open(run.path)
    again.fold()
    assert json.loads((run.path / "run.json").read_text())["schema_version"] == 1, "looking on changes nothing"
    again.record(attempt(run.plan.shards[0]))
    assert json.loads((run.path / "run.json").read_text()) == marker


# ---- frames


def test_frames_are_linked_and_follow_the_store(run: RunFolder, tmp_path: Path) -> None:
    old, new = touch(tmp_path / "old", b"old"), touch(tmp_path / "new", b"new")
    kept = run.keep_frames("p1-0000", old)
    assert kept == run.path / "frames" / "p1-0000.parquet"
    assert kept.stat().st_ino == old.stat().st_ino
    assert run.keep_frames("p1-0000", new).read_bytes() == b"new"
    assert old.read_bytes() == b"old"


# ---- one driver


def test_a_second_driver_is_told_who_the_first_one_is(run: RunFolder) -> None:
    with run.lock():
        with pytest.raises(UsageError, match=rf"worked on by process {os.getpid()} on ") as caught, run.lock():
            pass
        assert str(run.path) in str(caught.value)
        assert str(os.getpid()) in str(run.holder())
        with pytest.raises(UsageError, match="worked on"):
            RunFolder.create(run.path, plan({"fit": "cut"}), SETTINGS)
        assert RunFolder.open(run.path).fold().count(Status.PENDING) == 3
    assert run.holder() is None
    with run.lock():
        pass


def test_the_lock_of_a_driver_that_was_killed_is_free(run: RunFolder) -> None:
    script = (
        "import os, pathlib, sys; from singalong.runfolder import RunFolder\n"
        "with RunFolder.open(pathlib.Path(sys.argv[1])).lock(): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(run.path)], check=False)
    assert done.returncode == -9
    assert run.holder() is None
    with run.lock():
        assert run.holder() is not None


# ---- damage


@pytest.mark.parametrize("damage", ["cut", "flipped", "rubbish"])
def test_a_damaged_plan_is_taken_from_its_copy_and_mended_by_the_next_run(run: RunFolder, damage: str) -> None:
    run.record(attempt(plan().shards[0], run_id=run.run_id))
    path = run.path / "plan.parquet"
    whole = path.read_bytes()
    path.write_bytes(spoil(whole, damage, at=len(whole) // 3))
    again = RunFolder.open(run.path)
    assert again.plan == run.plan
    assert again.fold().count(Status.DONE) == 1
    mended = RunFolder.create(run.path, plan(), SETTINGS, manifest=ROWS)
    assert mended.run_id == run.run_id
    assert mended.fold().count(Status.DONE) == 1
    assert pq.read_table(path).num_rows == len(plan().shards)


def test_a_folder_on_a_disk_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        for path in (tmp_path, tmp_path / "new"):
            with pytest.raises(UsageError, match="the run folder cannot be written"):
                RunFolder.create(path, plan(), SETTINGS, manifest=ROWS)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_deleted_run_folder_is_not_written_to(run: RunFolder) -> None:
    shutil.rmtree(run.path)
    with pytest.raises(TransientIOError, match="run folder is gone"):
        run.journal_started(plan().shards[0].shard_id, 1)
    with pytest.raises(TransientIOError, match="run folder is gone"):
        run.record(attempt(plan().shards[0]))
    assert not run.path.exists()


def spoil(data: bytes, damage: str, *, at: int) -> bytes:
    if damage == "cut":
        return data[:at]
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] if damage == "flipped" else b"\x00rubbish\xff" * 9


def test_a_run_is_folded_anew_only_when_something_was_written(run: RunFolder) -> None:
    run.record(attempt(run.plan.shards[0]))
    first = run.fold()
    assert run.fold() is first
    run.record(attempt(run.plan.shards[1]))
    assert run.fold().count(Status.DONE) == 2


def test_a_run_is_opened_and_folded_without_reading_its_whole_plan(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.record(attempt(run.plan.shards[0]))
    monkeypatch.setattr("singalong.runfolder._read_plan", lambda _: pytest.fail("the plan was read"))
    again = RunFolder.open(run.path)
    assert again.fold().count(Status.DONE) == 1
    assert again.outline.num_frames.sum() == sum(pair.num_frames for pair in run.plan.pairs)
