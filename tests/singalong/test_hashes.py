"""Remembered hashes: a file is read once while it is unchanged, and never believed longer."""

import os
import time
from pathlib import Path

import pytest

import singalong.hashes as hashes
from singalong.errors import ChangedFileError, InputError, TransientIOError
from singalong.store import Store, sha256_of


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []

    def counted(path: Path) -> str:
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(hashes, "sha256_of", counted)
    return seen


def settle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock run on, so that the file's last change is no longer recent."""
    real = time.time
    monkeypatch.setattr(hashes.time, "time", lambda: real() + 10)


def test_an_unchanged_file_is_read_once_by_all_stores(
    store: Store, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    settle(clip, monkeypatch)
    (tmp_path / "link.mp4").symlink_to(clip)
    digests = {Store(store.root).file_sha256(path) for path in (clip, clip, tmp_path / "link.mp4")}
    assert digests == {sha256_of(clip)}
    assert len(reads) == 1


def test_a_file_changed_a_moment_ago_is_not_remembered(store: Store, tmp_path: Path, reads: list[Path]) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"old!")
    before = clip.stat()
    old = store.file_sha256(clip)
    clip.write_bytes(b"new!")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.file_sha256(clip) != old
    assert len(reads) == 2


def test_an_edit_that_keeps_size_and_time_is_noticed(
    store: Store, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"old!")
    settle(clip, monkeypatch)
    before, old = clip.stat(), store.file_sha256(clip)
    time.sleep(0.02)
    clip.write_bytes(b"new!")
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.file_sha256(clip) != old


def test_a_damaged_memory_is_ignored(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    settle(clip, monkeypatch)
    digest = store.file_sha256(clip)
    for entry in (store.root / "cache" / "hashes").rglob("*.json"):
        entry.write_bytes(b'{"identity": 3')
    assert store.file_sha256(clip) == digest


def test_a_file_that_keeps_changing_is_a_transient_failure(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")

    def growing(path: Path) -> str:
        with path.open("ab") as file:
            file.write(b"more")
        return "0" * 64

    monkeypatch.setattr(hashes, "sha256_of", growing)
    with pytest.raises(TransientIOError, match="changes while"):
        store.file_sha256(clip)


def test_a_missing_file_and_a_folder_raise_what_the_file_system_says(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.file_sha256(tmp_path / "nowhere.mp4")
    with pytest.raises(IsADirectoryError):
        store.file_sha256(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="not a regular file"):
        store.file_sha256(tmp_path / "clip.mp4")


@pytest.mark.parametrize("change", ["gone", "other", "pipe"])
def test_a_file_that_is_not_the_planned_one_any_more_is_told_from_one_that_is(
    store: Store, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"planned")
    sha256 = store.file_sha256(path)
    store.check_unchanged(path, sha256)
    path.unlink()
    if change == "other":
        path.write_bytes(b"another")
    elif change == "pipe":
        os.mkfifo(path)
    with pytest.raises(ChangedFileError, match=r"clip\.mp4"):
        store.check_unchanged(path, sha256)
