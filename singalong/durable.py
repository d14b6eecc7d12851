"""Writing files so that a crash at any instant leaves the old content or the new, never a mixture.

A file is written beside its place, flushed to the disk, moved into place in one step, and then the folder is
flushed too, so that the name itself survives a power cut. Errors of the file system are raised as the OSError
they are; `singalong.errors.classify` files them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singalong.written import tell_written

if TYPE_CHECKING:
    import pyarrow as pa

HASH_BLOCK_BYTES = 1 << 20
SMALL_TABLE_BYTES = 1 << 14
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hex, read in blocks: memory does not grow with the file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fsync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_dir(folder: Path) -> None:
    """Flush a folder's names to the disk; file systems that cannot (some network ones) are left alone."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)


def is_still(fd: int, path: Path) -> bool:
    """Whether an open descriptor is that of the file or folder of this name: it may have been replaced or removed."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def make_dirs(folder: Path) -> None:
    """Create a folder and its missing parents, each of them durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync_dir(path.parent)


def is_temp_name(name: str) -> bool:
    """Whether a file name is that of an unfinished write of this module."""
    return name.startswith(".") and name.endswith(".tmp")


@contextlib.contextmanager
def atomic_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it becomes `path`, durably.

    When the block raises, nothing is left behind. With `replace=False` an existing `path` is not touched and
    FileExistsError is raised, also when another process creates it in the same instant.
    """
    make_dirs(path.parent)
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temp
        fsync_file(temp)
        if replace:
            temp.replace(path)
        else:
            _link_new(temp, path)
        fsync_dir(path.parent)
    finally:
        temp.unlink(missing_ok=True)
    tell_written(path)


def write_atomic(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write bytes to `path` durably and in one step; see `atomic_file` for `replace`."""
    with atomic_file(path, replace=replace) as temp:
        temp.write_bytes(data)


def write_parquet_atomic(table: pa.Table, path: Path, *, replace: bool = True) -> None:
    """Write a table to a Parquet file durably and in one step; see `atomic_file` for `replace`.

    Large tables are compressed (zstd); a table of a few rows is mostly footer, and plain it reads twice as
    fast. Pages have checksums, so that a flipped bit is noticed and never taken for another value.
    """
    with parquet_atomic(path, table.schema, replace=replace) as write:
        write(table)


@contextlib.contextmanager
def parquet_atomic(path: Path, schema: pa.Schema, *, replace: bool = True) -> Iterator[Callable[[pa.Table], None]]:
    """Yield what writes tables of this schema one after the other, as `write_parquet_atomic` does."""
    import pyarrow.parquet as pq  # here, so that `singalong --help` does not pay for it

    with atomic_file(path, replace=replace) as temp, contextlib.ExitStack() as opened:
        writers: list[pq.ParquetWriter] = []

        def write(table: pa.Table) -> None:
            if not writers:
                is_small = table.nbytes < SMALL_TABLE_BYTES
                small = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
                options: dict[str, Any] = small if is_small else {"compression": "zstd"}
                writers.append(
                    opened.enter_context(pq.ParquetWriter(temp, schema, write_page_checksum=True, **options))
                )
            writers[0].write_table(table)

        yield write
        if not writers:
            write(schema.empty_table())
        opened.close()


def move_durably(source: Path, target: Path) -> None:
    """Move a file to its place, replacing what stands there; from another file system it is copied first."""
    fsync_file(source)
    try:
        source.replace(target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        with atomic_file(target) as temp:
            shutil.copyfile(source, temp)
        source.unlink()
    fsync_dir(target.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, replacing what stands there; where hard links do not work it is copied."""
    with atomic_file(target) as temp:
        try:
            os.link(source, temp)
        except OSError as exc:
            if exc.errno not in _NO_HARD_LINKS:
                raise
            shutil.copyfile(source, temp)


def link_unflushed(source: Path, target: Path) -> bool:
    """Give a file a second name at once, which a power cut may take back: for what can be linked again.

    False where something stands there already, and where hard links do not work.
    """
    try:
        if not target.parent.is_dir():
            make_dirs(target.parent)
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        return False
    tell_written(target)
    return True


def _link_new(temp: Path, path: Path) -> None:
    """Give `temp` the name `path` unless that exists; a hard link is the one create-only step POSIX has."""
    try:
        os.link(temp, path)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        # Without hard links: reserve the name, then fill it; a crash between leaves an empty file, which
        # every reader of ours refuses as damaged.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        temp.replace(path)
