"""What a worker tells of one attempt, line by line: a worker that is killed leaves behind what it knew.

A worker does one job at a time, so there is one log at a time in a process; whoever has something to say says it to
that one (`note`), and where there is none it is lost. Besides our own words a log has what the libraries warn of
meanwhile: libav of the clip, Python of anything, and, in a process of our own, where it crashed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from singalong.errors import SingalongError
from singalong.objects import object_at
from singalong.run_logs import encode_line
from tasks.jobs import LogPlace

MAX_BYTES = 256 * 1024
"""Of what is no error, in one attempt's log."""
MAX_PROGRESS_BYTES = 64 * 1024
"""Of progress: beyond that only the start of every chunk is told, then of every second, fourth and so on."""
_LIBAV = "libav"


class AttemptLog:
    """One attempt's log, open; safe to use from several threads. A log that cannot be written says nothing."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._lock = threading.Lock()
        self._num_bytes = self._num_progress_bytes = 0
        self.num_left_out = 0
        self._chunk: dict[str, Any] = {}
        self._num_chunks, self._next_chunk, self._step = 0, 0, 1
        self._entered: set[str] = set()

    def write(self, level: str, stage: str, message: str, **fields: Any) -> int:
        """Write a line at once; beyond MAX_BYTES errors only. Returns how long it was."""
        line = encode_line(level, stage, message, fields)
        with self._lock:
            if level != "error" and self._num_bytes + len(line) > MAX_BYTES:
                self.num_left_out += 1
                return 0
            self._num_bytes += len(line)
        with contextlib.suppress(OSError):  # a full disk is told of by what matters more
            os.write(self.descriptor, line)
        return len(line)

    def chunk(self, **fields: Any) -> None:
        """The work goes on with these frames: its stages are told anew."""
        self._chunk = fields
        self._num_chunks += 1
        if self._num_progress_bytes < MAX_PROGRESS_BYTES:
            self._next_chunk = self._num_chunks + 1
            self._entered.clear()
        elif self._num_chunks >= self._next_chunk:
            self._step *= 2
            self._next_chunk = self._num_chunks + self._step
            self.write("debug", "chunk", "", **fields)

    def enter(self, stage: str) -> None:
        """A stage begins; told the first time in every chunk."""
        if stage not in self._entered:
            self._entered.add(stage)
            self._num_progress_bytes += self.write("debug", stage, "", **self._chunk)


_current: AttemptLog | None = None


@contextmanager
def attempt_log(place: LogPlace | None, *, owns_process: bool) -> Iterator[None]:
    """Log there while the body runs; nowhere where there is no place, or it cannot be written.

    `owns_process`: the process is there for such work alone, so that its crashes can be told of, too.
    """
    if place is None:
        yield
    elif place.url is None or place.host == socket.gethostname():
        with _logging_to(Path(place.path), owns_process=owns_process):
            yield
    else:
        with TemporaryDirectory(prefix="singalong-log-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / Path(place.path).name
            with _logging_to(path, owns_process=owns_process):
                yield
            _send(path, place.url)


@contextmanager
def _logging_to(path: Path, *, owns_process: bool) -> Iterator[None]:
    global _current
    log = _open(path)
    if log is None:
        yield
        return
    before, _current = _current, log
    try:
        with _libraries_heard(log), _crashes_told(log) if owns_process else contextlib.nullcontext():
            yield
        if log.num_left_out:
            log.write("error", "", f"{log.num_left_out} more lines were left out")
    finally:
        _current = before
        os.close(log.descriptor)


def _send(path: Path, url: str) -> None:
    """Send a finished log to its URL; a store that is away does not matter, the result has its own errors."""
    with contextlib.suppress(SingalongError, OSError):
        folder, key = object_at(url)
        folder.write(key, path.read_bytes())


def note(message: str, *, stage: str = "", level: str = "info", **fields: Any) -> None:
    """Say something to the log of the attempt that goes on, if one does."""
    if _current is not None:
        _current.write(level, stage, message, **fields)


def entering(stage: str) -> None:
    """A stage begins; costs nothing to speak of where it was told already, so it may be said of every frame."""
    if _current is not None:
        _current.enter(stage)


def next_chunk(**fields: Any) -> None:
    """The work goes on with other frames."""
    if _current is not None:
        _current.chunk(**fields)


def _open(path: Path) -> AttemptLog | None:
    """The log at this path, whose folder the driver made; None where that is gone or cannot be written."""
    try:
        return AttemptLog(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError:
        return None


class _ToLog(logging.Handler):
    """Passes on what libraries log."""

    def __init__(self, log: AttemptLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write it; nothing that is logged may end the work."""
        with contextlib.suppress(Exception):
            level = "error" if record.levelno >= logging.ERROR else "warning"
            message = record.getMessage()
            if record.name.split(".")[0] == _LIBAV:
                level = "warning"  # what libav calls an error is a damaged packet, which is skipped
            self._log.write(level, record.name, message)


@contextmanager
def _libraries_heard(log: AttemptLog) -> Iterator[None]:
    """Have Python's warnings, and what is logged as a warning or worse, in the log, too."""
    handler, show = _ToLog(log), warnings.showwarning

    def heard(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        log.write("warning", "python", f"{category.__name__}: {message}", where=f"{filename}:{lineno}")
        show(message, category, filename, lineno, file, line)

    root = logging.getLogger()
    root.addHandler(handler)
    warnings.showwarning = heard
    try:
        with _libav_heard(handler):
            yield
    finally:
        root.removeHandler(handler)
        if warnings.showwarning is heard:
            warnings.showwarning = show


@contextmanager
def _libav_heard(handler: logging.Handler) -> Iterator[None]:
    """Hear what libav says of a clip or song; nothing of it goes anywhere else.

    PyAV hands it on under Python's lock, in the thread it is said in. `singalong.media` decodes and encodes in the
    calling thread; with threads of libav's own, PyAV could wait for one that waits for it.
    """
    import av.logging

    import singalong.media.containers  # noqa: F401 - not later: it silences libav where it is first imported

    logger = logging.getLogger(_LIBAV)
    level, propagates = av.logging.get_level(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    av.logging.set_level(av.logging.WARNING)
    try:
        yield
    finally:
        av.logging.set_level(level)
        logger.propagate = propagates
        logger.removeHandler(handler)


@contextmanager
def _crashes_told(log: AttemptLog) -> Iterator[None]:
    """Have the place where this process crashes written to the log, and not to where nobody looks."""
    faulthandler.enable(file=log.descriptor, all_threads=False)
    try:
        yield
    finally:
        if sys.stderr is not None:
            faulthandler.enable(all_threads=False)
        else:
            faulthandler.disable()
