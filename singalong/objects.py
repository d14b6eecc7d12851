"""Folders in object stores: s3:// URLs of AWS, MinIO, Ceph and whatever else speaks S3.

Where the store is and who we are to it comes from the environment, as for all programs that use S3: AWS_ENDPOINT_URL
(a server of your own), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE,
AWS_CA_BUNDLE, or the machine's role. Keys stand in URLs as they are, not percent-encoded.

All operations wait for a store that is away (`SINGALONG_OBJECT_RETRY_S`, default 150 s) and can be interrupted. What
goes up or down in files is streamed: memory does not grow with the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from singalong.durable import atomic_file
from singalong.errors import InputError
from singalong.object_calls import bucket_client, call
from singalong.object_errors import ObjectChangedError, bad_name, lost
from singalong.traffic import count
from singalong.urls import SCHEME, check_key, is_url, relative_url, split_url

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["ObjectFacts", "ObjectFolder", "is_url", "object_at", "relative_url", "split_url"]

PART_BYTES = 8 << 20
"""Larger files go up in parts of this size, four at a time; S3 wants 5 MB at least and 10,000 parts at most."""
_MAX_PARTS = 10_000
_PARTS_AT_ONCE = 4
_CREATE_BYTES = 64 << 20
_WRITER = "singalong-writer"
_MAX_CHANGES = 5
_PAGE = 1000


@dataclass(frozen=True)
class ObjectFacts:
    """What the store says of an object: its key in the folder asked, bytes, version mark, time of writing."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class ObjectFolder:
    """A bucket, or a folder in one; cheap to make, and it travels between processes by its names.

    Every method raises UsageError for wrong settings (bucket, credentials, address) and for keys that cannot be, and
    TransientIOError when the store stays away.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def at(cls, url: str) -> ObjectFolder:
        """The folder of this URL; nothing is looked up."""
        return cls(*split_url(url))

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def join(self, *parts: str) -> str:
        """URL of a key below this folder."""
        return f"{SCHEME}{self.bucket}/{self._key('/'.join(parts))}"

    def folder(self, *parts: str) -> ObjectFolder:
        """A folder below this one."""
        return ObjectFolder(self.bucket, self._key("/".join(parts)))

    def check(self) -> None:
        """Raise UsageError unless bucket and credentials are right: one listing of one object."""
        next(iter(self.list()), None)

    # ---- whole objects in memory

    def read(self, key: str) -> bytes:
        """An object's content. Raises FileNotFoundError."""
        path, client = self._key(key), self._client()

        async def work() -> bytes:
            import obstore

            result = await obstore.get_async(client, path)
            return bytes(await result.bytes_async())

        data = call(work, self.join(key), operation="get")
        count("object_bytes", "fetched", len(data))
        return data

    def write(self, key: str, data: bytes) -> None:
        """Put an object, in the place of one that is there."""
        self._put(key, data)

    def create(self, key: str, data: bytes) -> None:
        """Put an object unless one is there. Raises FileExistsError; of any number that try at once, one succeeds."""
        token = secrets.token_hex(16)
        while True:
            try:
                return self._put(key, data, mode="create", attributes={_WRITER: token})
            except FileExistsError:
                # The answer to our own first try may have been lost; and two writes of the same instant are refused
                # both (409) by S3 at times, with nothing there afterwards.
                writer = self._writer(key)
                if writer is None:
                    continue
                if writer != token:
                    raise
                return None

    def copy_from(self, key: str, source: ObjectFolder, source_key: str) -> None:
        """Put a copy of an object of the same bucket, of up to 5 GB; its bytes stay in the store.

        Raises FileNotFoundError.
        """
        assert source.bucket == self.bucket
        name, other, client = self._key(key), source._key(source_key), self._client()

        async def work() -> None:
            import obstore

            await obstore.copy_async(client, other, name)

        call(work, source.join(source_key), operation="copy")

    # ---- files

    def upload(self, key: str, path: Path) -> None:
        """Put a file as an object; large ones in parts. Raises OSError where the file cannot be read."""
        size = path.stat().st_size
        if size <= PART_BYTES:
            return self._put(key, path.read_bytes())
        name, client = self._key(key), self._client(steady=True)
        part_bytes = max(PART_BYTES, -(-size // _MAX_PARTS))

        async def work() -> None:
            import obstore

            sizes: dict[str, Any] = {"chunk_size": part_bytes, "max_concurrency": _PARTS_AT_ONCE}
            await obstore.put_async(client, name, path, use_multipart=True, **sizes)

        call(work, self.join(key), operation="put")
        count("object_bytes", "sent", size)
        count("object_requests", "put", -(-size // part_bytes) + 1)  # and the one that began it is counted
        found = self.head(key)
        if found is None or found.size != path.stat().st_size:
            raise lost("the object is not what was uploaded: somebody else wrote it meanwhile", self.join(key))
        return None

    def create_from(self, key: str, path: Path) -> None:
        """Put a file of up to 64 MB as an object unless one is there. Raises FileExistsError, and InputError for more.

        Creating goes in one piece. Larger files are uploaded under a name made of their content, and a small object
        that names them is created.
        """
        if path.stat().st_size > _CREATE_BYTES:
            raise InputError("too large to be created in one piece", file=path, expected=f"{_CREATE_BYTES} bytes")
        self.create(key, path.read_bytes())

    def download(self, key: str, path: Path) -> ObjectFacts:
        """Fetch an object into a file, which appears when it is whole. Raises FileNotFoundError.

        A broken transfer goes on where it broke. An object that is replaced meanwhile is fetched anew.
        """
        with atomic_file(path) as temp:
            for _ in range(_MAX_CHANGES):
                with temp.open("wb") as file:
                    facts = self._fetch(key, file)
                if facts is not None:
                    return facts
        raise lost("the object changes while it is being read", self.join(key))

    def _fetch(self, key: str, file: IO[bytes]) -> ObjectFacts | None:
        """Write an object's content to a file; None where it changed on the way."""
        name, client = self._key(key), self._client()
        first: ObjectFacts | None = None

        async def work() -> ObjectFacts:
            import obstore

            nonlocal first
            options: Any = {}
            if first is not None and file.tell() < first.size:
                options = {"range": (file.tell(), first.size), "if_match": first.etag}
            elif first is not None:
                return first
            result = await obstore.get_async(client, name, options=options)
            first = first or _facts(result.meta, key)
            async for block in result.stream(min_chunk_size=1 << 20):
                file.write(block)
                count("object_bytes", "fetched", len(block))
            if file.tell() != first.size:
                raise TimeoutError("the transfer ended early")
            return first

        try:
            return call(work, self.join(key), operation="get")
        except (ObjectChangedError, FileNotFoundError):
            if first is None:
                raise
            return None

    # ---- names

    def head(self, key: str) -> ObjectFacts | None:
        """Facts of an object, or None where there is none (nor a bucket: see `check`)."""
        name, client = self._key(key), self._client()

        async def work() -> Any:
            import obstore

            return await obstore.head_async(client, name)

        try:
            return _facts(call(work, self.join(key), operation="head"), key)
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectFacts]:
        """Facts of all objects below a folder of this one, sorted by key; keys are relative to this folder."""
        client, under = self._client(), self._key(prefix) if prefix else self.prefix
        cut = len(self.prefix) + 1 if self.prefix else 0
        last: str | None = None

        async def work() -> Any:
            import obstore

            stream = obstore.list(client, under or None, offset=last, chunk_size=_PAGE)
            return await anext(stream, [])

        while True:
            page = call(work, self.join(prefix) if prefix else self.url, operation="list")
            yield from (_facts(meta, meta["path"][cut:]) for meta in page)
            if len(page) < _PAGE:
                return
            last = page[-1]["path"]

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        name, client = self._key(key), self._client()

        async def work() -> None:
            import obstore

            await obstore.delete_async(client, name)

        try:
            call(work, self.join(key), operation="delete")
        except FileNotFoundError:
            return

    # ---- how

    def _client(self, *, steady: bool = False) -> S3Store:
        return bucket_client(self.bucket, steady=steady)

    def _key(self, key: str) -> str:
        check_key(key, f"{self.url}/{key}")
        return f"{self.prefix}/{key}" if self.prefix else key

    def _put(self, key: str, data: bytes, **options: Any) -> None:
        name, client = self._key(key), self._client()

        async def work() -> None:
            import obstore

            await obstore.put_async(client, name, data, use_multipart=False, **options)

        call(work, self.join(key), operation="put")
        count("object_bytes", "sent", len(data))

    def _writer(self, key: str) -> str | None:
        """Who created an object, as `create` notes it; empty for others, None where there is no object."""
        name, client = self._key(key), self._client()

        async def work() -> str:
            import obstore

            result = await obstore.get_async(client, name, options={"head": True})
            return str(result.attributes.get(_WRITER, ""))

        try:
            return call(work, self.join(key), operation="head")
        except FileNotFoundError:
            return None


def _facts(meta: Any, key: str) -> ObjectFacts:
    return ObjectFacts(key=key, size=meta["size"], etag=meta["e_tag"] or "", modified=meta["last_modified"])


def object_at(url: str) -> tuple[ObjectFolder, str]:
    """The folder that an object's URL lies in, and the object's key there. Raises UsageError for a bare bucket."""
    bucket, key = split_url(url)
    folder, _, name = key.rpartition("/")
    if not name:
        raise bad_name(url)
    return ObjectFolder(bucket, folder), name
