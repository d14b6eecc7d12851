"""Faults of processes: workers, Ray, Prefect's server and the driver, ended by real signals while shards are made."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.bed import Bed, Came, Fault, is_sound, judge
from bench.rough import Command, Place, kill, until

_ENDS_WITHIN_S = 20.0
_AGENTS_END_WITHIN_S = 120.0
"""Those that Ray keeps beside the raylet look about once a minute whether it lives; they hold nothing of ours."""
_STARVED_BYTES = 64 << 20
"""Less than any worker has: whatever asks for more fails."""
_DEADLINE = ("run.shard_timeout_s=30",)


def _at_work(place: Place, command: Command, num_finished: int = 2) -> None:
    """Wait until some shards are finished and another is in the making."""
    so = until(lambda: len(place.finished()) >= num_finished and place.running(), command=command)
    if not so:
        command.end()
        raise RuntimeError(f"the run ended before harm could be done: {command.said()[-800:]}")
    time.sleep(0.05)


@dataclass(frozen=True)
class _Blow:
    """Harm that a run must survive: what is done, and the class of the failure that must be recorded for it."""

    strike: Callable[[Command], None]
    classes: str = ""


_gauntlets: dict[int, dict[str, Came]] = {}
"""What came of the blows, by the bed they fell on: all fall on one run, one after the other."""


def survived(bed: Bed, name: str) -> Came:
    """What came of one of the blows that a run must survive."""
    if id(bed) not in _gauntlets:
        _gauntlets[id(bed)] = _run_the_gauntlet(bed)
    return _gauntlets[id(bed)][name]


def _run_the_gauntlet(bed: Bed) -> dict[str, Came]:
    place = bed.place("gauntlet")
    command, found = place.command(*_DEADLINE), dict[str, tuple[str, bool]]()
    for name, blow in BLOWS.items():
        before, num_finished = place.failures(), len(place.finished())
        frozen = _frozen_at_work(place, command)
        blow.strike(command)
        for pid in frozen if blow.strike is not _leave_frozen else ():
            kill(pid, signal.SIGCONT)
        until(partial(_has_gone_on, place, before, num_finished, blow.classes), command=command)
        new = place.failures() - before
        found[name] = ", ".join(f"{count} {kind}" for kind, count in new.items()), blow.classes in ("", *new)
        print(f"    {name}: {found[name]}", flush=True)
    code = command.wait()
    sound, done = is_sound(place), bed.ends_right(place)
    whole = judge(place, command, code, expected=0, resumed=done, sound=sound)
    return {
        name: Came(code, what, sound, whole.num_redone, done, told and whole.as_expected)
        for name, (what, told) in found.items()
    }


def _frozen_at_work(place: Place, command: Command) -> list[int]:
    """Stop the worker in the middle of a shard; its process id."""
    while command.process.poll() is None:
        until(place.running, command=command)
        workers = command.workers()
        for pid in workers:
            kill(pid, signal.SIGSTOP)
        time.sleep(1.0)  # what it had finished is recorded by now
        if workers and place.running():
            return workers
        for pid in workers:
            kill(pid, signal.SIGCONT)
        time.sleep(0.1)
    raise RuntimeError(f"the run ended before harm could be done: {command.said()[-800:]}")


def _leave_frozen(_command: Command) -> None:
    """A worker that is stopped hears nothing and does nothing."""


def _has_gone_on(place: Place, before: Counter[str], num_finished: int, classes: str) -> bool:
    """Whether the failure was recorded and another shard was finished since."""
    recorded = not classes or (place.failures() - before)[classes] > 0
    return recorded and len(place.finished()) > num_finished


def ended(bed: Bed, name: str, harm: Callable[[Command], None], expected: int) -> Came:
    """A run that must end soon and be resumable, leaving no process behind."""
    place = bed.place(name)
    command = place.command()
    _at_work(place, command)
    family = [command.pid, *command.processes()]
    started = time.monotonic()
    harm(command)
    code = command.wait(120.0)
    took = time.monotonic() - started
    gone = until(lambda: not any(_lives(pid) for pid in family), timeout_s=_AGENTS_END_WITHIN_S)
    sound = is_sound(place) and gone and took < _ENDS_WITHIN_S
    kept = place.finished()
    done = bed.ends_right(place) and kept.items() <= place.finished().items()
    return judge(place, command, code, expected=expected, resumed=done, seconds=took, sound=sound)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _kill_workers(command: Command, number: signal.Signals) -> None:
    for pid in command.workers():
        kill(pid, number)


def _kill_named(command: Command, word: str) -> None:
    for pid in command.named(word):
        kill(pid, signal.SIGKILL)


def _starve(command: Command) -> None:
    """Leave the worker no address space but what it has."""
    for pid in command.workers():
        resource.prlimit(pid, resource.RLIMIT_AS, (_STARVED_BYTES, _STARVED_BYTES))


def _signal_tree(command: Command, number: signal.Signals) -> None:
    for pid in (*command.processes(), command.pid):
        kill(pid, number)


def _twice(command: Command) -> None:
    os.killpg(command.pid, signal.SIGINT)
    time.sleep(0.7)
    if command.process.poll() is None:
        os.killpg(command.pid, signal.SIGINT)


def _ends(name: str, harm: Callable[[Command], None], expected: int) -> Fault:
    return lambda bed: ended(bed, name, harm, expected)


BLOWS: dict[str, _Blow] = {
    "worker killed": _Blow(partial(_kill_workers, number=signal.SIGKILL), "INFRA"),
    "worker crashes (SIGSEGV)": _Blow(partial(_kill_workers, number=signal.SIGSEGV), "INFRA"),
    "worker out of memory (RLIMIT_AS)": _Blow(_starve, "RESOURCE"),
    "raylet killed": _Blow(partial(_kill_named, word="raylet/raylet "), "INFRA"),
    "Ray's control store killed": _Blow(partial(_kill_named, word="gcs/gcs_server ")),
    "Prefect's server killed": _Blow(partial(_kill_named, word="flows.own_server")),
    "worker hangs (SIGSTOP)": _Blow(_leave_frozen, "TIMEOUT"),
}

PROCESS_FAULTS: dict[str, Fault] = {
    "SIGTERM to every process": _ends("tree", partial(_signal_tree, number=signal.SIGTERM), 130),
    "SIGTERM to the group": _ends("group", lambda command: os.killpg(command.pid, signal.SIGTERM), 130),
    "SIGTERM to the run": _ends("term", lambda command: kill(command.pid, signal.SIGTERM), 130),
    "Ctrl-C twice": _ends("ctrl-c", _twice, 130),
    "driver killed": _ends("driver", lambda command: kill(command.pid, signal.SIGKILL), -9),
    **{name: partial(survived, name=name) for name in BLOWS},
}
