"""The markers that say what a store holds: a result or a cache entry exists once its marker does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from singalong.contracts import Row, ShardResult
from singalong.durable import sha256_of
from singalong.newer import refuse_newer, version_in

STORE_VERSION = 1
WORK_MARKER = "commit.json"
CACHE_MARKER = "complete.json"


class CommitMarker(Row):
    """Content of commit.json: the result, and the sizes of its files so that a lost tail is noticed."""

    store_version: int = STORE_VERSION
    result: ShardResult
    segment_bytes: int = Field(gt=0)
    frames_bytes: int = Field(gt=0)


class CacheMarker(Row):
    """Content of complete.json: every file of a cache entry with its size in bytes, and its content's hash."""

    store_version: int = STORE_VERSION
    files: dict[str, int]
    sha256: dict[str, str] = Field(default={}, description="by file; entries of older versions have none")


def is_complete(folder: Path) -> bool:
    """Whether a cache entry was completed, and no file of it is missing or cut short."""
    try:
        marker = CacheMarker.model_validate_json(marker_data(folder / CACHE_MARKER))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return False
    return all(size_of(folder / name) == size for name, size in marker.files.items())


def is_damaged(folder: Path) -> bool:
    """Whether the files of a cache entry are not what was committed (reads them)."""
    try:
        marker = CacheMarker.model_validate_json((folder / CACHE_MARKER).read_bytes())
        return any(sha256_of(folder / name) != digest for name, digest in marker.sha256.items())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return True


def describe(folder: Path) -> CacheMarker:
    """The marker of what was made in a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return CacheMarker(
        files={name: path.stat().st_size for name, path in sorted(files.items())},
        sha256={name: sha256_of(path) for name, path in sorted(files.items())},
    )


def marker_data(path: Path) -> bytes:
    """Content of a marker. Raises UsageError where a newer version wrote it."""
    data = path.read_bytes()
    refuse_newer("a result in the store", version_in(data, "store_version"), STORE_VERSION, file=path)
    return data


def by_folder(work_keys: Iterable[str]) -> dict[str, list[str]]:
    """Work keys by the folder of many that they lie in: their first two digits."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key in work_keys:
        found[key[:2]].append(key)
    return found


def size_of(path: Path) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def drop_files(*paths: Path) -> None:
    """Remove files that may be there."""
    for path in paths:
        path.unlink(missing_ok=True)
