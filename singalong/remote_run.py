"""Opening runs wherever they are: a folder as it is, a URL by a folder of this machine's cache that stands for it.

    <cache>/runs/<hash of the URL>/<k>/       such a folder; each serves one process at a time, the first that is free
    <cache>/runs/<hash of the URL>/<k>.json   which versions of the run's files are in it
    <cache>/runs/<hash of the URL>/<k>.lock   held by the process that uses it

Losing the cache loses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from singalong.durable import link_or_copy, make_dirs
from singalong.errors import HeldError, SingalongError, UsageError
from singalong.mirror import Mirror
from singalong.objects import ObjectFolder
from singalong.runlock import run_lock
from singalong.urls import is_url
from singalong.written import keeper_of, kept_by

_URL_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MAX_FOLDERS = 64
_KEPT_S = 30 * 24 * 3600.0
"""A run's files here are forgotten when nobody looked at them for so long."""


@contextlib.contextmanager
def run_at(location: str | Path, *, drive: bool = False) -> Iterator[Path]:
    """The folder of a run for the block: its own, or for a URL one that stands for it, fetched and written through.

    `drive`: hold a run at a URL for one driver meanwhile, as `RunFolder.lock` does; HeldError naming the holder when
    there is another. Errors of what is done in the block name the URL.
    """
    if not is_url(location):
        yield Path(refuse_other_urls(location))
        return
    url = ObjectFolder.at(str(location)).url
    with _free_folder(url) as folder:
        mirror = Mirror(ObjectFolder.at(url), folder)
        try:
            with kept_by(folder, mirror):
                mirror.pull(clean=True)
                with mirror.driving() if drive else contextlib.nullcontext():
                    yield folder
        except SingalongError as error:
            raise _told_of(error, folder, url) from error
        finally:
            mirror.close()


def refuse_other_urls(location: str | Path) -> str | Path:
    """A path as it is. Raises UsageError for what is meant as a URL and would become a folder of a strange name."""
    if isinstance(location, str) and _URL_LIKE.match(location):
        hint = "Write two slashes after s3:" if location.lower().startswith("s3:") else None
        raise UsageError("not a place we know", value=location, expected="a path, or s3://bucket/folder", action=hint)
    return location


def mirror_of(path: Path) -> Mirror | None:
    """What keeps a folder at a URL, if it is one that `run_at` gave."""
    keeper = keeper_of(path)
    return keeper if isinstance(keeper, Mirror) else None


def location_of(path: Path) -> str:
    """Where a file or folder of a run is for everybody: its URL, or its path."""
    mirror = mirror_of(path)
    return str(path) if mirror is None else mirror.url_of(path)


def size_of(path: Path) -> int | None:
    """Size of a file of a run, wherever it is, bytes; None where there is none."""
    mirror = mirror_of(path)
    if mirror is not None:
        return mirror.size_of(path)
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def here(path: Path) -> Path:
    """A file of a run on this disk, fetched if need be."""
    mirror = mirror_of(path)
    return path if mirror is None else mirror.here(path)


def names_in(folder: Path) -> list[str]:
    """Names of the files in a folder of a run, wherever it is."""
    mirror = mirror_of(folder)
    if mirror is not None:
        return mirror.names_in(folder)
    return [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def note_upload(path: Path, num_bytes: int) -> None:
    """Note that a worker put a file of a run at its URL."""
    mirror = mirror_of(path)
    assert mirror is not None
    mirror.uploaded(path, num_bytes)


def is_empty(location: str | Path) -> bool:
    """Whether there is nothing yet at a path or URL, but perhaps an empty folder."""
    if is_url(location):
        return next(ObjectFolder.at(str(location)).list(), None) is None
    path = Path(location)
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def copy_file(source: Path, target: Path) -> None:
    """Give a run a file of another one. Raises FileNotFoundError."""
    ours, theirs = mirror_of(target), mirror_of(source)
    if ours is None or theirs is None or not ours.copy(target, theirs, source):
        link_or_copy(here(source), target)


def refresh(path: Path, *, logs: bool = False) -> None:
    """Have a run's folder show what was written at its URL since, if asked with its logs; not what is its own."""
    mirror = mirror_of(path)
    if mirror is not None and not mirror.is_tired:
        mirror.pull(logs=logs)


def cache_folder() -> Path:
    """`$SINGALONG_CACHE`, else a folder in the user's cache directory."""
    env = os.environ.get("SINGALONG_CACHE")
    return Path(env).expanduser().resolve() if env else Path(platformdirs.user_cache_dir("singalong")) / "remote"


@contextlib.contextmanager
def _free_folder(url: str) -> Iterator[Path]:
    runs = cache_folder() / "runs"
    base = runs / hashlib.sha256(url.encode()).hexdigest()[:32]
    make_dirs(base)
    _sweep(runs)
    for number in range(_MAX_FOLDERS):
        folder = base / str(number)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(run_lock(base / f"{number}.lock", run=folder))
            except HeldError:
                continue
            folder.mkdir(exist_ok=True)
            yield folder
            return
    raise UsageError("too many programs look at this run", file=url, value=_MAX_FOLDERS, action="End some of them.")


def _sweep(runs: Path) -> None:
    """Remove what stands for runs that nobody looked at for long."""
    for base in runs.iterdir():
        locks = list(base.glob("*.lock"))
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, HeldError):
            if locks and max(lock.stat().st_mtime for lock in locks) < time.time() - _KEPT_S:
                for lock in locks:
                    held.enter_context(run_lock(lock, run=base))
                shutil.rmtree(base)


def _told_of(error: SingalongError, folder: Path, url: str) -> SingalongError:
    """The same error with the URL in the place of the folder that stands for it."""
    text = str(error).replace(f"{folder}/", f"{url}/").replace(str(folder), url)
    told = type(error).__new__(type(error))
    told.__dict__.update(error.__dict__)
    Exception.__init__(told, text)
    if error.file is not None:
        told.file = str(error.file).replace(str(folder), url)
    return told
