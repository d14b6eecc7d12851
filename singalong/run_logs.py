"""The logs of a run: a file an attempt, a JSON object a line, written as things happen.

    logs/<shard>/<attempt>.jsonl        one try at one shard: the worker's words between those of the driver
    logs/<shard>/<attempt>.worker.jsonl the worker's, of runs at a URL, where it is on another machine than the driver
    logs/steps/<item>/<attempt>.jsonl   the same of what is prepared and joined
    logs/steps.jsonl                    how each of these steps ended, a line each
    logs/traffic.json                   what went to and came from object stores, in all sessions of the run

A line has `time` (UTC), `level`, `stage`, `message`, and `fields` where there is more to say. Logs are for people: the
ledger is the truth, and a log that cannot be written stops nothing. What is not JSON in a file was written by a
library as its process crashed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from singalong.contracts import Row
from singalong.durable import write_atomic
from singalong.traffic import Traffic, rows_of, traffic_of

LEVELS = ("debug", "info", "warning", "error")
MAX_MESSAGE = 4_000
MAX_TRACE = 16_000
"""Characters of a traceback: its start and its end."""
MAX_FIELD = 1_000
_MAX_READ_BYTES = 8 << 20
"""Far more than a log of ours can have; a file that grew beyond was not written by us."""
_NUMBER = re.compile(r"(\d+)\.jsonl")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class LogLine(Row):
    """One line of a log."""

    time: str = ""
    level: str = "info"
    stage: str = ""
    message: str = ""
    fields: dict[str, Any] = Field(default_factory=dict)


class RunLogs:
    """The folder logs/ of a run, as its driver and its readers see it."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.folder = run / "logs"
        self._steps = self.folder / "steps.jsonl"
        self._traffic = self.folder / "traffic.json"

    def of_shard(self, shard_id: str, attempt: int) -> Path:
        """Where an attempt at a shard is logged."""
        return self.folder / shard_id / f"{attempt:04d}.jsonl"

    def of_next_step(self, item_id: str) -> Path:
        """Where the next try at something that is prepared or joined is logged."""
        folder = self.folder / "steps" / step_folder(item_id)
        return folder / f"{max(_numbers(folder), default=0) + 1:04d}.jsonl"

    def step_ended(self, stage: str, item_id: str, **fields: Any) -> None:
        """Note that a step ended; shards have their ledger, these have this."""
        if self.begin(self._steps):
            self.tell(self._steps, "info", stage, "ended", item=item_id, **fields)

    def read_steps(self) -> Iterator[LogLine]:
        """How steps ended, in all sessions of the run."""
        with contextlib.suppress(FileNotFoundError), self._steps.open("rb") as file:
            yield from (line for text in file if (line := parse_line(text)).message == "ended")

    def note_traffic(self, traffic: Traffic) -> None:
        """Note what went to and came from object stores, in all sessions of the run together."""
        if self.begin(self._traffic):
            with contextlib.suppress(OSError):
                write_atomic(self._traffic, json.dumps(rows_of(traffic)).encode())

    def read_traffic(self) -> Traffic:
        """What was noted; nothing where it does not read."""
        try:
            return traffic_of(json.loads(self._traffic.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return {}

    def attempts(self, name: str) -> list[int]:
        """Numbers of the logged attempts at a shard, or at `steps/<folder>`, in order."""
        return sorted(_numbers(self.folder / name))

    def begin(self, path: Path) -> bool:
        """Make a log's folder; False where that cannot be, as when the whole run folder was moved away."""
        try:
            folders = [folder for folder in (path.parent, *path.parent.parents) if folder.is_relative_to(self.folder)]
            for folder in reversed(folders):
                folder.mkdir(exist_ok=True)
        except OSError:
            return False
        return True

    def tell(self, path: Path, level: str, stage: str, message: str, **fields: Any) -> None:
        """Append a line, and flush it; what a killed worker left unfinished is closed before."""
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, b"\n" * torn + encode_line(level, stage, message, fields))
            finally:
                os.close(descriptor)


def step_folder(item_id: str) -> str:
    """The folder name of a step: readable, and another one for every name, however long or odd that is."""
    return f"{_UNSAFE.sub('_', item_id)[:80]}-{hashlib.sha256(item_id.encode(errors='replace')).hexdigest()[:8]}"


def worker_part(path: Path) -> Path:
    """The file of an attempt's worker, where that could not write to the attempt's log."""
    return path.with_suffix(".worker.jsonl")


def encode_line(level: str, stage: str, message: str, fields: Mapping[str, Any]) -> bytes:
    """A line of a log, in ASCII: no text can end it early, nor make a terminal do anything."""
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "stage": stage,
        "message": _cut(message, MAX_MESSAGE),
    }
    if fields:
        line["fields"] = {name: _bounded(name, value) for name, value in fields.items() if value is not None}
    return json.dumps(line, default=str).encode() + b"\n"


def read_log(path: Path, *, unfinished: bool = True) -> list[LogLine]:
    """The lines of a log, empty where there is none; `unfinished`: also one that is being written."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_READ_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    if not unfinished:
        data = data[: data.rfind(b"\n") + 1]
    return [parse_line(line) for line in data.split(b"\n") if line.strip()]


def parse_line(line: bytes) -> LogLine:
    """A line as it was written; what is no line of ours comes out as a message."""
    try:
        found = json.loads(line)
        return LogLine(
            **{name: str(found.get(name, "")) for name in ("time", "level", "stage", "message")},
            fields=dict(found.get("fields", {})),
        )
    except (ValueError, AttributeError, TypeError, RecursionError):
        return LogLine(level="error", stage="crash", message=line.decode(errors="replace"))


def _bounded(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _cut(value, MAX_TRACE if name == "traceback" else MAX_FIELD)
    return value


def _cut(text: str, limit: int) -> str:
    """The start and the end of a long text."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]} … {len(text) - limit} characters … {text[-(limit - limit // 2) :]}"


def _numbers(folder: Path) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from (int(found[1]) for entry in entries if (found := _NUMBER.fullmatch(entry.name)))
