"""Media at URLs on this machine's disk: fetched once for each content, and hashed once.

<root>/media/<id[:2]>/<id>/<name>     the file; id: of URL, version mark and size, so a changed object is another one
<root>/cache/hashes/                  their SHA-256, by the same id
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import unicodedata
from pathlib import Path

from singalong.disk_cache import DiskCache, using
from singalong.durable import make_dirs, sha256_of, write_atomic
from singalong.errors import TransientIOError
from singalong.objects import ObjectFacts, object_at

_MAX_STEM_BYTES, _MAX_SUFFIX = 120, 12
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_CHANGES = 5


class HashBook:
    """SHA-256 of objects by id; `MediaCache` asks it before it fetches anything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, media_id: str) -> str | None:
        """The hash noted for an id."""
        try:
            return self.hash_in(self._path(media_id).read_bytes())
        except OSError:
            return None

    def note(self, media_id: str, url: str, sha256: str) -> None:
        """Note the hash of an id."""
        path = self._path(media_id)
        make_dirs(path.parent)
        write_atomic(path, self.entry(url, sha256))

    @staticmethod
    def hash_in(data: bytes) -> str | None:
        """The hash in what was noted; None where it is damaged."""
        try:
            noted = json.loads(data)["sha256"]
        except (ValueError, KeyError, TypeError):
            return None
        return noted if isinstance(noted, str) and _SHA256.fullmatch(noted) else None

    @staticmethod
    def entry(url: str, sha256: str) -> bytes:
        """What is noted."""
        return json.dumps({"sha256": sha256, "path": url}).encode()

    def _path(self, media_id: str) -> Path:
        return self._folder / media_id[:2] / f"object-{media_id}.json"


class MediaCache:
    """Clips, songs and pictures at URLs. Raises as `singalong.objects` does; FileNotFoundError names the URL."""

    def __init__(self, disk: DiskCache, book: HashBook) -> None:
        self._disk, self._book = disk, book

    def path(self, url: str) -> Path:
        """The object's file on this machine: what is there now, fetched unless this very version is here already."""
        folder, key = object_at(url)
        for _ in range(_MAX_CHANGES):
            facts = self._head(url)
            name = _file_name(key)
            fetched: list[ObjectFacts] = []

            def is_there(place: Path, name: str = name, size: int = facts.size) -> bool:
                try:
                    return (place / name).stat().st_size == size
                except (FileNotFoundError, NotADirectoryError):
                    return False

            def fetch(place: Path, name: str = name, fetched: list[ObjectFacts] = fetched) -> None:
                fetched.append(folder.download(key, place / name))

            entry = f"media/{media_id(url, facts)[:2]}/{media_id(url, facts)}"
            found = self._disk.get(entry, is_there, fetch)
            if not fetched or (fetched[0].etag, fetched[0].size) == (facts.etag, facts.size):
                return found / name
            self._disk.drop(entry)  # replaced between looking and fetching
        raise TransientIOError("the object changes all the time", file=url, action="Wait, then run again.")

    def sha256(self, url: str) -> str:
        """SHA-256 of the object in hex; one that was hashed before is neither fetched nor read again."""
        this = media_id(url, self._head(url))
        known = self._book.recall(this)
        if known is None:
            with using():
                path = self.path(url)
                this = path.parent.name  # of what was fetched
                known = sha256_of(path)
            self._book.note(this, url, known)
        return known

    @staticmethod
    def _head(url: str) -> ObjectFacts:
        folder, key = object_at(url)
        facts = folder.head(key)
        if facts is None:
            folder.check()  # a missing bucket is a matter of its own
            raise FileNotFoundError(errno.ENOENT, "No such object", url)
        return facts


def media_id(url: str, facts: ObjectFacts) -> str:
    """Names one content of one object: another version mark or size is another content."""
    return hashlib.sha256(json.dumps([url, facts.etag, facts.size]).encode()).hexdigest()


def _file_name(key: str) -> str:
    """The object's own name as a file may have it; the end says what it is, so it stays."""
    name = unicodedata.normalize("NFC", key.rsplit("/", 1)[-1])
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > _MAX_SUFFIX:
        stem, dot, suffix = name, "", ""
    short = stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    return f"{short}{dot}{suffix}"
