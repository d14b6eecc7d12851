"""The one exception tree of singalong, and the class every failure is filed under.

    SingalongError
    ├── InputError (ValueError)      INPUT         what a user gave cannot be used: missing, undecodable, wrong
    │   ├── ManifestError                          every problem of a manifest at once
    │   ├── MediaError                             a clip or song that cannot be read as asked
    │   ├── ChangedFileError                       a clip or song that is no longer the file that was planned
    │   ├── NoFaceError                            a clip in which no usable face was ever found
    │   ├── WeightsError                           a checkpoint that is not what it claims to be
    │   └── UsageError                             a command line or setting that makes no sense
    │       └── HeldError                          another driver is working on the run
    ├── TransientIOError             TRANSIENT_IO  storage that may answer the next time
    ├── ResourceError                RESOURCE      out of memory or disk
    ├── InfraError                   INFRA         an actor or node died
    ├── DeadlineError                TIMEOUT       a shard that outlived its deadline
    └── BugError                     BUG           anything we did not foresee

Third-party exceptions are mapped to this tree once, at the border, by `classify`.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from pathlib import Path
from typing import Any

_SPACE = "Free some space, or move the store and the run folder to a larger disk, then run again."
_MEMORY = "Run fewer workers (--set run.num_actors=N) or smaller batches (--set run.batch_size=N)."
_HANDLES = "Raise the limit on open files (ulimit -n), or run fewer workers (--set run.num_actors=N)."
_RESOURCE_ACTIONS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EROFS: "Make the disk writable, or move the store and the run folder, then run again.",
    errno.ENOMEM: _MEMORY,
    errno.EMFILE: _HANDLES,
    errno.ENFILE: _HANDLES,
}
_TRANSIENT_ERRNOS = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.ENOTCONN),
        *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)
_INPUT_ERRNOS = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
_MAX_SHOWN = 200
"""Nobody reads more problems than this; a manifest of a hundred thousand rows can have as many."""
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "insufficient memory"),
    *("failed to allocate memory", "bad_alloc", "bad allocation", "failed to map segment", "can't start new thread"),
)
"""What torch, OpenCV, ONNX Runtime, the loader of libraries and Python's threads write when an allocation fails; they
have no common exception for it."""


class ErrorClass(StrEnum):
    """How a failure is treated: each class has one retry policy (see `tasks.dispatch`)."""

    INPUT = "INPUT"
    TRANSIENT_IO = "TRANSIENT_IO"
    RESOURCE = "RESOURCE"
    INFRA = "INFRA"
    TIMEOUT = "TIMEOUT"
    BUG = "BUG"


class SingalongError(Exception):
    """A failure with a class and a message a person can act on.

    The message names the file, the place in it and the value seen, then what was expected, then what to do.
    """

    error_class: ErrorClass = ErrorClass.BUG

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        value: object = None,
        expected: str | None = None,
        action: str | None = None,
    ) -> None:
        self.problem, self.file, self.row, self.column = problem, file, row, column
        self.value, self.expected, self.action = value, expected, action
        super().__init__(self._message())

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with the finished message as the problem.
        return _restore, (type(self), str(self), self.__dict__)

    def _message(self) -> str:
        place = [str(self.file)] if self.file is not None else []
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column}")
        text = f"{', '.join(place)}: {self.problem}" if place else self.problem
        if self.value is not None:
            text += f" (saw {_short(self.value)})"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.action:
            text += f". {self.action}"
        return text


def _restore(kind: type[SingalongError], message: str, state: dict[str, Any]) -> SingalongError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


class InputError(SingalongError, ValueError):
    """Something a user gave cannot be used; trying again will not help."""

    error_class = ErrorClass.INPUT

    def within(self, place: str, *, has_rows: bool = True) -> InputError:
        """The same, told of what lies at `place`; without its row where that is part of the place."""
        return type(self)(
            self.problem,
            file=place,
            row=self.row if has_rows else None,
            column=self.column,
            value=self.value,
            expected=self.expected,
            action=self.action,
        )

    def at(self, place: str | None) -> InputError:
        """The same, told of a row by its place: the number of a row of several files says nothing to a person."""
        return self if place is None or self.row is None else self.within(place, has_rows=False)


class ManifestError(InputError):
    """A manifest with one or more problems, all of them in `problems`."""

    def __init__(self, problems: list[InputError], *, file: str | Path) -> None:
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems[:_MAX_SHOWN])
        if len(problems) > _MAX_SHOWN:
            lines += f"\n  … and {len(problems) - _MAX_SHOWN} more"
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{len(problems)} {noun} in the manifest:\n{lines}", file=file)


class MediaError(InputError):
    """A clip, song or still that cannot be read as asked."""


class ChangedFileError(InputError):
    """A clip or song is gone, or holds something else than when the run was planned; no fault of what was planned."""


class NoFaceError(InputError):
    """No usable face was found in the whole clip span."""


class WeightsError(InputError):
    """A checkpoint that is damaged, unsafe, or of another network."""


class UsageError(InputError):
    """A command line or a setting that makes no sense."""


class HeldError(UsageError):
    """Another driver is working on the run."""


class TransientIOError(SingalongError):
    """Storage failed in a way that may pass."""

    error_class = ErrorClass.TRANSIENT_IO


class ResourceError(SingalongError):
    """Out of memory, disk or file handles."""

    error_class = ErrorClass.RESOURCE


class InfraError(SingalongError):
    """The actor or node that did the work died."""

    error_class = ErrorClass.INFRA


class DeadlineError(SingalongError):
    """The work outlived its deadline and was killed."""

    error_class = ErrorClass.TIMEOUT


class BugError(SingalongError):
    """Something we did not foresee: a defect of singalong or of a library it uses."""

    error_class = ErrorClass.BUG


def classify(error: BaseException) -> SingalongError:
    """Map any exception to the tree; errors of ours pass through unchanged."""
    if isinstance(error, SingalongError):
        return error
    if _is_out_of_memory(error):
        return ResourceError(f"out of memory: {str(error) or 'allocation failed'}", action=_MEMORY)
    if isinstance(error, OSError):
        found = _classify_os_error(error)
        if found is not None:
            return found
    return BugError(
        f"{type(error).__name__}: {error}",
        action="This is a defect: please report it with the log of this attempt (singalong logs RUN SHARD).",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    has_errno = isinstance(error, OSError) and error.errno is not None
    return not has_errno and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def _classify_os_error(error: OSError) -> SingalongError | None:
    file = error.filename2 or error.filename  # of two, the second is what was to be written
    text = error.strerror or str(error) or type(error).__name__
    if error.errno in _RESOURCE_ACTIONS:
        return ResourceError(text, file=file, action=_RESOURCE_ACTIONS[error.errno])
    if error.errno in _TRANSIENT_ERRNOS or isinstance(error, ConnectionError | TimeoutError):
        return TransientIOError(text, file=file, action="Check the disk or the network, then run again.")
    if error.errno in _INPUT_ERRNOS:
        return InputError(
            text,
            file=file,
            expected="a path that can be read, or written where an output goes",
            action="Check the path and its permissions.",
        )
    return None
