"""Whatever instant the power fails at: what was promised is there, and what is there is true."""

from __future__ import annotations

import random
from pathlib import Path

from singalong.config import Settings
from singalong.contracts import AttemptRow, Status
from singalong.durable import sha256_of
from singalong.errors import UsageError
from singalong.runfolder import RunFolder
from singalong.store import Store
from tests.power_cuts import Recorder, lay_out, recording
from tests.singalong.builders import attempt, pair_row, plan_of, shard_result

ROWS = [pair_row(1, song_end_s=20), pair_row(2, song_start_s=1, song_end_s=11)]
PLAN = plan_of(ROWS)


def images(recorder: Recorder, folder: Path) -> list[tuple[int, Path]]:
    """Every image of every instant that differs from the others, with how many promises had been made before it."""
    drawn, known, found = random.Random(3), set[tuple[int, str]](), list[tuple[int, Path]]()
    for number in range(len(recorder.states)):
        promised = sum(mark <= number for mark in recorder.marks)
        for image in recorder.images(number, drawn):
            if (promised, repr(image)) not in known:
                known.add((promised, repr(image)))
                found.append((promised, lay_out(image, folder / f"{len(found)}")))
    return found


def test_a_recorded_attempt_is_never_lost_and_none_is_made_up(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    (tmp_path / "images").mkdir()
    shard = PLAN.shards[0]
    rows: list[AttemptRow] = [attempt(shard, 1, "INFRA", final=False), attempt(shard, 2)]
    with recording(root) as recorder:
        run = RunFolder.create(root / "run", PLAN, Settings(), manifest=ROWS)
        recorder.mark()
        for row in rows:
            run.journal_started(shard.shard_id, row.attempt)
            recorder.mark()
            run.record(row.model_copy(update={"run_id": run.run_id}))
            recorder.mark()
    found = images(recorder, tmp_path / "images")
    assert len(found) > 50
    for promised, image in found:
        if promised == 0:
            try:
                folder = RunFolder.open(image / "run")
            except UsageError:
                folder = RunFolder.create(image / "run", PLAN, Settings(), manifest=ROWS)  # simply run again
            assert folder.fold().count(Status.PENDING) == len(PLAN.shards)
            continue
        folder = RunFolder.open(image / "run")
        assert folder.plan.shards == PLAN.shards
        assert list(folder.manifest) == ROWS
        state = folder.fold().shards[shard.shard_id]
        assert state.num_attempts >= promised // 2, "a start or an end that was written is gone"
        assert (state.status is Status.DONE) or promised < 5, "a finished shard is gone"
        assert state.result is None or state.result == rows[1].result
        if promised in (2, 4):  # started, and surely not ended before
            assert folder.next_attempt(shard.shard_id) > promised // 2


def test_a_committed_shard_is_whole_whenever_it_is_found(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    (tmp_path / "images").mkdir()
    shard = PLAN.shards[0]
    with recording(root) as recorder:
        store = Store(root / "store")
        folder = store.new_temp_dir()
        (folder / "a.mp4").write_bytes(b"the segment " * 40)
        (folder / "a.parquet").write_bytes(b"the frames " * 30)
        store.commit(shard_result(shard), segment=folder / "a.mp4", frames=folder / "a.parquet")
        recorder.mark()
    found = images(recorder, tmp_path / "images")
    assert len(found) > 30
    for promised, image in found:
        copy = Store(image / "store")
        result = copy.find(shard.work_key)
        assert promised == 0 or result is not None, "a committed shard is gone"
        if result is not None:
            assert sha256_of(copy.segment_path(result)) == result.segment_sha256
            assert copy.verify(shard.work_key)


def test_a_cache_entry_is_whole_whenever_it_is_found(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    (tmp_path / "images").mkdir()
    contents = {"mel.npy": b"m" * 300, "voice.npy": b"v" * 200}

    def build(empty: Path) -> None:
        for name, content in contents.items():
            (empty / name).write_bytes(content)

    with recording(root) as recorder:
        Store(root / "store").commit_cache("songs", "ab" * 32, "1", build)
        recorder.mark()
    for promised, image in images(recorder, tmp_path / "images"):
        folder = Store(image / "store").cached("songs", "ab" * 32, "1")
        assert promised == 0 or folder is not None
        if folder is not None:
            assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in contents} == contents
