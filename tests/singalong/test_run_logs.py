"""Logs of a run as files: whole lines whatever is in them, and readable whatever is left of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from singalong.run_logs import MAX_MESSAGE, MAX_TRACE, RunLogs, parse_line, read_log, step_folder

HOSTILE = "a\nb\r\x1b]0;title\x07\x9b31m\u2028\u202eevil\udcff\x00"


@pytest.fixture
def logs(tmp_path: Path) -> RunLogs:
    return RunLogs(tmp_path)


def begun(logs: RunLogs) -> Path:
    path = logs.of_shard("p-0000", 1)
    assert logs.begin(path)
    return path


def test_hostile_text_stays_in_its_line_and_comes_back_as_it_was(logs: RunLogs) -> None:
    path = begun(logs)
    logs.tell(path, "info", "driver", HOSTILE, clip=HOSTILE)
    logs.tell(path, "info", "driver", "next")
    data = path.read_bytes()
    assert data.count(b"\n") == 2
    assert all(byte in range(0x20, 0x7F) or byte == 0x0A for byte in data)
    first, second = read_log(path)
    assert (first.message, first.fields, second.message) == (HOSTILE, {"clip": HOSTILE}, "next")


def test_a_line_that_a_killed_worker_left_unfinished_does_not_swallow_the_drivers_word(logs: RunLogs) -> None:
    path = begun(logs)
    path.write_bytes(b'{"time": "t", "level": "info", "stage": "decode", "mess')
    logs.tell(path, "error", "driver", "the worker died")
    torn, word = read_log(path)
    assert (torn.stage, word.message) == ("crash", "the worker died")


def test_what_a_crashing_library_wrote_between_the_lines_is_kept(logs: RunLogs) -> None:
    path = begun(logs)
    logs.tell(path, "info", "worker", "begins")
    with path.open("ab") as file:
        file.write(b"Fatal Python error: Segmentation fault\n\nCurrent thread:\n")
    logs.tell(path, "error", "driver", "died")
    assert [line.message for line in read_log(path)] == [
        *("begins", "Fatal Python error: Segmentation fault", "Current thread:", "died")
    ]


def test_long_texts_keep_their_start_and_their_end(logs: RunLogs) -> None:
    path = begun(logs)
    trace = "first" + "x" * 1_000_000 + "last"
    logs.tell(path, "error", "worker", trace, traceback=trace)
    assert path.stat().st_size < MAX_MESSAGE + MAX_TRACE + 1000
    (line,) = read_log(path)
    for text in (line.message, line.fields["traceback"]):
        assert text.startswith("first")
        assert text.endswith("last")


@pytest.mark.parametrize("line", [b"[1]", b'"text"', b'{"fields": 3}', b"[" * 100_000, b"\xff\xfe", b"NaN"])
def test_any_bytes_are_some_line(line: bytes) -> None:
    assert isinstance(parse_line(line).message, str)


def test_a_log_is_not_written_where_the_run_folder_is_gone(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path / "gone")
    path = logs.of_shard("p-0000", 1)
    assert not logs.begin(path)
    logs.tell(path, "info", "driver", "nobody hears this")
    assert not (tmp_path / "gone").exists(), "it would come back as a folder that is no run"
    assert read_log(path) == []


def test_steps_of_any_name_have_folders_of_their_own(logs: RunLogs) -> None:
    names = ["join a", "join_a", "join ../../etc/passwd", "join " + "x" * 4000, "join " + "x" * 4001, HOSTILE]
    folders = {step_folder(name) for name in names}
    assert len(folders) == len(names)
    for name in names:
        path = logs.of_next_step(name)
        assert path.parent.parent == logs.folder / "steps"
        assert logs.begin(path)
        logs.tell(path, "info", "driver", "handed out", item=name)
        assert logs.of_next_step(name).name == "0002.jsonl"
        assert json.loads(path.read_bytes())["fields"]["item"]
