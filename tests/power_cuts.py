"""What a disk may hold after a power cut, for every instant of a piece of work.

File operations are recorded as they happen. A file's content is safe once it was flushed, a name once its folder was.
Whatever was not flushed may be there, or not, or be there empty: of each instant some such images are made, among them
the two extremes, and a seeded few between them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "open")


@dataclass(frozen=True)
class _State:
    """Names and contents at one instant: as a program sees them, and as they are safe on the disk."""

    seen: dict[str, int | None]  # inode by relative path; None: a folder
    safe: dict[str, int | None]
    contents: dict[int, bytes]
    flushed: dict[int, bytes]


@dataclass
class Recorder:
    """The instants of some work below `root`, in order."""

    root: Path
    states: list[_State] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    _safe: dict[str, int | None] = field(default_factory=dict)
    _flushed: dict[int, bytes] = field(default_factory=dict)

    def mark(self) -> None:
        """Note that something was promised to be safe from here on."""
        self.marks.append(len(self.states))

    def note(self) -> None:
        """Note how things are now."""
        seen, contents = dict[str, int | None](), dict[int, bytes]()
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            seen[name] = None if path.is_dir() else path.stat().st_ino
            if not path.is_dir():
                contents[path.stat().st_ino] = path.read_bytes()
        self.states.append(_State(seen, dict(self._safe), contents, dict(self._flushed)))

    def flush(self, fd: int) -> None:
        """Note what a flush made safe."""
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if not path.is_relative_to(self.root):
            return
        if path.is_dir():
            folder = path.relative_to(self.root)
            for name in [name for name in self._safe if Path(name).parent == folder]:
                del self._safe[name]
            for entry in path.iterdir():
                self._safe[entry.relative_to(self.root).as_posix()] = None if entry.is_dir() else entry.stat().st_ino
        else:
            self._flushed[os.fstat(fd).st_ino] = path.read_bytes()

    def moved(self, source: Path, target: Path) -> None:
        """Note that a folder moved: what is safe in it is so under its new name, once that is safe itself."""
        before, now = (path.relative_to(self.root).as_posix() + "/" for path in (source, target))
        self._safe |= {
            now + name[len(before) :]: inode for name, inode in self._safe.items() if name.startswith(before)
        }

    def images(self, number: int, drawn: random.Random, num_random: int = 1) -> Iterator[dict[str, bytes | None]]:
        """What may be on the disk if the power fails at this instant; None is a folder."""
        state = self.states[number]
        yield _image(state.seen, state.contents)  # the program was killed, the machine was not
        yield _image(state.safe, state.flushed)  # nothing but what was flushed
        yield _image(state.seen, state.flushed)  # all names, and of contents what was flushed
        for _ in range(num_random):
            names = {
                name: (state.seen if drawn.random() < 0.5 else state.safe).get(name, -1)
                for name in {*state.seen, *state.safe}
            }
            contents = {
                inode: data if drawn.random() < 0.5 else state.flushed.get(inode, b"")
                for inode, data in state.contents.items()
            }
            yield _image({name: inode for name, inode in names.items() if inode != -1}, state.flushed | contents)


def _image(names: dict[str, int | None], contents: dict[int, bytes]) -> dict[str, bytes | None]:
    return {name: None if inode is None else contents.get(inode, b"") for name, inode in sorted(names.items())}


def lay_out(image: dict[str, bytes | None], folder: Path) -> Path:
    """Make an image real; names whose folder is not there are lost with it."""
    folder.mkdir()
    for name, content in image.items():
        path = folder / name
        if not path.parent.is_dir():
            continue
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder


@contextmanager
def recording(root: Path) -> Iterator[Recorder]:
    """Record every change below `root` that goes through `os`, before and after it happens."""
    recorder = Recorder(root)
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in (*_CHANGES, "fsync")}

    def noting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not (len(arguments) > 1 and arguments[1] & os.O_CREAT):
                return real[name](*arguments, **options)
            recorder.note()  # also what was written since the last change
            is_folder = name in ("rename", "replace") and Path(arguments[0]).is_dir()
            result = real[name](*arguments, **options)
            if is_folder:
                recorder.moved(Path(arguments[0]), Path(arguments[1]))
            recorder.note()
            return result

        return call

    def fsync(fd: int) -> None:
        recorder.note()
        real["fsync"](fd)
        recorder.flush(fd)
        recorder.note()

    with pytest.MonkeyPatch.context() as patch:
        for name in _CHANGES:
            patch.setattr(os, name, noting(name))
        patch.setattr(os, "fsync", fsync)
        yield recorder
    recorder.note()
