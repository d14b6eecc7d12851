"""The store: finished work by work key, and caches by content hash, shared by all runs and all processes.

    <root>/work/<key[:2]>/<key>/<sha256>.mp4              a shard's segment, named by its content
                                <sha256>.frames.parquet   its frames table, likewise
                                commit.json               written last: no result without it
    <root>/cache/<kind>/<sha256[:2]>/<sha256>/<version>/  files made from one clip or song, with complete.json
    <root>/cache/hashes/                                  content hashes of media, remembered
    <root>/tmp/                                           work in progress, swept when its process is dead

Nothing is ever changed in place. Any number of processes may find and commit at the same time; when two
commit the same key the first one stands and the other is told so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import Field, ValidationError

from singalong.contracts import Row, ShardResult
from singalong.durable import (
    atomic_file,
    fsync_dir,
    fsync_file,
    make_dirs,
    move_durably,
    sha256_of,
    write_atomic,
    write_parquet_atomic,
)
from singalong.hashes import HashMemory
from singalong.newer import refuse_newer, version_in
from singalong.tempdirs import TempDirs

__all__ = ["CommitMarker", "Store", "atomic_file", "sha256_of", "write_atomic", "write_parquet_atomic"]

STORE_VERSION = 1
_WORK_MARKER = "commit.json"
_CACHE_MARKER = "complete.json"
_KEY = re.compile(r"[0-9a-f]{16,64}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}")
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR})


class CommitMarker(Row):
    """Content of commit.json: the result, and the sizes of its files so that a lost tail is noticed."""

    store_version: int = STORE_VERSION
    result: ShardResult
    segment_bytes: int = Field(gt=0)
    frames_bytes: int = Field(gt=0)


class CacheMarker(Row):
    """Content of complete.json: every file of a cache entry with its size in bytes."""

    store_version: int = STORE_VERSION
    files: dict[str, int]


class Store:
    """A folder of finished work and caches; cheap to construct, and it travels between processes by its path.

    Every method raises OSError as the file system gave it, and UsageError where a newer version has been at work: what
    it left is neither read nor overwritten.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self._hashes = HashMemory(self.root / "cache" / "hashes")
        self._temp = TempDirs(self.root / "tmp")

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return type(self), (self.root,)

    def __repr__(self) -> str:
        return f"Store({os.fspath(self.root)!r})"

    # ---- hashes and work in progress

    def file_sha256(self, path: Path) -> str:
        """SHA-256 of a media file, in hex; unchanged files are not read twice. See `HashMemory.sha256`."""
        return self._hashes.sha256(path)

    def new_temp_dir(self) -> Path:
        """A new, empty folder on the store's file system; swept up some time after this process ended."""
        return self._temp.new()

    def temp_dir(self) -> contextlib.AbstractContextManager[Path]:
        """Like `new_temp_dir`, as a context manager that removes the folder at its end."""
        return self._temp.temporary()

    def sweep(self) -> list[Path]:
        """Remove temporary folders of dead processes (also done when a process first asks for one)."""
        return self._temp.sweep()

    # ---- finished shards

    def find(self, work_key: str) -> ShardResult | None:
        """The committed result of a work key: its marker reads, and its files stand there in full size.

        Does not read the files; `verify` does. Anything wrong counts as not there, so the work is done again.
        """
        marker = self._marker(work_key)
        if marker is None:
            return None
        sizes = (
            (self.segment_path(marker.result), marker.segment_bytes),
            (self.frames_path(marker.result), marker.frames_bytes),
        )
        return marker.result if all(_size(path) == size for path, size in sizes) else None

    def verify(self, work_key: str) -> bool:
        """Whether a result exists and its files still have the content that was committed (reads them)."""
        result = self.find(work_key)
        return (
            result is not None
            and sha256_of(self.segment_path(result)) == result.segment_sha256
            and sha256_of(self.frames_path(result)) == result.frames_sha256
        )

    def discard(self, work_key: str) -> None:
        """Forget a result, e.g. one that failed `verify`: the marker goes first, then its files."""
        folder = self._work_dir(work_key)
        if folder.is_dir():
            (folder / _WORK_MARKER).unlink(missing_ok=True)
            fsync_dir(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def segment_path(self, result: ShardResult) -> Path:
        """Where the segment of a committed result lies."""
        return self._work_dir(result.work_key) / f"{result.segment_sha256}.mp4"

    def frames_path(self, result: ShardResult) -> Path:
        """Where the frames table of a committed result lies."""
        return self._work_dir(result.work_key) / f"{result.frames_sha256}.frames.parquet"

    def commit(self, result: ShardResult, *, segment: Path, frames: Path) -> ShardResult:
        """Move a finished segment and its frames table into the store; returns the result that now stands.

        Whatever hashes `result` carries are replaced by those of the files. When another process committed
        the same work key first, its result is returned and ours is dropped. After return the result
        survives a power cut. `segment` and `frames` are moved; they are best written in `new_temp_dir`, on
        the same file system.
        """
        standing = self.find(result.work_key)
        if standing is not None:
            _drop(segment, frames)
            return standing
        marker = CommitMarker(
            result=result.model_copy(update={"segment_sha256": sha256_of(segment), "frames_sha256": sha256_of(frames)}),
            segment_bytes=segment.stat().st_size,
            frames_bytes=frames.stat().st_size,
        )
        make_dirs(self._work_dir(result.work_key))
        move_durably(segment, self.segment_path(marker.result))
        move_durably(frames, self.frames_path(marker.result))
        return self._publish(marker)

    def _publish(self, marker: CommitMarker) -> ShardResult:
        """Write the marker unless a sound one stands; the loser of a race leaves no files behind."""
        path = self._work_dir(marker.result.work_key) / _WORK_MARKER
        data = marker.model_dump_json(indent=1).encode()
        try:
            write_atomic(path, data, replace=False)
        except FileExistsError:
            standing = self.find(marker.result.work_key)
            if standing is not None:
                kept = {self.segment_path(standing), self.frames_path(standing)}
                _drop(*({self.segment_path(marker.result), self.frames_path(marker.result)} - kept))
                return standing
            write_atomic(path, data)  # what stands there is damaged
        return marker.result

    def _marker(self, work_key: str) -> CommitMarker | None:
        try:
            marker = CommitMarker.model_validate_json(_marker_data(self._work_dir(work_key) / _WORK_MARKER))
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        return marker if marker.result.work_key == work_key else None

    def _work_dir(self, work_key: str) -> Path:
        assert _KEY.fullmatch(work_key), work_key
        return self.root / "work" / work_key[:2] / work_key

    # ---- caches

    def cached(self, kind: str, sha256: str, version: str) -> Path | None:
        """Folder of a cache entry, or None when it was never completed or a file is missing or cut short."""
        folder = self._cache_dir(kind, sha256, version)
        try:
            marker = CacheMarker.model_validate_json(_marker_data(folder / _CACHE_MARKER))
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        complete = all(_size(folder / name) == size for name, size in marker.files.items())
        return folder if complete else None

    def commit_cache(self, kind: str, sha256: str, version: str, build: Callable[[Path], object]) -> Path:
        """Folder of a cache entry, made by `build(folder)` when it is not there yet.

        `build` writes any files into the empty folder it is given; when it raises, nothing is left. When
        several processes build the same entry at once, the first stands. `kind` and `version` are short
        plain names.
        """
        standing = self.cached(kind, sha256, version)
        if standing is not None:
            return standing
        target = self._cache_dir(kind, sha256, version)
        with self.temp_dir() as temp:
            made = temp / "made"
            made.mkdir()
            build(made)
            files = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
            marker = CacheMarker(files={name: path.stat().st_size for name, path in sorted(files.items())})
            (made / _CACHE_MARKER).write_text(marker.model_dump_json(indent=1), encoding="utf-8")
            _flush_tree(made)
            make_dirs(target.parent)
            while (standing := self.cached(kind, sha256, version)) is None:
                if _move_folder(made, target):
                    return target
                # A damaged entry is in the way: take it out and look again, somebody may do the same.
                with contextlib.suppress(FileNotFoundError):
                    target.rename(self.new_temp_dir() / "damaged")
        return standing

    def _cache_dir(self, kind: str, sha256: str, version: str) -> Path:
        assert _KEY.fullmatch(sha256), sha256
        assert _NAME.fullmatch(kind), kind
        assert _NAME.fullmatch(version), version
        return self.root / "cache" / kind / sha256[:2] / sha256 / version


def _marker_data(path: Path) -> bytes:
    data = path.read_bytes()
    refuse_newer("a result in the store", version_in(data, "store_version"), STORE_VERSION, file=path)
    return data


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _drop(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _flush_tree(folder: Path) -> None:
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            fsync_file(Path(path) / name)
        fsync_dir(Path(path))


def _move_folder(source: Path, target: Path) -> bool:
    """Move a folder into place in one step; False when something that is not an empty folder stands there."""
    try:
        source.rename(target)
    except OSError as exc:
        if exc.errno in _TAKEN:
            return False
        raise
    fsync_dir(target.parent)
    return True
