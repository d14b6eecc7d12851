"""Faults of disks and files: full, read-only, deleted under the run, and files of ours that are damaged."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.bed import Bed, Came, Fault, is_sound, judge
from bench.rough import Command, Place, kill, store_keys, until

_PLAIN = "run.executor=inprocess"
_ROOM = 60_000
"""Bytes left on a disk that is about to be full: less than a segment."""


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 20) -> Iterator[Path]:
    """A real file system of its own, mounted on a folder. Raises CalledProcessError where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def fill(disk: Path, room: int) -> Path:
    """Fill a disk but for so many bytes; returns the ballast, to be deleted."""
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free - room
    ballast.write_bytes(b"\0" * max(0, free // 4096 * 4096))
    return ballast


def _midway(place: Place, command: Command, num_finished: int = 2) -> None:
    if not until(lambda: len(place.finished()) >= num_finished, command=command):
        command.end()
        raise RuntimeError(f"the run ended before harm could be done: {command.said()[-800:]}")


def _fill_up(bed: Bed, place: Place, disk: Path, *, room: int, classes: str | None = None, says: str = "") -> Came:
    """What comes of a run whose disk is full but for some room after two shards, and later has room again."""
    command = place.command(_PLAIN)
    _midway(place, command)
    ballast = fill(disk, room)
    code = command.wait()
    sound = is_sound(place)
    ballast.unlink()
    done = bed.ends_right(place, _PLAIN)
    return judge(place, command, code, expected=1, resumed=done, sound=sound, classes=classes, says=says)


def full_store(bed: Bed) -> Came:
    """The store's disk is full after two shards."""
    place = bed.place("full-store")
    with small_disk(bed.home / "disk-store") as disk:
        shutil.copytree(place.store, disk / "store")
        place.store = disk / "store"
        return _fill_up(bed, place, disk, room=_ROOM, classes="RESOURCE")


def full_run_folder(bed: Bed) -> Came:
    """The run folder's disk is full after two shards."""
    place = bed.place("full-run")
    with small_disk(bed.home / "disk-run") as disk:
        place.run = disk / "run"
        return _fill_up(bed, place, disk, room=0, says="No space left")


def read_only_run_folder(bed: Bed) -> Came:
    """The run folder is on a disk that is mounted read-only."""
    place = bed.place("read-only")
    with small_disk(bed.home / "disk-ro") as disk:
        place.run = disk / "run"
        place.run.mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        command = place.command(_PLAIN)
        code = command.wait()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True, capture_output=True)
        done = bed.ends_right(place, _PLAIN)
        return judge(place, command, code, expected=2, resumed=done, says="run folder cannot be written")


def run_folder_deleted(bed: Bed) -> Came:
    """The run folder is deleted while the run goes on."""
    place = bed.place("run-deleted")
    command = place.command(_PLAIN)
    _midway(place, command)
    before = set(store_keys(place.store))
    shutil.rmtree(place.run, ignore_errors=True)
    code = command.wait()
    done = bed.ends_right(place, _PLAIN)
    made = {row.work_key for row in place.rows() if row.result is not None and not row.reused}
    came = judge(place, command, code, expected=1, resumed=done, says="run folder is gone")
    return Came(code, came.what, came.sound, len(made & before), done, came.as_expected)


def store_deleted(bed: Bed) -> Came:
    """The store is deleted while the run goes on: what was in it must be made again, and nothing may be called done."""
    place = bed.place("store-deleted")
    command = place.command(_PLAIN)
    _midway(place, command)
    shutil.rmtree(place.store, ignore_errors=True)
    code = command.wait()
    done = bed.ends_right(place, _PLAIN)
    came = judge(place, command, code, expected=1, resumed=done)
    return Came(code, came.what, True, 0, done, came.as_expected)


def two_drivers(bed: Bed) -> Came:
    """A second driver is started on the same run folder."""
    place = bed.place("two-drivers")
    first = place.command(_PLAIN)
    _midway(place, first, 1)
    second = place.command(_PLAIN)
    code = second.wait()
    finished = first.wait() == 0
    done = finished and bed.ends_right(place, _PLAIN)
    return judge(
        place, second, code, expected=2, resumed=done, says="being worked on by process", sound=is_sound(place)
    )


# ---- files of ours that are damaged


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(4).randrange(len(data) // 4, len(data) // 2)] ^= 0x10
    path.write_bytes(bytes(data))


def _rubbish(path: Path) -> None:
    path.write_bytes(b"\x00rubbish\xff" * 7)


def _attempt_of(place: Place) -> Path:
    return sorted(place.run.glob("attempts/*/*.*"))[0]


def _committed(place: Place) -> Path:
    return sorted(place.store.glob("work/*/*/commit.json"))[0]


def _segment(place: Place) -> Path:
    return next(_committed(place).parent.glob("*.mp4"))


def _plan(place: Place) -> Path:
    return place.run / "plan.parquet"


def _half_done(bed: Bed) -> Place:
    """A run that was interrupted after some shards; made once."""
    place = Place(bed.undisturbed.manifest, bed.home / "half" / "store", bed.home / "half" / "run", bed.home)
    place.settings = bed.undisturbed.settings
    if not place.run.exists():
        shutil.copytree(bed.undisturbed.store / "cache", place.store / "cache")
        command = place.command(_PLAIN)
        _midway(place, command, 4)
        kill(command.pid, signal.SIGINT)
        command.wait()
    return place


def poisoned(bed: Bed, name: str, which: Callable[[Place], Path], how: Callable[[Path], None]) -> Came:
    """One file of an interrupted run is damaged; the run goes on as if nothing had happened."""
    place = _half_done(bed).copy(name.replace(" ", "-"))
    victim = which(place)
    victim.parent.mkdir(parents=True, exist_ok=True)
    victim.touch()
    finished = place.finished()
    how(victim)
    if "attempts" in victim.parts:
        place.damaged.add(victim)
    lost = {victim.parent.name} if "work" in victim.parts else set[str]()
    command = place.command(_PLAIN)
    code = command.wait()
    if "segment" in name and code == 1:  # found when the film is joined; the next run makes it anew
        code = place.command(_PLAIN).wait()
    done = bed.ends_right(place, _PLAIN)
    redone = [
        row.shard_id
        for row in place.rows()
        if row.result is not None
        and not row.reused
        and row.attempt > 1
        and row.shard_id in finished
        and row.work_key not in lost
    ]
    came = judge(place, command, code, expected=0, resumed=done, sound=not place.unsound())
    return Came(code, came.what or "mended", came.sound, len(redone), done, came.as_expected)


def cache_rotten(bed: Bed) -> Came:
    """The prepared song is damaged in place: every shard fails in a way nobody foresaw, and the breaker trips."""
    place = bed.place("breaker")
    for mel in place.store.glob("cache/songs/*/*/*/mel.npy"):
        mel.write_bytes(b"\xff" * mel.stat().st_size)
        marker = mel.with_name("complete.json")  # of an old store, which cannot tell
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"sha256": {}}))
    command = place.command(_PLAIN)
    code = command.wait()
    reported = (place.run / "report.parquet").exists()
    shutil.rmtree(place.store / "cache" / "songs")
    done = bed.ends_right(place, _PLAIN)
    return judge(
        place, command, code, expected=1, resumed=done, classes="BUG", says="unforeseen failures", sound=reported
    )


def _poison(name: str, which: Callable[[Place], Path], how: Callable[[Path], None]) -> Fault:
    return partial(poisoned, name=name, which=which, how=how)


_DAMAGE = {"cut": _cut, "flipped": _flip, "rubbish": _rubbish}
_VICTIMS = {"attempt": _attempt_of, "plan": _plan, "commit.json": _committed, "segment": _segment}

DISK_FAULTS: dict[str, Fault] = {
    "disk of the store full": full_store,
    "disk of the run folder full": full_run_folder,
    "disk of the run folder read-only": read_only_run_folder,
    "disk: run folder deleted": run_folder_deleted,
    "disk: store deleted": store_deleted,
    "disk: two drivers": two_drivers,
    "disk: circuit breaker (rotten cache)": cache_rotten,
    **{
        f"disk: {victim} {damage}": _poison(f"{victim} {damage}", which, how)
        for victim, which in _VICTIMS.items()
        for damage, how in _DAMAGE.items()
    },
}
