"""`singalong logs`."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from flows.exit_codes import EXIT_OK
from flows.terminal import out, print_json
from singalong.errors import UsageError
from singalong.remote_run import refresh, run_at
from singalong.run_logs import LogLine, read_log, worker_part
from singalong.runfolder import RunFolder
from tasks.logs import AttemptText, failed_names, is_over, names_of, read_attempt, shown_lines

_COLOURS = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}
_POLL_S = 0.5
_INDENT = " " * 13


def logs_command(
    run: str | Path, shard: str | None, *, attempt: int | None, failed: bool, follow: bool, as_json: bool
) -> int:
    """Show what was told of attempts, the last of each shard by default; with `follow` until they are over."""
    with run_at(run) as path:
        refresh(path, logs=True)
        return _logs(RunFolder.open(path), shard, attempt=attempt, failed=failed, follow=follow, as_json=as_json)


def _logs(
    folder: RunFolder, shard: str | None, *, attempt: int | None, failed: bool, follow: bool, as_json: bool
) -> int:
    names = _names(folder, shard, failed=failed)
    if attempt is not None and len(names) != 1:
        raise UsageError("--attempt is of one shard", value=attempt, expected=f"one of {', '.join(names[:5])}")
    if follow:
        _follow(folder, names, attempt, as_json=as_json)
        return EXIT_OK
    texts = [text for name in names if (text := read_attempt(folder, name, attempt)) is not None]
    if as_json:
        print_json({"run": folder.location, "logs": [_document(text) for text in texts]})
        return EXIT_OK
    for text in texts:
        _show(text)
    if not texts:
        out.print("nothing was tried yet" if names else "no shard failed")
    return EXIT_OK


def _names(folder: RunFolder, shard: str | None, *, failed: bool) -> list[str]:
    if failed == (shard is not None):
        raise UsageError("which shard?", expected="the name of a shard or a pair, or --failed")
    return failed_names(folder) if shard is None else names_of(folder, shard)


def _follow(folder: RunFolder, names: Sequence[str], attempt: int | None, *, as_json: bool) -> None:
    """Show lines as they are written, until all is over, or nobody works on the run any more."""
    shown: dict[Path, int] = {}
    while True:
        refresh(folder.path, logs=True)
        last_look = folder.holder() is None or all(is_over(folder, name) for name in names)
        for name in names:
            numbers = [n for n in folder.logs.attempts(name) if attempt in (None, n)]
            begun = [n for n in numbers if folder.logs.of_shard(name, n) in shown] or numbers[-1:]
            for number in [n for n in numbers if begun and n >= begun[0]]:
                file = folder.logs.of_shard(name, number)
                for path in (file, worker_part(file)):
                    lines = read_log(path, unfinished=last_look)
                    for line in lines[shown.get(path, 0) :]:
                        _show_followed(name, number, line, as_json=as_json)
                    shown[path] = len(lines)
        sys.stdout.flush()
        if last_look:
            return
        time.sleep(_POLL_S)


def _show_followed(name: str, number: int, line: LogLine, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"shard": name, "attempt": number, **line.model_dump()}) + "\n")
    else:
        out.print(Text(f"{printable(name)} {number} ", "cyan").append_text(_line(line)), soft_wrap=True)


def _document(text: AttemptText) -> dict[str, Any]:
    lines = [line.model_dump() for line in text.lines]
    return {
        "shard": text.name,
        "attempt": text.attempt,
        "outcome": text.outcome,
        "file": str(text.file),
        "lines": lines,
    }


def _show(text: AttemptText) -> None:
    title = f"{printable(text.name)}  attempt {text.attempt} of {text.num_attempts}: {text.outcome}"
    out.print(Text(title, "bold").append(f"  {printable(str(text.file))}", "not bold dim"), soft_wrap=True)
    for line in shown_lines(text.lines):
        out.print(_line(line), soft_wrap=True)
    if not text.lines:
        out.print(Text("  no log was kept of it", "dim"))
    for step in text.blamed:
        out.print(Text(f"  see what failed before: singalong logs RUN {shlex.quote(printable(step))}", "yellow"))


def _line(line: LogLine) -> Text:
    """A line for people: time of day, stage, message; beside it or below what else there is."""
    colour = _COLOURS.get(line.level, "")
    text = Text(f"{printable(line.time[11:23]):<12} ", "dim")
    text.append(f"{printable(line.stage):<10} ", "cyan")
    text.append(printable(line.message), colour)
    short = {name: value for name, value in line.fields.items() if _is_short(value)}
    if short:
        text.append("  " + "  ".join(f"{printable(name)}={_value(value)}" for name, value in short.items()), "dim")
    for name, value in line.fields.items():
        if name not in short and value:
            _append_long(text, name, value)
    return text


def _append_long(text: Text, name: str, value: Any) -> None:
    if isinstance(value, dict):
        parts = "  ".join(f"{printable(str(key))}={_value(part)}" for key, part in value.items())
        text.append(f"\n{_INDENT}{printable(name)}: {parts}", "dim")
        return
    for number, row in enumerate(str(value).rstrip("\n").split("\n")):
        text.append(f"\n{_INDENT}{f'{printable(name)}: ' if number == 0 else ''}{printable(row)}", "dim")


def _is_short(value: Any) -> bool:
    return not isinstance(value, dict) and "\n" not in str(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(value if isinstance(value, str) else json.dumps(value))


def printable(text: str) -> str:
    """The text with whatever could move the cursor, change colours or turn the reading direction spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
