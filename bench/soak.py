"""A run that is ended at random again and again, and must come out as if nothing had happened.

    python -m bench.soak --seconds 300 --seed 1

Ends workers, Ray's raylet and the driver by signals, at moments drawn from the seed, and gives the same command again
whenever it ended. After that many seconds it lets the run come to its end. Exit code 0 if then every shard was made
once, nothing half-written is visible, and all segments are, byte for byte, those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.bed import Bed, make_bed
from bench.rough import Command, Place, kill, segments, until

_LONGEST_WAIT_S = 6.0
"""Between two blows, once shards are being made."""
_ENDS_WITHIN_S = 60.0


def _blow_to(word: str, number: signal.Signals) -> Callable[[Command], None]:
    def strike(command: Command) -> None:
        for pid in command.named(word)[:1]:
            kill(pid, number)

    return strike


def _group(number: signal.Signals) -> Callable[[Command], None]:
    return lambda command: os.killpg(command.pid, number)


def _driver(number: signal.Signals) -> Callable[[Command], None]:
    return lambda command: kill(command.pid, number)


BLOWS: dict[str, Callable[[Command], None]] = {
    "worker SIGKILL": _blow_to("ray::WorkerActor", signal.SIGKILL),
    "worker SIGSEGV": _blow_to("ray::WorkerActor", signal.SIGSEGV),
    "raylet SIGKILL": _blow_to("raylet/raylet ", signal.SIGKILL),
    "driver SIGKILL": _driver(signal.SIGKILL),
    "driver SIGTERM": _driver(signal.SIGTERM),
    "group SIGTERM": _group(signal.SIGTERM),
    "group SIGINT": _group(signal.SIGINT),
}
_DEADLY = frozenset({"driver SIGKILL", "driver SIGTERM", "group SIGTERM", "group SIGINT"})


@dataclass
class Told:
    """What happened: blows by kind, commands given, runs that came to their end, and what was wrong."""

    blows: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    num_runs: int = 0
    wrong: list[str] = field(default_factory=list)


def soak(bed: Bed, *, seconds: float, seed: int) -> Told:
    """Strike runs for so many seconds, then let the last one end; see the module."""
    drawn, told = random.Random(seed), Told()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or told.num_runs == 0:
        told.num_runs += 1
        place = bed.place(f"soak{told.num_runs}")
        while not _struck_to_the_end(place, drawn, deadline, told):
            pass
        _check(bed, place, told)
    return told


def _struck_to_the_end(place: Place, drawn: random.Random, deadline: float, told: Told) -> bool:
    """Give the command once, and strike it until it ends or time is up; whether the run is complete."""
    command = place.command()
    before = len(place.finished())
    while command.process.poll() is None and time.monotonic() < deadline:
        until(partial(_has_more, place, before), command=command, timeout_s=120.0)
        time.sleep(drawn.uniform(0, _LONGEST_WAIT_S))
        name = drawn.choice(sorted(BLOWS))
        if command.process.poll() is not None:
            break
        BLOWS[name](command)
        told.blows[name] += 1
        before = len(place.finished())
        if name in _DEADLY:
            started = time.monotonic()
            command.wait()
            if time.monotonic() - started > _ENDS_WITHIN_S:
                told.wrong.append(f"after {name} it took {time.monotonic() - started:.0f} s to end")
    code = command.wait(600.0)
    told.codes[code] += 1
    print(f"exit {code}, {len(place.finished())} shards finished, {sum(told.blows.values())} blows", flush=True)
    if code not in (0, 1, 130, -signal.SIGKILL) or "Traceback" in command.said():
        told.wrong.append(f"exit {code}: {command.said()[-1500:]}")
    return code == 0


def _has_more(place: Place, num_finished: int) -> bool:
    return len(place.finished()) > num_finished


def _check(bed: Bed, place: Place, told: Told) -> None:
    if dict(segments(place)) != bed.truth:
        told.wrong.append(f"{place.run}: segments differ from those of the undisturbed run")
    told.wrong += [f"{place.run}: {name} was made twice" for name in place.made_twice()]
    told.wrong += [f"{path} is not whole" for path in place.unsound()]
    told.wrong += [f"{place.run}: the fold says something else of {name}" for name in place.untold()]


def main() -> None:
    """Soak, say what happened, exit 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long blows fall")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--song-s", type=float, default=4.0, help="length of the song; five shards a second and pair")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="singalong-soak-"))
    try:
        told = soak(make_bed(home, song_s=options.song_s), seconds=options.seconds, seed=options.seed)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(f"{told.num_runs} runs, exit codes {dict(told.codes)}, blows {dict(told.blows)}")
    print("\n".join(told.wrong) or "all shards made once, all bytes as undisturbed")
    sys.exit(bool(told.wrong))


if __name__ == "__main__":
    main()
