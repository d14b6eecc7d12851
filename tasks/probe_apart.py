"""Probing apart: media from strangers is opened in a child process first, with little memory and a time limit.

libav is large, and files exist that make it crash, ask for all memory, or never come back. Whatever such a file does,
it does to the child: the caller gets a MediaError for it, and the next file gets a new child.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import Any, TypeVar

from singalong.contracts import ClipFacts, SongFacts
from singalong.errors import (
    BugError,
    ErrorClass,
    InfraError,
    MediaError,
    ResourceError,
    SingalongError,
    TransientIOError,
)
from singalong.settings import LimitSettings
from tasks.child import Child, ChildGoneError

_BYTES_A_SECOND = 2e5
"""Songs are decoded whole: at 1.1 to 1.8 MB/s where compressed, measured on a core that others share."""
_ACTION = "Play it in a media player; if it does not play there, get the file again or convert it to MP4."
_ERRORS: dict[ErrorClass, type[SingalongError]] = {
    ErrorClass.INPUT: MediaError,
    ErrorClass.RESOURCE: ResourceError,
    ErrorClass.TRANSIENT_IO: TransientIOError,
}

Facts = TypeVar("Facts", ClipFacts, SongFacts)


class Prober:
    """Keeps one child for all files that behave."""

    def __init__(self, module: str = "tasks.probe_child") -> None:
        self._module = module
        self._lock = threading.Lock()
        self._child: Child | None = None

    def probe(self, path: Path, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask the child, or a new one. Raises MediaError where the file is the death of it."""
        with self._lock:
            child = self._ready()
            try:
                return child.ask(request, timeout_s)
            except TimeoutError:
                self._drop()
                raise MediaError(
                    "finding out what it holds takes too long",
                    file=path,
                    expected=f"an answer within {timeout_s:.0f} s",
                    action=f"{_ACTION} If it is sound, raise limits.probe_timeout_s.",
                ) from None
            except ChildGoneError:
                reason = self._drop(grace_s=1.0)
                raise MediaError(
                    f"reading it ends the process that tries ({reason}): it is damaged or made to do harm",
                    file=path,
                    expected="a media file that can be read",
                    action=_ACTION,
                ) from None
            except BaseException:
                self._drop()  # interrupted while it works: its answer would be taken for that to the next question
                raise

    def _ready(self) -> Child:
        if self._child is None or self._child.pid_of_owner != os.getpid():
            try:
                self._child = Child(self._module)
            except (OSError, TimeoutError, ChildGoneError) as exc:
                raise InfraError(
                    f"the process that looks into media cannot be started: {type(exc).__name__} {exc}",
                    expected=f"that {sys.executable} can import av",
                    action="Run `singalong doctor`, free some memory, then run again.",
                ) from exc
        return self._child

    def _drop(self, grace_s: float = 0.0) -> str:
        child, self._child = self._child, None
        return child.close(grace_s) if child is not None else ""

    def close(self) -> None:
        """End the child, if there is one."""
        self._drop()


_prober = Prober()
atexit.register(_prober.close)


def probe_clip_apart(path: Path, *, sha256: str, limits: LimitSettings, still_fps: int) -> ClipFacts:
    """As `singalong.media.probe.probe_clip`, in a child process; MediaError also where that dies or takes too long."""
    return _probe(ClipFacts, path, {"kind": "clip", "sha256": sha256, "still_fps": still_fps}, limits)


def probe_song_apart(path: Path, *, sha256: str, limits: LimitSettings) -> SongFacts:
    """As `singalong.media.probe.probe_song`, in a child process; MediaError also where that dies or takes too long."""
    return _probe(SongFacts, path, {"kind": "song", "sha256": sha256}, limits)


def _probe(model: type[Facts], path: Path, request: dict[str, Any], limits: LimitSettings) -> Facts:
    try:
        timeout_s = limits.probe_timeout_s + path.stat().st_size / _BYTES_A_SECOND
    except OSError:
        timeout_s = limits.probe_timeout_s
    answer = _prober.probe(path, {"path": str(path), "limits": limits.model_dump(), **request}, timeout_s)
    if "facts" in answer:
        return model.model_validate(answer["facts"])
    raise _error_of(answer["error"])


def _error_of(content: dict[str, Any]) -> SingalongError:
    kind = _ERRORS.get(ErrorClass(content.pop("error_class")), BugError)
    return kind(content.pop("problem"), **content)
