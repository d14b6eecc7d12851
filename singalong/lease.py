"""One driver a run at a URL: a lease in the object store, which lapses when its holder gives no more signs of life.

    lease/<n>.json     who took lease n, and when; created only once, so that one of any number that try gets it
    lease/<n>.beat     written again and again by its holder
    lease/<n>.ended    its holder let go

The highest n counts. A lease has lapsed when its last sign of life is older than `lapse_s()` by the clock of the
store, which writes the time on every object: no two machines' clocks are compared. Who takes a lapsed lease takes
number n + 1; whoever held n finds it when writing the next sign of life, and writes nothing more.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from singalong.environment import seconds_from
from singalong.errors import HeldError, SingalongError, TransientIOError, UsageError
from singalong.objects import ObjectFacts, ObjectFolder

LAPSE_S = 60.0
"""Six signs of life that did not come; while the store is away nobody else can take over, either."""
BEATS = 6
_FOLDER = "lease"
_NAME = re.compile(r"(\d{6})\.(json|beat|ended)")
_KEPT = 3
"""Leases before the present one that are left there, for people to look at."""


def lapse_s() -> float:
    """After how long without a sign of life a lease lapses, seconds; `SINGALONG_LEASE_S` says otherwise.

    All machines that work on a run must agree. Raises UsageError where the environment gives no number.
    """
    return seconds_from("SINGALONG_LEASE_S", LAPSE_S, least_s=2, expected="a number from 2 on, such as 60")


class Holder(BaseModel):
    """Who holds a lease: a process, named so that one that died on this machine can be told."""

    pid: int
    host: str
    since: str
    machine: str = ""
    born: str = ""

    @classmethod
    def me(cls) -> Holder:
        """Names the present process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        return cls(pid=pid, host=socket.gethostname(), since=since, machine=_machine(), born=_born(pid))

    def is_dead(self) -> bool:
        """Whether it is known to be dead: it was on this machine, and is no more."""
        return bool(self.machine) and self.machine == _machine() and _born(self.pid) != self.born

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True)
class _Seen:
    """The lease that counts, as found at one moment; number 0: there never was one."""

    number: int = 0
    ended: bool = True
    alive: ObjectFacts | None = None


class Lease:
    """A run's lease: looked at by anybody, held by one driver at a time."""

    def __init__(self, run: ObjectFolder) -> None:
        self._run, self._lapse_s = run, lapse_s()
        self._number = 0
        self._lost: str | None = None
        self._confirmed_s = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched: tuple[str, float] | None = None
        """The last sign of life that was seen, and when it was given, by our clock."""

    # ---- looking

    def holder(self) -> str | None:
        """Who is working on the run, in words; None when nobody is, or whoever did is dead."""
        seen = self._look()
        if seen.ended:
            return None
        holder = self._read(seen.number)
        if holder is not None and holder.is_dead():
            return None
        return str(holder or "another process") if self._lives(seen) else None

    def _look(self) -> _Seen:
        found: dict[int, dict[str, ObjectFacts]] = {}
        for facts in self._run.list(_FOLDER):
            if name := _NAME.fullmatch(facts.key.removeprefix(f"{_FOLDER}/")):
                found.setdefault(int(name[1]), {})[name[2]] = facts
        if not found:
            return _Seen()
        number = max(found)
        files = found[number]
        return _Seen(number, "ended" in files, files.get("beat") or files.get("json"))

    def _read(self, number: int) -> Holder | None:
        try:
            return Holder.model_validate_json(self._run.read(_key(number, "json")))
        except (FileNotFoundError, ValidationError):
            return None

    def _lives(self, seen: _Seen) -> bool:
        """Whether the last sign of life is recent, by the store's clock or by having seen it change."""
        if seen.alive is None:
            return False
        mark = f"{seen.number} {seen.alive.etag} {seen.alive.modified}"
        if self._watched is None:
            self._watched = (mark, _clock_s() - self._age_s(seen.alive))
        elif self._watched[0] != mark:
            self._watched = (mark, _clock_s())
        return _clock_s() - self._watched[1] < self._lapse_s

    def _age_s(self, facts: ObjectFacts) -> float:
        """Age of an object by the store's clock; 0 where we may not write, and so cannot ask for the time."""
        key = f"{_FOLDER}/clock-{secrets.token_hex(6)}"
        try:
            self._run.write(key, b"")
            now = self._run.head(key)
            self._run.delete(key)
        except UsageError:
            return 0.0
        return 0.0 if now is None else max(0.0, (now.modified - facts.modified).total_seconds())

    # ---- holding

    def take(self) -> None:
        """Take the lease, and keep it alive until `release`. Raises HeldError naming the holder when there is one."""
        while True:
            seen = self._look()
            self._refuse_if_held(seen)
            number = seen.number + 1
            try:
                self._run.create(_key(number, "json"), Holder.me().model_dump_json().encode())
                break
            except FileExistsError:
                continue  # somebody was quicker: look who
        self._number, self._lost, self._confirmed_s = number, None, _clock_s()
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_alive, name="singalong-lease", daemon=True)
        self._thread.start()
        self._tidy(number)

    def _refuse_if_held(self, seen: _Seen) -> None:
        if seen.ended or seen.alive is None:
            return
        holder = self._read(seen.number)
        if holder is not None and holder.is_dead():
            return
        age_s = self._age_s(seen.alive)
        if age_s < self._lapse_s:
            raise HeldError(
                f"this run is being worked on by {holder or 'another process'}, which gave a sign of life "
                f"{age_s:.0f} s ago",
                file=self._run.url,
                action=f"Wait until it ends, stop it, or take another run folder. If it is dead, the run is free "
                f"{self._lapse_s:.0f} s after its last sign.",
            )

    def release(self) -> None:
        """Let go; somebody else may take it at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._lost is None:
            self._run.write(_key(self._number, "ended"), b"")
            self._run.delete(_key(self._number, "beat"))
        self._number = 0

    def check(self) -> None:
        """Raise TransientIOError when the lease is no longer ours; asks the store when we have not heard for long."""
        if self._lost is None and _clock_s() - self._confirmed_s > self._lapse_s / 2:
            self._confirm()
        if self._lost is not None:
            raise TransientIOError(
                f"this run was taken over by {self._lost}, as nothing was heard of this process for long",
                file=self._run.url,
                action="Nothing is lost. See how it goes with: singalong status",
            )

    def _keep_alive(self) -> None:
        while not self._stop.wait(self._lapse_s / BEATS):
            try:
                self._confirm()
            except (SingalongError, OSError):
                continue  # the store is away: `check` will ask again before anything is written
            if self._lost is not None:
                return

    def _confirm(self) -> None:
        """See that nobody took over, and give a sign of life."""
        started_s = _clock_s()
        seen = self._look()
        if seen.number > self._number:
            self._lost = str(self._read(seen.number) or "another process")
            return
        self._run.write(_key(self._number, "beat"), json.dumps({"at": time.time()}).encode())
        self._confirmed_s = started_s

    def _tidy(self, number: int) -> None:
        for old in range(max(1, number - 2 * _KEPT), number - _KEPT):
            for kind in ("json", "beat", "ended"):
                self._run.delete(_key(old, kind))


def _key(number: int, kind: str) -> str:
    return f"{_FOLDER}/{number:06d}.{kind}"


def _clock_s() -> float:
    """A clock that goes on while a laptop sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine() -> str:
    """Names this machine since it was started, and our view of its processes; empty where that cannot be told."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot_id} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process of this machine was started, in ticks; empty where there is none, or it is a zombie."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if facts[0] in ("Z", "X") else facts[19]
