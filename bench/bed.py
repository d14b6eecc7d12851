"""What faults are suffered on: inputs, an undisturbed run to compare with, and what came of a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.rough import Command, Place, make_inputs, segments


@dataclass(frozen=True)
class Came:
    """What came of a fault.

    Attributes:
        exit_code: of the command that suffered it.
        what: classes of the failures, or what was said.
        sound: nothing half-written was visible, and the fold said what the files say.
        num_redone: finished shards that were made again.
        resumed: whether the same command then came to a complete run with the right bytes; None: not tried.
        as_expected: exit code and classes are those they should be.
        seconds: from the fault to the end of the command, where that counts.
    """

    exit_code: int
    what: str
    sound: bool
    num_redone: int
    resumed: bool | None
    as_expected: bool
    seconds: float | None = None

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return self.sound and self.as_expected and self.num_redone == 0 and self.resumed is not False


@dataclass
class Bed:
    """What all faults share: inputs, an undisturbed run with its segments, and its warm caches."""

    home: Path
    undisturbed: Place
    truth: dict[str, str]

    def place(self, name: str) -> Place:
        """A place for a run of its own, with warm caches and no work."""
        return self.undisturbed.copy(name.replace(" ", "-"), with_work=False)

    def ends_right(self, place: Place, *overrides: str) -> bool:
        """Whether the same command again comes to the end, with the very same bytes."""
        return place.command(*overrides).wait() == 0 and dict(segments(place)) == self.truth and not place.unsound()


def make_bed(home: Path, *, song_s: float = 1.0) -> Bed:
    """Make the inputs and the undisturbed run."""
    manifest = make_inputs(home / "inputs", song_s=song_s)
    place = Place(manifest, home / "truth" / "store", home / "truth" / "run", home)
    (home / "truth").mkdir(exist_ok=True)
    command = place.command("run.executor=inprocess")
    if command.wait() != 0:
        raise SystemExit(f"the undisturbed run failed:\n{command.said()}")
    return Bed(home, place, dict(segments(place)))


Fault = Callable[[Bed], Came]


def judge(
    place: Place,
    command: Command,
    code: int,
    *,
    expected: int,
    resumed: bool | None,
    classes: str | None = None,
    says: str = "",
    seconds: float | None = None,
    sound: bool = True,
) -> Came:
    """What came of a fault, once the command that suffered it has ended and was resumed.

    `classes`: of the failures that must be among those recorded, separated by blanks. `says`: words that must be in
    what the command printed. `sound`: what was found before the run was resumed.
    """
    failures = place.failures()
    said = command.said()
    wanted = (classes or "").split()
    as_expected = code == expected and all(name in failures for name in wanted) and says in " ".join(said.split())
    as_expected = as_expected and "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip()]
    what = ", ".join(f"{count} {name}" for name, count in failures.items()) or (lines[-1] if lines else "")
    if not as_expected:
        what += f" | expected exit {expected}, {wanted}, {says!r}; it said: {said[-600:]}"
    return Came(code, what, sound, len(place.made_twice()), resumed, as_expected, seconds)


def is_sound(place: Place) -> bool:
    """Whether nothing half-written is visible and the fold says what the files say."""
    return not place.unsound() and not place.untold()
