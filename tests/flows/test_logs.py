"""`singalong logs`: of whole runs, of killed workers, of names that mean to do harm."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from flows.order import run_stages
from singalong.config import Settings, load_settings
from singalong.errors import ErrorClass
from singalong.run_logs import read_log
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.logs import is_over
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.flows.console import call
from tests.singalong.builders import attempt, pair_row, plan_of


def run(inputs: Path, folder: Path, rows: list[str], *overrides: str) -> RunFolder:
    manifest = inputs / f"{folder.name}.csv"
    manifest.write_text("\n".join(["pair_id,clip,song,song_start_s,song_end_s", *rows]) + "\n")
    settings = load_settings(None, [f"run.store={folder.parent / 'store'}", *overrides])
    plan, table = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    made = RunFolder.create(folder, plan, settings, manifest=table)
    with made.lock(), Session(made) as session:
        run_stages(session)
    return made


@pytest.fixture(scope="module")
def finished(demo_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A pair of two shards, and a still without a face."""
    Image.new("RGB", (320, 240), (90, 120, 90)).save(demo_inputs / "wall.png")
    rows = ["good,clip1_640x360.mp4,song.wav,0,0.6", "wall,wall.png,song.wav,0,0.4"]
    folder = tmp_path_factory.mktemp("logs") / "run"
    return run(demo_inputs, folder, rows, "run.executor=inprocess", "plan.shard_s=0.4")


def test_every_attempt_and_step_has_a_log_with_the_drivers_words_around_the_workers(finished: RunFolder) -> None:
    for shard in finished.plan.shards:
        lines = read_log(finished.logs.of_shard(shard.shard_id, 1))
        stages = [line.stage for line in lines]
        assert (stages[0], stages[1], stages[-1]) == ("driver", "worker", "driver")
        assert lines[-1].fields["final"] is True
        assert is_over(finished, shard.shard_id)
    steps = {folder.name.split("_")[0] for folder in (finished.logs.folder / "steps").iterdir()}
    assert steps == {"analyse", "song", "join"}


def test_a_pair_means_all_its_shards_and_a_name_may_be_cut_short(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "logs", finished.path, "good") == 0
    text = capsys.readouterr().out
    assert "good-0000  attempt 1 of 1: done" in text
    assert "good-0001  attempt 1 of 1: done" in text
    assert call(monkeypatch, "logs", finished.path, "wall-", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["logs"]
    assert (found["shard"], found["outcome"]) == ("wall-0000", "failed (INPUT)")
    assert call(monkeypatch, "logs", finished.path, "join good") == 0
    assert "attempt 1 of 1: done" in capsys.readouterr().out


def test_all_that_failed_is_shown_at_once(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "logs", finished.path, "--failed") == 0
    text = capsys.readouterr().out
    assert "wall-0000" in text
    assert "no usable face" in text
    assert "good-" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["good-"], "good-0000, good-0001"),
        (["goud"], "perhaps good"),
        ([], "--failed"),
        (["good", "--failed"], "or --failed"),
        (["good", "--attempt", "1"], "--attempt is of one shard"),
        (["good-0000", "--attempt", "7"], "expected one of 1"),
    ],
)
def test_what_means_nothing_or_too_much_exits_with_2_and_says_what_there_is(
    arguments: list[str],
    expected: str,
    finished: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "logs", finished.path, *arguments) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_text_of_strangers_moves_nothing_in_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run", plan_of([pair_row()]), Settings())
    name = folder.plan.shards[0].shard_id
    path = folder.logs.of_shard(name, 1)
    assert folder.logs.begin(path)
    evil = "a\x1b[2J\x1b]0;owned\x07\r\x9b\u202e[bold]b\nTraceback\udcff"
    folder.logs.tell(path, "warning", evil, evil, clip=evil, traceback=evil, settings={evil: evil}, number=[evil])
    with path.open("ab") as file:
        file.write(evil.encode(errors="replace") + b"\xff\n")
    for options in ([], ["--follow"]):
        assert call(monkeypatch, "logs", folder.path, name, *options) == 0
        text = capsys.readouterr().out
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "\\x1b[2J" in text
        assert "[bold]b" in text


def test_shards_without_a_log_are_told_of_by_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run", plan_of([pair_row()]), Settings())
    first, second, _ = folder.plan.shards
    folder.record(attempt(first, reused=True))
    assert call(monkeypatch, "logs", folder.path, first.shard_id) == 0
    assert "the store held it" in capsys.readouterr().out
    assert call(monkeypatch, "logs", folder.path, second.shard_id) == 0
    assert "nothing was tried yet" in capsys.readouterr().out


def test_following_shows_lines_as_they_come_through_retries_to_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run", plan_of([pair_row()]), Settings())
    name = folder.plan.shards[0].shard_id

    def work() -> None:
        for number in (1, 2):
            path = folder.logs.of_shard(name, number)
            folder.logs.begin(path)
            folder.logs.tell(path, "info", "driver", f"try {number}")
            with path.open("ab") as file:
                file.write(b'{"time": "", "level": "info", "stage": "worker", ')
                file.flush()
                time.sleep(1.2)
                file.write(b'"message": "whole"}\n')
            folder.logs.tell(path, "info", "driver", f"end {number}", final=number == 2)

    with folder.lock():
        worker = threading.Thread(target=work)
        worker.start()
        assert call(monkeypatch, "logs", folder.path, name, "--follow", "--json") == 0
        worker.join()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in told] == ["try 1", "whole", "end 1", "try 2", "whole", "end 2"]


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
def test_a_worker_killed_at_work_leaves_where_it_was_and_the_driver_says_what_became_of_it(
    demo_inputs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    log = folder / "logs" / "p-0000" / "0001.jsonl"
    last: list[str] = []

    def kill() -> None:
        while not any(line.level == "debug" for line in read_log(log)):
            time.sleep(0.005)
        pid = next(line.fields["pid"] for line in read_log(log) if "pid" in line.fields)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        last.extend(line.stage for line in read_log(log))
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    made = run(demo_inputs, folder, ["p,clip1_640x360.mp4,song.wav,0,3"], "run.num_actors=1")
    killer.join(5)
    lines = read_log(log)
    assert [line.stage for line in lines] == [*last, "driver"], "nothing of what it told is lost"
    assert lines[-2].level == "debug"
    assert lines[-2].fields["frames"][0] == 0
    assert "the worker died while doing this" in lines[-1].message
    assert "will be tried again" in lines[-1].message
    assert lines[-1].fields["error_class"] == ErrorClass.INFRA
    second = read_log(made.logs.of_shard("p-0000", 2))
    assert second[0].fields["retries"] == {"INFRA": 1}
    assert (second[-1].message, second[-1].fields["final"]) == ("done", True)
