"""The store: finished work by work key, and caches by content hash, shared by all runs and all processes.

    <root>/work/<key[:2]>/<key>/<sha256>.mp4              a shard's segment, named by its content
                                <sha256>.frames.parquet   its frames table, likewise
                                commit.json               written last: no result without it
    <root>/cache/<kind>/<sha256[:2]>/<sha256>/<version>/  files made from one clip or song, with complete.json
    <root>/cache/hashes/                                  content hashes of media, remembered
    <root>/media/                                         clips and songs fetched from URLs (see `media_cache`)
    <root>/tmp/                                           work in progress, swept when its process is dead

Nothing is ever changed in place. Any number of processes may find and commit at the same time; when two
commit the same key the first one stands and the other is told so.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from singalong.contracts import ShardResult
from singalong.disk_cache import DiskCache, using
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
from singalong.errors import ChangedFileError, InputError, classify
from singalong.hashes import HashMemory
from singalong.media_cache import HashBook, MediaCache
from singalong.store_marks import (
    CACHE_MARKER,
    WORK_MARKER,
    CacheMarker,
    CommitMarker,
    by_folder,
    describe,
    drop_files,
    is_complete,
    is_damaged,
    marker_data,
    size_of,
)
from singalong.store_strays import held, trim_now_and_then
from singalong.tempdirs import TempDirs
from singalong.urls import is_url

__all__ = ["CommitMarker", "Store", "atomic_file", "sha256_of", "write_atomic", "write_parquet_atomic"]

_KEY = re.compile(r"[0-9a-f]{16,64}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}")
_LISTED_A_KEY = 16
"""Names of a folder that are listed in the time that it takes to find that one key is not there: 20 were measured."""
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR})


class Store:
    """A folder of finished work and caches; cheap to construct, and it travels between processes by its path.

    Every method raises OSError as the file system gave it, and UsageError where a newer version has been at work: what
    it left is neither read nor overwritten.
    """

    fetches = False
    """Whether files come from elsewhere: then what a run has kept is better than asking for it."""

    def __init__(self, root: Path, *, cache_bytes: int | None = None) -> None:
        """`cache_bytes`: limit on what is here only because it was fetched; None: no limit."""
        self.root, self._cache_bytes = root.expanduser().absolute(), cache_bytes
        self._hashes = HashMemory(self.root / "cache" / "hashes")
        self._temp = TempDirs(self.root / "tmp")
        self._disk = DiskCache(self.root, limit_bytes=cache_bytes)
        self._media = MediaCache(self._disk, HashBook(self.root / "cache" / "hashes"))
        self._guard: Callable[[], None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _store_at, (type(self), self.root, self._cache_bytes)

    def __repr__(self) -> str:
        return f"Store({os.fspath(self.root)!r})"

    @property
    def location(self) -> str:
        """Where the truth lies: a folder, or a URL."""
        return os.fspath(self.root)

    def check_reachable(self) -> None:
        """Raise UsageError or TransientIOError where the store cannot be used at all; a folder is made when needed."""

    # ---- guards

    def guarded(self, guard: Callable[[], None]) -> Self:
        """The same store, which calls `guard` before it commits anything: what that raises stops the commit."""
        guarded = copy.copy(self)
        guarded._guard = guard
        return guarded

    def check(self) -> None:
        """Call the guard, if there is one."""
        if self._guard is not None:
            self._guard()

    # ---- media, hashes and work in progress

    def using(self) -> contextlib.AbstractContextManager[None]:
        """While the block runs, nothing that this thread gets from the store is removed to make room."""
        return using()

    def local_media(self, location: str | Path) -> Path:
        """A clip's, song's or picture's file on this machine; a URL is fetched unless what is there now is here.

        Raises FileNotFoundError for an object that is not there, and as `singalong.objects` does.
        """
        return self._media.path(location) if isinstance(location, str) and is_url(location) else Path(location)

    def here(self, place: str) -> Path:
        """The file or folder on this machine that a job names: media, or what the store of another machine holds."""
        return self.local_media(place)

    def file_sha256(self, location: str | Path) -> str:
        """SHA-256 of a media file, in hex; unchanged ones are not read twice, at URLs not even fetched again.

        See `HashMemory.sha256`.
        """
        if isinstance(location, str) and is_url(location):
            return self._media.sha256(location)
        return self._hashes.sha256(Path(location))

    def check_unchanged(self, path: str | Path, sha256: str) -> None:
        """Raise ChangedFileError unless a media file is there and has the content that was planned with."""
        try:
            found = self.file_sha256(path)
        except (OSError, InputError) as error:
            known = classify(error)
            if not isinstance(known, InputError):
                raise
            raise ChangedFileError(
                f"cannot be read any more: {getattr(error, 'strerror', None) or error}",
                file=path,
                expected="the file this run was planned with",
                action="Put it back and run again, or run the manifest again with another.",
            ) from error
        if found != sha256:
            raise ChangedFileError(
                "changed since this run was planned",
                file=path,
                action="Run the manifest again to plan with the new file.",
            )

    def new_temp_dir(self) -> Path:
        """A new, empty folder on the store's file system; swept up some time after this process ended."""
        return self._temp.new()

    def temp_dir(self) -> contextlib.AbstractContextManager[Path]:
        """Like `new_temp_dir`, as a context manager that removes the folder at its end."""
        return self._temp.temporary()

    def sweep(self) -> list[Path]:
        """Remove temporary folders of dead processes (also done when a process first asks for one)."""
        return self._temp.sweep()

    def tidy(self) -> int:
        """Once a day, remove what commits of dead processes left among the finished work; the bytes freed.

        See `singalong.store_strays`.
        """
        return trim_now_and_then(self.root / "work")

    # ---- finished shards

    def find_many(self, work_keys: Iterable[str]) -> dict[str, ShardResult]:
        """`find` for many keys, at once where that is faster; those that have a result."""
        found = ((key, self.find(key)) for key in self._maybe_there(work_keys))
        return {key: result for key, result in found if result is not None}

    def fetch_frames(self, results: Iterable[ShardResult]) -> None:
        """Have the frames tables of many results here, at once where that is faster than one by one."""

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
        return marker.result if all(size_of(path) == size for path, size in sizes) else None

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
            (folder / WORK_MARKER).unlink(missing_ok=True)
            fsync_dir(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def segment_path(self, result: ShardResult) -> Path:
        """Where the segment of a committed result lies."""
        return self._work_dir(result.work_key) / f"{result.segment_sha256}.mp4"

    def frames_path(self, result: ShardResult) -> Path:
        """Where the frames table of a committed result lies."""
        return self._work_dir(result.work_key) / f"{result.frames_sha256}.frames.parquet"

    def segment_address(self, result: ShardResult) -> str:
        """Where the segment lies, to be told to people: a path or a URL."""
        return self.segment_place(result)

    def segment_place(self, result: ShardResult) -> str:
        """Where a job finds the segment (see `here`); nothing is fetched."""
        return os.fspath(self._work_dir(result.work_key) / f"{result.segment_sha256}.mp4")

    def frames_place(self, result: ShardResult) -> str:
        """Where a job finds the frames table (see `here`); nothing is fetched."""
        return os.fspath(self._work_dir(result.work_key) / f"{result.frames_sha256}.frames.parquet")

    def commit(self, result: ShardResult, *, segment: Path, frames: Path) -> ShardResult:
        """Move a finished segment and its frames table into the store; returns the result that now stands.

        Whatever hashes `result` carries are replaced by those of the files. When another process committed
        the same work key first, its result is returned and ours is dropped. After return the result
        survives a power cut. `segment` and `frames` are moved; they are best written in `new_temp_dir`, on
        the same file system.
        """
        self.check()
        standing = self.find(result.work_key)
        if standing is not None:
            drop_files(segment, frames)
            return standing
        marker = CommitMarker(
            result=result.model_copy(update={"segment_sha256": sha256_of(segment), "frames_sha256": sha256_of(frames)}),
            segment_bytes=segment.stat().st_size,
            frames_bytes=frames.stat().st_size,
        )
        with held(self._work_dir(result.work_key)):
            move_durably(segment, self.segment_path(marker.result))
            move_durably(frames, self.frames_path(marker.result))
            return self._publish(marker)

    def _maybe_there(self, work_keys: Iterable[str]) -> Iterator[str]:
        """Each key once, without those that surely have no result: of a new run's keys nearly none has.

        A folder is listed instead of being asked for each, unless it holds so much that listing would take longer.
        """
        keys = list(dict.fromkeys(work_keys))
        folders, root = by_folder(keys), self.root / "work"
        there = {name: _names(root / name, _LISTED_A_KEY * len(own)) for name, own in folders.items()}
        return (key for key in keys if (names := there[key[:2]]) is None or key in names)

    def _publish(self, marker: CommitMarker) -> ShardResult:
        """Write the marker unless a sound one stands; the loser of a race leaves no files behind."""
        path = self._work_dir(marker.result.work_key) / WORK_MARKER
        data = marker.model_dump_json(indent=1).encode()
        try:
            write_atomic(path, data, replace=False)
        except FileExistsError:
            standing = self.find(marker.result.work_key)
            if standing is not None:
                kept = {self.segment_path(standing), self.frames_path(standing)}
                drop_files(*({self.segment_path(marker.result), self.frames_path(marker.result)} - kept))
                return standing
            write_atomic(path, data)  # what stands there is damaged
        return marker.result

    def _marker(self, work_key: str) -> CommitMarker | None:
        try:
            marker = CommitMarker.model_validate_json(marker_data(self._work_dir(work_key) / WORK_MARKER))
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
        return folder if is_complete(folder) else None

    def commit_cache(self, kind: str, sha256: str, version: str, build: Callable[[Path], object]) -> Path:
        """Folder of a cache entry, made by `build(folder)` when it is not there yet.

        `build` writes any files into the empty folder it is given; when it raises, nothing is left. When
        several processes build the same entry at once, the first stands. `kind` and `version` are short
        plain names.
        """
        standing = self.cached(kind, sha256, version)
        if standing is not None:
            return standing
        with self.temp_dir() as temp:
            made = temp / "made"
            made.mkdir()
            build(made)
            self.check()
            marker = describe(made)
            (made / CACHE_MARKER).write_text(marker.model_dump_json(indent=1), encoding="utf-8")
            _flush_tree(made)
            return self._keep_cache(self._cache_dir(kind, sha256, version), made, marker)

    def _keep_cache(self, target: Path, made: Path, _marker: CacheMarker) -> Path:
        """Move what was made to its place, unless a sound entry stands there; the entry."""
        make_dirs(target.parent)
        while not is_complete(target):
            if _move_folder(made, target):
                break
            # A damaged entry is in the way: take it out and look again, somebody may do the same.
            with contextlib.suppress(FileNotFoundError):
                target.rename(self.new_temp_dir() / "damaged")
        return target

    def drop_if_damaged(self, folder: Path) -> bool:
        """Take a cache entry away if its files are not what was committed (reads them); whether it was."""
        if not is_damaged(folder):
            return False
        with contextlib.suppress(FileNotFoundError):
            folder.rename(self.new_temp_dir() / "damaged")
        return True

    def _cache_dir(self, kind: str, sha256: str, version: str) -> Path:
        assert _KEY.fullmatch(sha256), sha256
        assert _NAME.fullmatch(kind), kind
        assert _NAME.fullmatch(version), version
        return self.root / "cache" / kind / sha256[:2] / sha256 / version


def _store_at(kind: type[Store], root: Path, cache_bytes: int | None) -> Store:
    return kind(root, cache_bytes=cache_bytes)


def _names(folder: Path, limit: int) -> set[str] | None:
    """What lies in a folder; None where that is more than the limit."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in islice(entries, limit + 1)}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return names if len(names) <= limit else None


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
