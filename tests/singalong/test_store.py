"""The store: commits that are whole or absent, races with one winner, caches and remembered hashes."""

import errno
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import singalong.durable as durable
from singalong.contracts import ShardResult, SyncScore
from singalong.errors import ResourceError, classify
from singalong.store import Store, sha256_of
from tests.sudden_deaths import exit_code, fork_that_dies

KEY = "ab" * 20
SHA = "cd" * 32


def shard_result(work_key: str = KEY) -> ShardResult:
    return ShardResult(
        work_key=work_key,
        segment_sha256="",
        frames_sha256="",
        num_frames=250,
        num_face_frames=240,
        num_voiced_frames=200,
        rest_motion=0.5,
        score=SyncScore(scorer="expert", num_windows=190, confidence=7.5, distance=6.25, offset_frames=-1),
        device="cpu",
        node="box",
        seconds={"decode": 1.5},
        peak_rss_mb=512.0,
        created_at="2026-01-01T00:00:00Z",
    )


def made(store: Store, *, segment: bytes = b"segment", frames: bytes = b"frames") -> dict[str, Path]:
    folder = store.new_temp_dir()
    paths = {"segment": folder / "out.mp4", "frames": folder / "frames.parquet"}
    paths["segment"].write_bytes(segment)
    paths["frames"].write_bytes(frames)
    return paths


def work_folder(store: Store) -> Path:
    return store.root / "work" / KEY[:2] / KEY


# ---- finished shards


def test_nothing_is_found_before_a_commit(store: Store) -> None:
    assert store.find(KEY) is None
    assert not store.verify(KEY)


def test_commit_names_the_files_by_their_content_and_find_returns_the_result(store: Store) -> None:
    result = store.commit(shard_result(), **made(store))
    assert store.find(KEY) == result
    assert store.segment_path(result).read_bytes() == b"segment"
    assert store.frames_path(result).read_bytes() == b"frames"
    assert store.segment_path(result).stem == sha256_of(store.segment_path(result)) == result.segment_sha256
    assert store.verify(KEY)


@pytest.mark.parametrize("beside", [0, 300])
def test_of_many_keys_those_are_looked_at_that_may_be_there(
    store: Store, monkeypatch: pytest.MonkeyPatch, beside: int
) -> None:
    """`beside`: a folder that holds too much is not listed, and every key is asked for."""
    for number in range(beside):
        (store.root / "work" / "ab" / f"ab{number:038x}").mkdir(parents=True)
    result = store.commit(shard_result(), **made(store))
    asked, find = list[str](), Store.find
    monkeypatch.setattr(Store, "find", lambda self, key: (asked.append(key), find(self, key))[1])
    missing = [f"{first}{number:038x}" for first in ("ab", "cd") for number in range(1000, 1010)]
    assert store.find_many([*missing, KEY, KEY]) == {KEY: result}
    assert asked == ([KEY] if not beside else [*missing[:10], KEY])


def test_everything_but_the_hashes_is_kept_as_handed_in(store: Store) -> None:
    result = store.commit(shard_result(), **made(store))
    assert result.model_copy(update={"segment_sha256": "", "frames_sha256": ""}) == shard_result()


def test_the_first_commit_of_a_key_stands_and_the_second_leaves_no_files(store: Store) -> None:
    first = store.commit(shard_result(), **made(store, segment=b"first"))
    late = made(store, segment=b"second")
    assert store.commit(shard_result(), **late) == first
    assert len(list(work_folder(store).iterdir())) == 3
    assert not late["segment"].exists()


def test_losing_the_race_at_the_marker_returns_the_winner_and_tidies_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = store.commit(shard_result(), **made(store, segment=b"first"))
    real_find, calls = Store.find, []

    def blind_once(self: Store, key: str) -> ShardResult | None:
        calls.append(key)
        return None if len(calls) == 1 else real_find(self, key)

    monkeypatch.setattr(Store, "find", blind_once)
    assert store.commit(shard_result(), **made(store, segment=b"second")) == winner
    assert len(list(work_folder(store).iterdir())) == 3


@pytest.mark.parametrize("damage", ["no marker", "torn marker", "short segment", "lost frames", "other key"])
def test_a_damaged_result_counts_as_absent_and_can_be_committed_again(store: Store, damage: str) -> None:
    result = store.commit(shard_result(), **made(store))
    marker = work_folder(store) / "commit.json"
    if damage == "no marker":
        marker.unlink()
    elif damage == "torn marker":
        marker.write_bytes(marker.read_bytes()[:40])
    elif damage == "short segment":
        store.segment_path(result).write_bytes(b"seg")
    elif damage == "lost frames":
        store.frames_path(result).unlink()
    else:
        content = json.loads(marker.read_text())
        content["result"]["work_key"] = "ff" * 20
        marker.write_text(json.dumps(content))
    assert store.find(KEY) is None
    assert store.commit(shard_result(), **made(store)) == result
    assert store.verify(KEY)


def test_verify_sees_changed_bytes_of_the_same_size_and_discard_forgets_them(store: Store) -> None:
    result = store.commit(shard_result(), **made(store))
    store.segment_path(result).write_bytes(b"SEGMENT")
    assert store.find(KEY) == result
    assert not store.verify(KEY)
    store.discard(KEY)
    assert store.find(KEY) is None
    store.discard(KEY)


def test_a_segment_from_another_file_system_is_copied_into_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, real = made(store), Path.replace

    def across(self: Path, target: Path) -> Path:
        if self in paths.values():
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", across)
    store.commit(shard_result(), **paths)
    assert store.verify(KEY)
    assert not any(path.exists() for path in paths.values())


def test_a_crash_at_any_step_of_a_commit_leaves_nothing_found_or_all_of_it(tmp_path: Path) -> None:
    changes = ("fsync", "replace", "rename", "link", "unlink", "mkdir")
    for step in range(1, 40):
        store = Store(tmp_path / str(step))
        commit = partial(store.commit, shard_result(), **made(store))
        code = exit_code(fork_that_dies(commit, at=step, calls=changes))
        assert store.find(KEY) is None or store.verify(KEY)
        store.commit(shard_result(), **made(store))
        assert store.verify(KEY)
        if code == 0:
            assert step > 10
            return
    pytest.fail("the commit never ran to its end")


def _commit_in_child(root: Path, content: bytes, gate: "multiprocessing.synchronize.Barrier") -> None:
    store = Store(root)
    paths = made(store, segment=content)
    gate.wait()
    result = store.commit(shard_result(), **paths)
    assert store.find(KEY) == result


def test_processes_that_commit_the_same_key_at_once_agree_on_one_result(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(4)
    racers = [
        context.Process(target=_commit_in_child, args=(store.root, bytes([65 + i]) * 100, gate)) for i in range(4)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert store.verify(KEY)
    assert len(list(work_folder(store).iterdir())) == 3


def test_a_full_disk_leaves_no_trace_and_is_filed_under_resource(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = made(store)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        store.commit(shard_result(), **paths)
    assert isinstance(classify(caught.value), ResourceError)
    monkeypatch.undo()
    assert store.find(KEY) is None


def test_a_store_travels_between_processes_by_its_path(store: Store) -> None:
    store.new_temp_dir()
    assert pickle.loads(pickle.dumps(store)).root == store.root


# ---- temporary folders


def test_temporary_folders_of_a_dead_process_are_swept_and_those_of_a_living_one_are_not(
    store: Store,
) -> None:
    script = "import pathlib, sys, singalong.store as s; print(s.Store(pathlib.Path(sys.argv[1])).new_temp_dir())"
    command = [sys.executable, "-c", script, str(store.root)]
    left = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mine = store.new_temp_dir()
    assert mine.is_dir()
    assert not Path(left.strip()).exists()
    assert Store(store.root).sweep() == []
    assert mine.is_dir()
    assert len(list((store.root / "tmp").glob("*.lock"))) == 1


def test_a_forked_child_takes_a_folder_of_its_own(store: Store) -> None:
    parents = store.new_temp_dir().parent
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.new_temp_dir().parent != parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert parents.is_dir()


def test_temp_dir_is_gone_after_its_block(store: Store) -> None:
    with store.temp_dir() as folder:
        (folder / "x").write_bytes(b"x")
    assert not folder.exists()


# ---- caches


def test_a_cache_entry_is_built_once(store: Store) -> None:
    def build(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "tracks.parquet").write_bytes(b"tracks")

    assert store.cached("analysis", SHA, "v1") is None
    entry = store.commit_cache("analysis", SHA, "v1", build)
    assert (entry / "sub" / "tracks.parquet").read_bytes() == b"tracks"
    assert store.cached("analysis", SHA, "v1") == entry
    assert store.commit_cache("analysis", SHA, "v1", lambda _: pytest.fail("built twice")) == entry
    assert store.cached("analysis", SHA, "v2") is None


def test_a_build_that_raises_leaves_nothing(store: Store) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise RuntimeError("decoder gave up")

    with pytest.raises(RuntimeError, match="gave up"):
        store.commit_cache("analysis", SHA, "v1", build)
    assert store.cached("analysis", SHA, "v1") is None
    assert not list(store.root.rglob("half"))


@pytest.mark.parametrize("damage", ["no marker", "torn marker", "short file", "lost file"])
def test_a_damaged_cache_entry_is_built_again(store: Store, damage: str) -> None:
    def build(folder: Path) -> None:
        (folder / "mel.npy").write_bytes(b"12345")

    entry = store.commit_cache("songs", SHA, "v1", build)
    victim = entry / ("complete.json" if "marker" in damage else "mel.npy")
    victim.unlink() if damage in ("no marker", "lost file") else victim.write_bytes(victim.read_bytes()[:-1])
    assert store.cached("songs", SHA, "v1") is None
    assert store.commit_cache("songs", SHA, "v1", build) == entry
    assert (entry / "mel.npy").read_bytes() == b"12345"


def test_threads_that_build_the_same_entry_at_once_all_get_it(store: Store) -> None:
    gate, entries = threading.Barrier(4), []

    def build(folder: Path) -> None:
        gate.wait()
        (folder / "mel.npy").write_bytes(b"12345")

    threads = [
        threading.Thread(target=lambda: entries.append(store.commit_cache("songs", SHA, "v1", build))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(entries)) == 1
    assert len(entries) == 4
    assert store.cached("songs", SHA, "v1") == entries[0]
