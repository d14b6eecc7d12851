"""What commits of dead processes left is removed, and nothing that stands, is new, or is being committed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import singalong.store_strays as strays
from singalong.store import Store
from singalong.store_strays import held, trim_strays
from tests.singalong.test_store import KEY, made, shard_result
from tests.sudden_deaths import exit_code, fork_that_dies

OTHER = "ef" * 20


def files_in(store: Store) -> set[str]:
    return {path.name for path in (store.root / "work").rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_a_killed_commit_left_goes_and_what_it_finished_stays(store: Store) -> None:
    """Wherever it dies: the segment alone, both files, a marker half written."""
    seen = set()
    for step in range(1, 30):
        paths = made(store, segment=b"segment %d" % step)
        commit = partial(store.commit, shard_result(), **paths)
        code = exit_code(fork_that_dies(commit, at=step, calls=["fsync", "link"]))
        before = files_in(store)
        seen.add(len(before))
        freed = trim_strays(store.root / "work", older_than_s=0)
        if code == 0:
            assert (freed, files_in(store)) == (0, before)
            assert store.verify(KEY)
            break
        if store.find(KEY) is None:
            assert files_in(store) == set()
            assert (freed > 0) == bool(before)
        else:
            store.discard(KEY)
    assert seen >= {1, 2, 3}, "it was killed before, between and after its moves"
    assert not list((store.root / "work").glob("*/*/.*")), "half-written files go, too"


def test_beside_a_result_that_stands_only_what_its_marker_does_not_name_goes(store: Store) -> None:
    result = store.commit(shard_result(), **made(store))
    (stray := store.segment_path(result).with_name("ab" * 32 + ".mp4")).write_bytes(b"of another that died")
    trim_strays(store.root / "work", older_than_s=0)
    assert not stray.exists()
    assert store.verify(KEY)


def test_what_changed_lately_stays_though_its_content_is_old(store: Store) -> None:
    folder = store.root / "work" / OTHER[:2] / OTHER
    folder.mkdir(parents=True)
    (folder / "x.mp4").write_bytes(b"x")
    os.utime(folder / "x.mp4", (1e9, 1e9))  # a copied clip's time; it was put here just now
    assert trim_strays(store.root / "work") == 0
    assert (folder / "x.mp4").exists()


def test_what_a_living_process_is_committing_stays_until_it_dies(store: Store) -> None:
    script = """if True:
        import pathlib, sys
        from singalong.store_strays import held
        folder = pathlib.Path(sys.argv[1])
        with held(folder):
            (folder / "x.mp4").write_bytes(b"x")
            print("moved", flush=True)
            sys.stdin.readline()
    """
    folder = store.root / "work" / OTHER[:2] / OTHER
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert trim_strays(store.root / "work", older_than_s=0) == 0
        assert (folder / "x.mp4").exists()
        child.kill()
    assert trim_strays(store.root / "work", older_than_s=0) == 1
    assert not folder.exists()


def test_a_folder_that_goes_while_a_commit_begins_is_made_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real, times = store.root / "work" / OTHER[:2] / OTHER, strays.make_dirs, iter(range(9))

    def make_and_lose(path: Path) -> None:
        real(path)
        if next(times) == 0:
            path.rmdir()  # as another driver's trimming may

    monkeypatch.setattr(strays, "make_dirs", make_and_lose)
    with held(folder):
        assert folder.is_dir()


def test_work_of_a_newer_version_is_left_alone(store: Store) -> None:
    result = store.commit(shard_result(), **made(store))
    marker = store.segment_path(result).with_name("commit.json")
    marker.write_text(marker.read_text().replace('"store_version": 1', '"store_version": 99'))
    for name in ("a.new", "b.new"):
        marker.with_name(name).write_bytes(b"of that version")
    assert trim_strays(store.root / "work", older_than_s=0) == 0


def test_it_is_done_once_a_day_whoever_asks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Path] = []
    monkeypatch.setattr(strays, "trim_strays", lambda work: done.append(work) or 0)
    assert Store(store.root / "not made yet").tidy() == 0
    store.commit(shard_result(), **made(store))
    for _ in range(3):
        Store(store.root).tidy()
    assert len(done) == 1
    long_ago = time.time() - strays.EVERY_S - 1
    os.utime(store.root / "work" / ".trimmed", (long_ago, long_ago))
    store.tidy()
    assert len(done) == 2
