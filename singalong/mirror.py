"""A run at a URL as a folder on this disk: fetched when it is opened, written through to the URL as it is written.

The URL holds the truth. Small files (plan, ledger, records, tables) are fetched before a run is looked at, those that
changed; films and frames tables when somebody wants to see them. A write counts once it is at the URL:

    the ledger     created there, never replaced, before the writer goes on
    frames tables, film records    on their way while the writer goes on; `settle` waits for them
    all others     before the writer goes on, so that files arrive in the order in which they were written

A folder serves one process at a time (see `singalong.remote_run`).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from singalong.durable import is_temp_name, write_atomic
from singalong.errors import TransientIOError, UsageError
from singalong.lease import Lease
from singalong.objects import ObjectFacts, ObjectFolder

MARKER = "run.json"
_AT_ONCE = 16
_MAX_ON_THE_WAY = 256
_MAX_LOOKS = 5
_MAX_COPY_BYTES = 5_000_000_000
_LOOKS_LIKE_MORE = 200
_LONG_LOOK_S, _REST = 0.5, 5.0
_LOGS_EVERY_S = 10.0
_OURS = "ours"
"""In the index, the version of what we put there ourselves."""
_LOGS = "logs"
_NOT_OURS = frozenset({"lease", _LOGS, ".lock"})
_FILMS = frozenset({"outputs", "montages"})
_RECORDS = frozenset({".json", ".otio"})


class Mirror:
    """One run at a URL, and the folder that stands for it here."""

    def __init__(self, remote: ObjectFolder, folder: Path) -> None:
        self.remote, self.folder = remote, folder
        self.lease = Lease(remote)
        self._there: dict[str, ObjectFacts] = {}
        self._index_path = folder.with_name(f"{folder.name}.json")
        self._index = _read_index(self._index_path)
        self._lock = threading.Lock()
        self._held = 0
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="singalong-mirror")
        self._on_the_way: list[Future[None]] = []
        self._looked = (0.0, 0.0)
        self._logs_looked_s = time.monotonic()
        self._logs_sent: dict[str, tuple[int, int]] = {}

    @property
    def url(self) -> str:
        """Where the run is."""
        return self.remote.url

    # ---- fetching

    def pull(self, *, logs: bool = False, clean: bool = False) -> None:
        """Fetch what changed, if asked for the logs, too.

        `clean`: first remove what is not there; only for when nobody here is writing.

        Raises UsageError where something else than a run lies at the URL.
        """
        for _ in range(_MAX_LOOKS):
            there = self._list()
            if clean:
                self._remove_strays(there.keys())
            named = (facts for key, facts in there.items() if _is_small(key) or (logs and key.startswith(f"{_LOGS}/")))
            wanted = [facts for facts in named if not self._is_here(facts)]
            found = list(self._pool.map(self._fetch, sorted(wanted, key=_fetched_last)))
            with self._lock:
                ours = {key: facts for key, facts in self._there.items() if not facts.etag}  # since we listed, perhaps
                self._there = there if clean else ours | there
            if all(found):
                break  # else something was folded or replaced since it was listed
        if wanted:
            self._save_index()

    @property
    def is_tired(self) -> bool:
        """Whether it should not look again yet: at a very large run a look takes long."""
        ended_s, took_s = self._looked
        return took_s > _LONG_LOOK_S and time.monotonic() - ended_s < _REST * took_s

    def _list(self) -> dict[str, ObjectFacts]:
        started_s = time.monotonic()
        there: dict[str, ObjectFacts] = {}
        for facts in self.remote.list():
            if _is_safe(facts.key):
                there[facts.key] = facts
            if len(there) == _LOOKS_LIKE_MORE and MARKER not in there and not _has_marker(self.remote, there):
                break  # a whole bucket of something else, perhaps
        _check_is_run(self.url, there)
        self._looked = (time.monotonic(), time.monotonic() - started_s)
        return there

    def here(self, path: Path) -> Path:
        """A file of the run on this disk, fetched if need be; the path itself, whether or not there is such a file."""
        key = self._key(path)
        facts = self._there.get(key) if key else None
        if facts is None and key and not path.exists():
            facts = self.remote.head(key)
        if key and facts is not None and not self._is_here(facts):
            self._fetch(facts)
        return path

    def size_of(self, path: Path) -> int | None:
        """Size of a file of the run at the URL, bytes; None where there is none."""
        facts = self._there.get(self._key(path) or "")
        return None if facts is None else facts.size

    def url_of(self, path: Path) -> str:
        """URL of a file of the run."""
        key = self._key(path)
        return self.remote.join(key) if key else self.url

    def _is_here(self, facts: ObjectFacts) -> bool:
        """Whether the file on the disk is the one there: untouched since it was fetched, or since we put it there."""
        known = self._index.get(facts.key)
        if known is None or _state_of(self.folder / facts.key) != known[1:]:
            return False
        return known[0] == facts.etag or (known[0] == _OURS and known[1] == facts.size and _never_changes(facts.key))

    def _fetch(self, facts: ObjectFacts) -> bool:
        """Fetch a file; False where it is gone."""
        path = self.folder / facts.key
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = self.remote.download(facts.key, path)
        except FileNotFoundError:
            return False
        self._remember(facts.key, found.etag)
        return True

    def _remember(self, key: str, etag: str) -> None:
        state = _state_of(self.folder / key)
        with self._lock:
            if state is None:
                self._index.pop(key, None)
            else:
                self._index[key] = [etag, *state]

    def _save_index(self) -> None:
        with self._lock:
            index = {key: known for key, known in self._index.items() if key in self._there}
        write_atomic(self._index_path, json.dumps(index).encode())

    def _remove_strays(self, there: Iterable[str]) -> None:
        """Remove what was written here and never arrived: whoever went on with the run did without it."""
        kept = frozenset(there)
        for path in _files(self.folder):
            key = path.relative_to(self.folder).as_posix()
            if key not in kept and key.partition("/")[0] not in _NOT_OURS:
                path.unlink()

    # ---- keeping (see `singalong.written`)

    def wrote(self, path: Path) -> None:
        """Have a file at the URL; returns when it is, or for some kinds when it is on its way."""
        key = self._key(path)
        if key is None or is_temp_name(path.name) or key.partition("/")[0] in _NOT_OURS:
            return
        if self._held:
            self.lease.check()
        if key.startswith("attempts/"):
            self._create(key, path)
            self._send_logs_at_times()
        elif _may_follow(key):
            self._send_later(key, path)
        else:
            self._upload(key, path)

    def removed(self, path: Path) -> None:
        """Have a file no longer at the URL, some time before `settle` returns."""
        key = self._key(path)
        if key is not None:
            with self._lock:
                self._there.pop(key, None)
            self._later(lambda: self.remote.delete(key))

    def uploaded(self, path: Path, num_bytes: int) -> None:
        """Note a film that a worker put there."""
        key = self._key(path)
        assert key is not None
        self._note(key, num_bytes)

    def copy(self, path: Path, source: Mirror, source_path: Path) -> bool:
        """Have a file of another run at a URL in this one, without fetching it; False where that cannot be done.

        Raises FileNotFoundError.
        """
        key, source_key = self._key(path), source._key(source_path)
        size = source.size_of(source_path)
        if key is None or source_key is None or size is None or size > _MAX_COPY_BYTES:
            return False
        if source.remote.bucket != self.remote.bucket:
            return False
        self.remote.copy_from(key, source.remote, source_key)
        path.unlink(missing_ok=True)
        self._note(key, size)
        return True

    def names_in(self, folder: Path) -> list[str]:
        """Names of the files in a folder of the run at the URL."""
        start = f"{self._key(folder)}/"
        names = (key.removeprefix(start) for key in self._there if key.startswith(start))
        return [name for name in names if "/" not in name]

    def settle(self) -> None:
        """Wait until all that is on its way has arrived; raises why something did not."""
        with self._lock:
            waiting, self._on_the_way = self._on_the_way, []
        for future in waiting:
            future.result()

    def send_logs(self) -> None:
        """Send the logs that grew since the last time; they are for people, so a store that is away does not matter."""
        for path in _files(self.folder / _LOGS):
            facts = path.stat()
            state, key = (facts.st_size, facts.st_mtime_ns), path.relative_to(self.folder).as_posix()
            if self._logs_sent.get(key) != state:
                self._logs_sent[key] = state
                self._send_later(key, path)

    def _send_logs_at_times(self) -> None:
        now_s = time.monotonic()
        if self._held and now_s - self._logs_looked_s > _LOGS_EVERY_S:
            self._logs_looked_s = now_s
            self.send_logs()

    def _send_later(self, key: str, path: Path) -> None:
        def send() -> None:
            with contextlib.suppress(FileNotFoundError):  # removed since
                self._upload(key, path)

        self._later(send)

    def _later(self, work: Callable[[], None]) -> None:
        with self._lock:
            first = self._on_the_way.pop(0) if len(self._on_the_way) >= _MAX_ON_THE_WAY else None
            self._on_the_way.append(self._pool.submit(work))
        if first is not None:
            first.result()

    def _upload(self, key: str, path: Path) -> None:
        size = path.stat().st_size
        self.remote.upload(key, path)
        self._note(key, size)

    def _create(self, key: str, path: Path) -> None:
        try:
            self.remote.create_from(key, path)
        except FileExistsError:
            if self.remote.read(key) != path.read_bytes():
                raise TransientIOError(
                    "somebody else has written this part of the ledger",
                    file=self.remote.join(key),
                    action="Only one driver works on a run at a time. Run again: what is finished is kept.",
                ) from None
        self._note(key, path.stat().st_size)

    def _note(self, key: str, size: int) -> None:
        with self._lock:
            self._there[key] = ObjectFacts(key, size, "", datetime.now(UTC))
        self._remember(key, _OURS)

    def _key(self, path: Path) -> str | None:
        return path.relative_to(self.folder).as_posix() if self.folder in path.parents else None

    # ---- driving

    @contextlib.contextmanager
    def driving(self) -> Iterator[None]:
        """Hold the run for one driver, as often as one likes; HeldError naming the holder when there is another."""
        if not self._held:
            self.lease.take()
            try:
                self.settle()
                self.pull(clean=True)
            except BaseException:
                self.lease.release()
                raise
            self._held = 1
        else:
            self._held += 1
        try:
            yield
        finally:
            if self._held == 1:
                try:
                    self.send_logs()
                    self.settle()
                finally:
                    self._let_go()
            else:
                self._held -= 1

    def _let_go(self) -> None:
        self._held = 0
        self.lease.release()

    def close(self) -> None:
        """Wait for what is on its way, and end."""
        try:
            self.settle()
            self._save_index()
            for path in _files(self.folder):  # looked at for now; they would fill the disk
                if path.suffix == ".mp4":
                    path.unlink(missing_ok=True)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _is_safe(key: str) -> bool:
    parts = PurePosixPath(key).parts
    return bool(parts) and "/".join(parts) == key and not any(part in ("..", ".") or "\0" in part for part in parts)


def _is_small(key: str) -> bool:
    top = key.partition("/")[0]
    if top in _FILMS:
        return PurePosixPath(key).suffix in _RECORDS
    return top not in ("frames", *_NOT_OURS)


def _may_follow(key: str) -> bool:
    """Whether the order in which it arrives does not matter."""
    top = key.partition("/")[0]
    return top == "frames" or (top in _FILMS and PurePosixPath(key).suffix == ".json")


def _never_changes(key: str) -> bool:
    return key.partition("/")[0] in ("attempts", "plans", "reviews")


def _fetched_last(facts: ObjectFacts) -> tuple[bool, str]:
    """plan.parquet says what counts, so it comes after all else."""
    return facts.key == "plan.parquet", facts.key


def _has_marker(remote: ObjectFolder, there: dict[str, ObjectFacts]) -> bool:
    facts = remote.head(MARKER)
    if facts is not None:
        there[MARKER] = facts
    return facts is not None


def _check_is_run(url: str, there: dict[str, ObjectFacts]) -> None:
    if MARKER in there:
        return
    strangers = sorted(key for key in there if key.partition("/")[0] not in _NOT_OURS)
    if strangers:
        raise UsageError(
            "what lies there is not a run",
            file=url,
            value=strangers[0],
            expected="a URL below which there is nothing yet, or that of a run",
        )


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names if not is_temp_name(name))


def _read_index(path: Path) -> dict[str, list[object]]:
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: known for key, known in index.items() if isinstance(known, list)} if isinstance(index, dict) else {}


def _state_of(path: Path) -> list[object] | None:
    """What changes when a file is written: size and time."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [facts.st_size, facts.st_mtime_ns]
