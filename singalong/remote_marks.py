"""Markers and places at a URL: how they are named and read, and the promise of the store that they rest on."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from singalong.errors import UsageError
from singalong.newer import refuse_newer, version_in
from singalong.objects import ObjectFolder
from singalong.store_marks import CACHE_MARKER, STORE_VERSION, WORK_MARKER, CacheMarker, CommitMarker

_WORK_PLACE = re.compile(r"work/[0-9a-f]{2}/([0-9a-f]{16,64})/(([0-9a-f]{64})(?:\.mp4|\.frames\.parquet))")
_LISTED_A_KEY = 1000
"""Objects that come with one request, instead of the two for a key."""
_NAME = r"([A-Za-z0-9_-][\w.-]*)"
_CACHE_PLACE = re.compile(rf"cache/{_NAME}/[0-9a-f]{{2}}/([0-9a-f]{{16,64}})/{_NAME}(?:/(.*))?")


def work_entry(work_key: str) -> str:
    """Folder of a work key, relative to a store."""
    return f"work/{work_key[:2]}/{work_key}"


def work_marker_of(remote: ObjectFolder, work_key: str) -> CommitMarker | None:
    """The marker of a work key at the URL; None where there is none that reads. Raises UsageError for a newer one."""
    try:
        marker = CommitMarker.model_validate_json(_read(remote, f"{work_entry(work_key)}/{WORK_MARKER}"))
    except (FileNotFoundError, ValidationError):
        return None
    return marker if marker.result.work_key == work_key else None


def sizes_of(remote: ObjectFolder, work_keys: Sequence[str]) -> dict[str, dict[str, int]]:
    """What lies in the folders of these keys, which begin alike: by key the sizes by name, also where there is nothing.

    Nothing at all where there is so much beside it that a look at each key takes less.
    """
    found: dict[str, dict[str, int]] = {key: {} for key in work_keys}
    listed = remote.list(f"work/{work_keys[0][:2]}")
    for number, facts in enumerate(listed):
        if number >= _LISTED_A_KEY * len(work_keys):
            return {}
        *_, key, name = facts.key.split("/")
        if key in found:
            found[key][name] = facts.size
    return found


def cache_marker_of(remote: ObjectFolder, entry: str) -> CacheMarker | None:
    """The marker of a cache entry at the URL; None where there is none that reads, or it names files elsewhere."""
    try:
        marker = CacheMarker.model_validate_json(_read(remote, f"{entry}/{CACHE_MARKER}"))
    except (FileNotFoundError, ValidationError):
        return None
    inside = all(_is_inside(name) for name in marker.files)
    return marker if inside and marker.files.keys() == marker.sha256.keys() else None


def _read(remote: ObjectFolder, key: str) -> bytes:
    data = remote.read(key)
    version = version_in(data, "store_version")
    refuse_newer("a result in the store", version, STORE_VERSION, file=remote.join(key))
    return data


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def check_create_only(remote: ObjectFolder) -> None:
    """Raise UsageError where the store cannot be used, or writes over what was to be created only (If-None-Match).

    All that is kept there rests on this: of two machines that finish the same work one must lose.
    """
    key = f"tmp/check-{secrets.token_hex(8)}"
    remote.create(key, b"1")
    try:
        remote.create(key, b"2")
    except FileExistsError:
        return
    finally:
        remote.delete(key)
    raise UsageError(
        "the store writes over objects that were to be created only if they are not there",
        file=remote.url,
        expected="a store that honours If-None-Match, as S3 does and MinIO in versions from 2024 on",
        action="Update the server, or use another.",
    )


@dataclass(frozen=True)
class WorkPlace:
    """A file of a finished shard, named by its content."""

    work_key: str
    name: str
    sha256: str


@dataclass(frozen=True)
class CachePlace:
    """A cache entry, or what lies `inside` it."""

    kind: str
    sha256: str
    version: str
    inside: str


def place_in(path: Path) -> WorkPlace | CachePlace | None:
    """What a path names in whichever machine's store it lies; None where it is no such place."""
    parts = path.parts
    for start in reversed([number for number, part in enumerate(parts) if part in ("work", "cache")]):
        tail = "/".join(parts[start:])
        if (found := _WORK_PLACE.fullmatch(tail)) is not None:
            return WorkPlace(found[1], found[2], found[3])
        if (found := _CACHE_PLACE.fullmatch(tail)) is not None:
            return CachePlace(found[1], found[2], found[3], found[4] or "")
    return None
