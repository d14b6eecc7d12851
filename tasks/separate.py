"""SEPARATE: the voice of a song, by a program of the user's choice, once per song and command.

The program is given the song and an empty folder, and leaves the voice there. Nothing of it passes through our memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from singalong.errors import DeadlineError, InfraError, MediaError, UsageError
from singalong.media.probe import probe_song
from singalong.settings import LimitSettings, SongSettings
from singalong.store import Store
from singalong.voices import separator_id

CACHE_KIND = "separated"
SLACK_S = 0.05
"""The voice may be this much longer or shorter than its song: more than a codec's padding that was not cut off, less
than the 2 frames by which lips may be off."""

_VOICE = "voice"
_PLACE = re.compile(r"\{(song|folder|output)\}")
_LOG_CHARS = 600
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # found before any fork, after which only calls are safe
_PR_SET_PDEATHSIG = 1
"""Linux: sys/prctl.h."""
_ACTION = "Run the command by hand on this song; then run again, or change songs.separator."


def check_separator(settings: SongSettings) -> None:
    """Raise UsageError for a program that cannot be found: that is better known before anything is made."""
    program = settings.separator[0]
    is_relative = os.sep in program and not Path(program).is_absolute()
    if is_relative or shutil.which(program) is None:
        raise UsageError(
            "the program that separates voices is not found",
            column="songs.separator",
            value=program,
            expected="a program on the PATH, or its absolute path",
        )


def separated_voice(path: Path, *, sha256: str, store: Store, settings: SongSettings, timeout_s: float) -> Path:
    """The file with the voice of a song, separated now unless the store holds it already.

    Raises InfraError where the program cannot be started or fails, DeadlineError where it takes longer than
    `timeout_s`, MediaError where what it leaves is not the voice of that song: not one file, or of another length.
    """
    name = separator_id(settings)
    assert name is not None
    folder = store.commit_cache(
        CACHE_KIND, sha256, name, lambda empty: _separate(path, empty, store, settings, timeout_s)
    )
    return next(folder.glob(f"{_VOICE}.*"))


def _separate(path: Path, target: Path, store: Store, settings: SongSettings, timeout_s: float) -> None:
    with store.temp_dir() as temp:
        folder = temp / "separated"
        folder.mkdir()
        _run(_command(settings, path, folder), path, temp, timeout_s)
        found = _found(folder, settings.separated, path)
        _check_length(found, path)
        found.rename(target / f"{_VOICE}{found.suffix.lower() or '.audio'}")


def _command(settings: SongSettings, song: Path, folder: Path) -> list[str]:
    places = {"song": song.absolute(), "folder": folder, "output": folder / "vocals.wav"}
    # all in one go: the name of a song may look like a place
    return [_PLACE.sub(lambda found: str(places[found[1]]), argument) for argument in settings.separator]


def _run(command: list[str], song: Path, temp: Path, timeout_s: float) -> None:
    """Run to the end, in a folder that goes away, with what it prints in a file."""
    log = temp / "log.txt"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=temp,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_us,
            )
        except OSError as exc:
            raise InfraError(
                f"the program that separates voices cannot be started: {exc.strerror}",
                file=song,
                value=command[0],
                action="Install it, or change songs.separator; then run again.",
            ) from exc
        try:
            code = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise DeadlineError(
                f"separating its voice took longer than {timeout_s:g} s",
                file=song,
                value=command[0],
                action="Raise songs.separator_timeout_s, and run.shard_timeout_s to a quarter more.",
            ) from exc
        finally:  # whatever ended the wait: its helpers must not outlive it
            _kill_group(process)
    if code != 0:
        raise InfraError(
            f"the program that separates voices failed with exit code {code}: {_last_words(log)}",
            file=song,
            value=command[0],
            action=_ACTION,
        )


def _die_with_us() -> None:
    """In the child: have the kernel end it when this worker is killed, too, which runs no `finally`."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4 * _LOG_CHARS))
        text = file.read().decode("utf-8", errors="replace")
    words = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return words[-_LOG_CHARS:] or "it printed nothing"


def _found(folder: Path, pattern: str, song: Path) -> Path:
    files = sorted(file for file in folder.glob(pattern) if file.is_file() and not file.is_symlink())
    if len(files) == 1:
        return files[0]
    left = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    raise MediaError(
        f"the program that separates voices left {'no' if not files else 'more than one'} file {pattern} of it",
        file=song,
        value=", ".join(left) or "an empty folder",
        expected="one file with the voice; songs.separated says its name",
        action=_ACTION,
    )


def _check_length(voice: Path, song: Path) -> None:
    limits = LimitSettings()
    try:
        voice_s = probe_song(voice, sha256="", limits=limits).duration_s
    except MediaError as exc:
        raise MediaError(f"its separated voice cannot be heard: {exc.problem}", file=song, action=_ACTION) from exc
    song_s = probe_song(song, sha256="", limits=limits).duration_s
    if abs(voice_s - song_s) > SLACK_S:
        raise MediaError(
            "its separated voice has another length",
            file=song,
            value=f"{voice_s:.3f} s",
            expected=f"{song_s:.3f} s, within {SLACK_S:g} s",
            action=_ACTION,
        )
