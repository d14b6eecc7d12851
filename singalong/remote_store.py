"""A store in an object store, with a cache on this machine's disk; and the one place that opens stores.

    <url>/work/<key[:2]>/<key>/<sha256>.mp4 ...frames.parquet, then commit.json      as in `store`
    <url>/cache/<kind>/<sha256[:2]>/<sha256>/<version>/<sha256 of a file>...         then complete.json, with the names
    <url>/cache/media-hashes/<id[:2]>/<id>.json                                      content hashes of media at URLs

The truth lies at the URL. Files are named by their content and go up first, then the marker, which is created and never
replaced: of any number of machines that finish the same work one wins, and the others take its result. What is fetched
is checked against the content it is named by. Each machine has a cache of its own, within `run.cache_gb`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from singalong.config import Settings, cache_folder
from singalong.contracts import ShardResult
from singalong.durable import make_dirs, move_durably, sha256_of, write_atomic
from singalong.errors import TransientIOError
from singalong.media_cache import HashBook, MediaCache
from singalong.object_calls import at_once
from singalong.objects import ObjectFolder
from singalong.remote_marks import (
    WorkPlace,
    cache_marker_of,
    check_create_only,
    place_in,
    sizes_of,
    work_entry,
    work_marker_of,
)
from singalong.store import Store
from singalong.store_marks import (
    CACHE_MARKER,
    WORK_MARKER,
    CacheMarker,
    CommitMarker,
    by_folder,
    drop_files,
    is_complete,
    is_damaged,
    size_of,
)
from singalong.urls import is_url

AT_ONCE = 32
"""Requests in flight when many markers are read: a store answers each in tens of milliseconds, and many at once."""
_TRUSTED_S = 600.0
"""A result that was seen to stand is not looked up again for this long: results are discarded only when damaged."""


def open_store(location: str | Path, *, cache_dir: str | Path | None = None, cache_gb: float | None = None) -> Store:
    """The store at a path or a URL; nothing is looked up.

    `cache_dir`: where files of a store at a URL are kept on this machine, by default in the user's cache directory;
    `cache_gb`: for how much, by default no limit. At a path only media from URLs count there.
    """
    limit = None if cache_gb is None else int(cache_gb * 1e9)
    if not is_url(location if isinstance(location, str) else os.fspath(location)):
        return Store(Path(location), cache_bytes=limit)
    folder = ObjectFolder.at(str(location))
    return RemoteStore(folder.url, cache_folder(folder.url, cache_dir), cache_bytes=limit)


def store_of(settings: Settings) -> Store:
    """The store that these settings name, with the cache that they allow."""
    run = settings.run
    return open_store(settings.store_location, cache_dir=run.cache_dir, cache_gb=run.cache_gb)


class RemoteStore(Store):
    """A store at a URL; its `root` is the cache on this machine. Travels between machines by its URL.

    Raises as `Store` and `singalong.objects` do.
    """

    fetches = True

    def __init__(self, url: str, root: Path, *, cache_bytes: int | None = None) -> None:
        super().__init__(root, cache_bytes=cache_bytes)
        self._remote = ObjectFolder.at(url)
        hashes = self.root / "cache" / "hashes"
        self._media = MediaCache(self._disk, _SharedBook(hashes, self._remote.folder("cache/media-hashes")))
        self._standing: dict[str, tuple[float, ShardResult]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _remote_at, (self._remote.url, self.root, self._cache_bytes)

    def __repr__(self) -> str:
        return f"RemoteStore({self._remote.url!r})"

    @property
    def location(self) -> str:
        """The URL."""
        return self._remote.url

    def check_reachable(self) -> None:
        """Raise UsageError where bucket, credentials or address are wrong, or the store lets two create one object."""
        check_create_only(self._remote)

    def tidy(self) -> int:
        """Nothing: what is in the cache is removed by its use, and work that never got to the URL still may."""
        return 0

    # ---- finished shards

    def find(self, work_key: str) -> ShardResult | None:
        """As `Store.find`: the marker is read and the files' sizes are listed at the URL.

        Work that is whole here and gone there, such as what was finished while the store was away, is put back.
        """
        return self._find(work_key, None)

    def find_many(self, work_keys: Iterable[str]) -> dict[str, ShardResult]:
        """`find` for many keys, many at once; what lies at the URL is listed a folder of many keys at a time."""
        keys = list(dict.fromkeys(work_keys))
        listed: dict[str, dict[str, int]] = {}
        for sizes in at_once(lambda own: sizes_of(self._remote, own), by_folder(keys).values(), num=AT_ONCE):
            listed |= sizes
        found = zip(keys, at_once(lambda key: self._find(key, listed.get(key)), keys, num=AT_ONCE), strict=True)
        return {key: result for key, result in found if result is not None}

    def _find(self, work_key: str, sizes: Mapping[str, int] | None) -> ShardResult | None:
        """`find`; `sizes` of what lies at the URL by name, if that is known."""
        seen = self._standing.get(work_key)
        if seen is not None and time.monotonic() - seen[0] < _TRUSTED_S:
            return seen[1]
        ours = self._marker(work_key)
        if ours is not None and self._stands(ours, sizes):
            return self._seen(ours.result)
        theirs = work_marker_of(self._remote, work_key) if sizes is None or WORK_MARKER in sizes else None
        if theirs is not None and self._stands(theirs, sizes):
            if ours is not None:
                self._disk.drop(work_entry(work_key))  # never got there, or was discarded since
            return self._seen(theirs.result)
        if ours is not None and self._is_whole_here(ours):
            return self._seen(self._put_back(ours) or self._theirs(ours))
        return None

    def fetch_frames(self, results: Iterable[ShardResult]) -> None:
        """Fetch frames tables, many at once."""
        at_once(self.frames_path, results, num=AT_ONCE)

    def verify(self, work_key: str) -> bool:
        """As `Store.verify`; a file that is damaged here alone is fetched again."""
        result = self.find(work_key)
        if result is None:
            return False
        for path_of, sha256 in (
            (self.segment_path, result.segment_sha256),
            (self.frames_path, result.frames_sha256),
        ):
            try:
                path = path_of(result)
                if sha256_of(path) != sha256:
                    path.unlink(missing_ok=True)
                    path_of(result)
            except (FileNotFoundError, TransientIOError):
                return False
        return True

    def discard(self, work_key: str) -> None:
        """Forget a result here and at the URL: the marker goes first, then its files."""
        self._standing.pop(work_key, None)
        self._disk.drop(work_entry(work_key))
        self._remote.delete(f"{work_entry(work_key)}/{WORK_MARKER}")
        for facts in list(self._remote.list(work_entry(work_key))):
            self._remote.delete(facts.key)

    def segment_path(self, result: ShardResult) -> Path:
        """The segment of a committed result, fetched if it is not here. Raises FileNotFoundError."""
        return self._fetched(result.work_key, f"{result.segment_sha256}.mp4", result.segment_sha256)

    def frames_path(self, result: ShardResult) -> Path:
        """The frames table of a committed result, fetched if it is not here. Raises FileNotFoundError."""
        return self._fetched(result.work_key, f"{result.frames_sha256}.frames.parquet", result.frames_sha256)

    def segment_address(self, result: ShardResult) -> str:
        """The segment's URL."""
        return self._remote.join(work_entry(result.work_key), f"{result.segment_sha256}.mp4")

    def commit(self, result: ShardResult, *, segment: Path, frames: Path) -> ShardResult:
        """As `Store.commit`. What is finished stays on this disk until it is at the URL, whatever happens."""
        self.check()
        standing = self.find(result.work_key)
        if standing is not None:
            drop_files(segment, frames)
            return standing
        hashes = {"segment_sha256": sha256_of(segment), "frames_sha256": sha256_of(frames)}
        marker = CommitMarker(
            result=result.model_copy(update=hashes),
            segment_bytes=segment.stat().st_size,
            frames_bytes=frames.stat().st_size,
        )
        folder = self._work_dir(result.work_key)
        make_dirs(folder)
        move_durably(segment, Path(self.segment_place(marker.result)))
        move_durably(frames, Path(self.frames_place(marker.result)))
        write_atomic(folder / WORK_MARKER, marker.model_dump_json(indent=1).encode())
        return self._seen(self._put_back(marker) or self._theirs(marker))

    def _put_back(self, marker: CommitMarker) -> ShardResult | None:
        """Upload work that lies here, then its marker; None where another machine's marker was there first."""
        entry = work_entry(marker.result.work_key)
        for place in (self.segment_place(marker.result), self.frames_place(marker.result)):
            self._remote.upload(f"{entry}/{Path(place).name}", Path(place))
        try:
            self._remote.create(f"{entry}/{WORK_MARKER}", marker.model_dump_json(indent=1).encode())
        except FileExistsError:
            return None
        self._disk.added(entry)  # only now may it be removed from here
        self._disk.trim_if_grown()
        return marker.result

    def _theirs(self, ours: CommitMarker) -> ShardResult:
        """The result that stands where another machine was first; ours is dropped. Or ours, where theirs is damaged."""
        work_key = ours.result.work_key
        entry = work_entry(work_key)
        theirs = work_marker_of(self._remote, work_key)
        if theirs is None or not self._stands(theirs):
            self._remote.write(f"{entry}/{WORK_MARKER}", ours.model_dump_json(indent=1).encode())
            self._disk.added(entry)
            return ours.result
        kept = {Path(place(theirs.result)).name for place in (self.segment_place, self.frames_place)}
        for place in (self.segment_place(ours.result), self.frames_place(ours.result)):
            if Path(place).name not in kept:
                self._remote.delete(f"{entry}/{Path(place).name}")
        self._disk.drop(entry)
        return theirs.result

    def _stands(self, marker: CommitMarker, sizes: Mapping[str, int] | None = None) -> bool:
        """Whether a marker and its files lie at the URL, in full size: one listing, unless `sizes` are known."""
        if sizes is None:
            entry = work_entry(marker.result.work_key)
            sizes = {facts.key.rpartition("/")[2]: facts.size for facts in self._remote.list(entry)}
        return (
            WORK_MARKER in sizes
            and sizes.get(Path(self.segment_place(marker.result)).name) == marker.segment_bytes
            and sizes.get(Path(self.frames_place(marker.result)).name) == marker.frames_bytes
        )

    def _is_whole_here(self, marker: CommitMarker) -> bool:
        """Whether the files of a marker lie on this disk with their content (reads them)."""
        files = (
            (Path(self.segment_place(marker.result)), marker.result.segment_sha256),
            (Path(self.frames_place(marker.result)), marker.result.frames_sha256),
        )
        return all(size_of(path) and sha256_of(path) == sha256 for path, sha256 in files)

    def _seen(self, result: ShardResult) -> ShardResult:
        self._standing[result.work_key] = (time.monotonic(), result)
        return result

    def _fetched(self, work_key: str, name: str, sha256: str) -> Path:
        entry = work_entry(work_key)

        def fetch(folder: Path) -> None:
            self._download(f"{entry}/{name}", folder / name, sha256, forget=lambda: self.discard(work_key))

        if size_of(self._work_dir(work_key) / name) and not self._disk.knows(entry):
            return self._work_dir(work_key) / name  # not at the URL yet: it must not become removable
        return self._disk.get(entry, lambda folder: bool(size_of(folder / name)), fetch) / name

    def _download(self, key: str, path: Path, sha256: str, *, forget: Callable[[], None]) -> None:
        """Fetch a file and check its content. Raises FileNotFoundError for `path`, TransientIOError where damaged."""
        try:
            self._remote.download(key, path)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "No longer in the store", os.fspath(path)) from None
        if sha256_of(path) != sha256:
            path.unlink(missing_ok=True)
            forget()
            raise TransientIOError(
                "damaged in the store",
                file=self._remote.join(key),
                expected="the content its name was made of",
                action="It is forgotten: run again to make it anew.",
            )

    # ---- caches

    def cached(self, kind: str, sha256: str, version: str) -> Path | None:
        """As `Store.cached`; an entry that is not here is fetched."""
        target = self._cache_dir(kind, sha256, version)
        entry = target.relative_to(self.root).as_posix()
        if is_complete(target):
            self._disk.used(entry)
            if is_complete(target):
                return target
        marker = cache_marker_of(self._remote, entry)
        if marker is None:
            return None
        try:
            return self._disk.get(entry, is_complete, lambda folder: self._fetch_cache(entry, marker, folder))
        except FileNotFoundError:
            return None

    def _fetch_cache(self, entry: str, marker: CacheMarker, folder: Path) -> None:
        """Raises FileNotFoundError where a file is gone or damaged; the entry is forgotten then."""

        def forget() -> None:
            self._remote.delete(f"{entry}/{CACHE_MARKER}")

        for name, sha256 in marker.sha256.items():
            try:
                self._download(f"{entry}/{sha256}", folder / name, sha256, forget=forget)
            except FileNotFoundError:
                forget()
                raise
            except TransientIOError as error:
                if error.problem != "damaged in the store":
                    raise
                raise FileNotFoundError(errno.ENOENT, "Damaged in the store", os.fspath(folder / name)) from error
        write_atomic(folder / CACHE_MARKER, marker.model_dump_json(indent=1).encode())

    def _keep_cache(self, target: Path, made: Path, marker: CacheMarker) -> Path:
        entry = target.relative_to(self.root).as_posix()
        for name, sha256 in marker.sha256.items():
            self._remote.upload(f"{entry}/{sha256}", made / name)
        data = marker.model_dump_json(indent=1).encode()
        try:
            self._remote.create(f"{entry}/{CACHE_MARKER}", data)
        except FileExistsError:
            theirs = cache_marker_of(self._remote, entry)
            if theirs is None:  # it does not read
                self._remote.write(f"{entry}/{CACHE_MARKER}", data)
            elif theirs != marker:
                for sha256 in set(marker.sha256.values()) - set(theirs.sha256.values()):
                    self._remote.delete(f"{entry}/{sha256}")
                self._disk.drop(entry)
                return self._disk.get(entry, is_complete, lambda folder: self._fetch_cache(entry, theirs, folder))
        kept = super()._keep_cache(target, made, marker)
        self._disk.added(entry)
        self._disk.trim_if_grown()
        return kept

    def drop_if_damaged(self, folder: Path) -> bool:
        """As `Store.drop_if_damaged`, here; the next to ask fetches the entry again, and checks it."""
        if not folder.is_relative_to(self.root) or not is_damaged(folder):
            return False
        self._disk.drop(folder.relative_to(self.root).as_posix())
        return True

    # ---- places

    def here(self, place: str) -> Path:
        """The file or folder that a job names, which may have been written on another machine; fetched if need be.

        Raises FileNotFoundError where the store no longer has it.
        """
        path = Path(place)
        if is_url(place) or self.root.name not in path.parts:  # the name follows from the URL: all machines have it
            return self.local_media(place)
        found = place_in(path)
        if isinstance(found, WorkPlace):
            return self._fetched(found.work_key, found.name, found.sha256)
        if found is None:
            return path
        folder = self.cached(found.kind, found.sha256, found.version)
        if folder is None:
            target = self._cache_dir(found.kind, found.sha256, found.version)
            raise FileNotFoundError(errno.ENOENT, "No longer in the store", os.fspath(target))
        return folder / found.inside


class _SharedBook(HashBook):
    """Hashes of media that all machines share, so that a clip is fetched to be hashed once."""

    def __init__(self, folder: Path, remote: ObjectFolder) -> None:
        super().__init__(folder)
        self._remote = remote

    def recall(self, media_id: str) -> str | None:
        known = super().recall(media_id)
        if known is None:
            with contextlib.suppress(FileNotFoundError):
                known = self.hash_in(self._remote.read(f"{media_id[:2]}/{media_id}.json"))
        return known

    def note(self, media_id: str, url: str, sha256: str) -> None:
        super().note(media_id, url, sha256)
        self._remote.write(f"{media_id[:2]}/{media_id}.json", self.entry(url, sha256))


def _remote_at(url: str, root: Path, cache_bytes: int | None) -> RemoteStore:
    return RemoteStore(url, root, cache_bytes=cache_bytes)
