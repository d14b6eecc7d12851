"""Errors: a message a person can act on, and one class for every exception there is."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from singalong.errors import (
    BugError,
    DeadlineError,
    ErrorClass,
    InfraError,
    InputError,
    ManifestError,
    MediaError,
    NoFaceError,
    ResourceError,
    SingalongError,
    TransientIOError,
    UsageError,
    WeightsError,
    classify,
)


def test_a_message_names_place_value_expectation_and_action_in_this_order() -> None:
    error = InputError(
        "not a number", file="m.csv", row=3, column="priority", value="x", expected="10", action="Mend it."
    )
    assert str(error) == "m.csv, row 3, column priority: not a number (saw 'x'); expected 10. Mend it."
    assert str(InputError("empty")) == "empty"
    assert str(InputError("zero", value=0)) == "zero (saw 0)"


def test_long_values_are_cut() -> None:
    message = str(InputError("long", value="x" * 1000))
    assert len(message) < 200
    assert "(1002 characters)" in message


def test_what_a_user_can_cause_is_a_value_error_and_what_storage_does_is_not() -> None:
    for kind in (InputError, MediaError, NoFaceError, WeightsError, UsageError):
        assert issubclass(kind, ValueError)
        assert kind.error_class is ErrorClass.INPUT
    for kind in (TransientIOError, ResourceError, InfraError, DeadlineError, BugError):
        assert not issubclass(kind, ValueError)


def test_every_class_of_error_has_an_exception() -> None:
    kinds = (InputError, TransientIOError, ResourceError, InfraError, DeadlineError, BugError)
    assert {kind.error_class for kind in kinds} == set(ErrorClass)


def test_a_manifest_error_tells_all_problems() -> None:
    error = ManifestError([InputError("one", row=1), InputError("two", row=2)], file="m.csv")
    assert str(error) == "m.csv: 2 problems in the manifest:\n  row 1: one\n  row 2: two"
    assert str(ManifestError([InputError("one")], file="m.csv")).startswith("m.csv: 1 problem in")


@pytest.mark.parametrize(
    "error",
    [
        InputError("bad", file="f", row=1, column="c", value=2, expected="3", action="Mend it."),
        ManifestError([InputError("one", row=1)], file="m.csv"),
        TransientIOError("slow", file="f"),
    ],
)
def test_errors_survive_the_way_between_processes(error: SingalongError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert (copy.problem, copy.file, copy.row, copy.column) == (error.problem, error.file, error.row, error.column)


def test_our_own_errors_are_classified_as_what_they_are() -> None:
    error = MediaError("no video stream")
    assert classify(error) is error


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, ResourceError, "Free some space"),
        (errno.EDQUOT, ResourceError, "Free some space"),
        (errno.EROFS, ResourceError, "writable"),
        (errno.EMFILE, ResourceError, "ulimit"),
        (errno.ENOMEM, ResourceError, "run.batch_size"),
        (errno.EIO, TransientIOError, "try|run again"),
        (errno.ESTALE, TransientIOError, "run again"),
        (errno.ETIMEDOUT, TransientIOError, "run again"),
        (errno.ENOENT, InputError, "Check the path"),
        (errno.EACCES, InputError, "permissions"),
        (errno.EISDIR, InputError, "Check the path"),
        (errno.ENOTDIR, InputError, "Check the path"),
        (errno.ENAMETOOLONG, InputError, "Check the path"),
    ],
)
def test_errors_of_the_file_system_name_the_file_and_what_to_do(
    code: int, kind: type[SingalongError], words: str
) -> None:
    error = classify(OSError(code, os.strerror(code), "/data/clip.mp4"))
    assert type(error) is kind
    assert str(error).startswith(f"/data/clip.mp4: {os.strerror(code)}")
    assert any(word in str(error) for word in words.split("|"))


@pytest.mark.parametrize("error", [ConnectionResetError("peer"), TimeoutError("slow"), BrokenPipeError("pipe")])
def test_broken_connections_may_heal(error: OSError) -> None:
    assert classify(error).error_class is ErrorClass.TRANSIENT_IO


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        Exception("OpenCV: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
    ],
)
def test_whoever_runs_out_of_memory_is_told_how_to_use_less(error: Exception) -> None:
    found = classify(error)
    assert found.error_class is ErrorClass.RESOURCE
    assert "--set run.batch_size=N" in str(found)


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError("by zero"), OSError(), FileExistsError("there")])
def test_what_was_not_foreseen_is_a_bug_that_names_its_kind(error: Exception) -> None:
    found = classify(error)
    assert found.error_class is ErrorClass.BUG
    assert type(error).__name__ in str(found)


def test_of_two_files_the_one_that_was_to_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileNotFoundError) as caught:
        os.link(tmp_path / "a", tmp_path / "nowhere" / "b")
    assert classify(caught.value).file == str(tmp_path / "nowhere" / "b")
