"""Logs of runs at URLs, whose workers may be on machines that do not have the driver's folder."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from singalong.config import Settings
from singalong.objects import ObjectFolder
from singalong.remote_run import refresh, run_at
from singalong.run_logs import parse_line, read_log, worker_part
from singalong.runfolder import RunFolder
from tasks.attempt_log import attempt_log, note
from tasks.attempt_log_driver import begin_log, end_log
from tasks.dispatch import Item
from tasks.jobs import LogPlace, Outcome, SongJob
from tasks.logs import read_attempt
from tests.object_server import ObjectServer
from tests.singalong.builders import pair_row, plan_of


def test_a_worker_elsewhere_sends_its_log_at_the_end_and_leaves_nothing_behind(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    file = tmp_path / "there by chance" / "0001.jsonl"
    file.parent.mkdir()
    place = LogPlace(path=str(file), host="another machine", url=f"{bucket_url}/run/logs/s/0001.worker.jsonl")
    with attempt_log(place, owns_process=False):
        note("hello")
    sent = ObjectFolder.at(f"{bucket_url}/run/logs/s").read("0001.worker.jsonl")
    assert parse_line(sent.rstrip()).message == "hello"
    assert not file.exists()
    assert not list((tmp_path / "temp").iterdir())


def test_a_worker_on_the_drivers_machine_writes_where_the_driver_does(tmp_path: Path) -> None:
    place = LogPlace(path=str(tmp_path / "0001.jsonl"), host=socket.gethostname(), url="s3://none/0001.worker.jsonl")
    with attempt_log(place, owns_process=False):
        note("hello")
    assert [line.message for line in read_log(Path(place.path))] == ["hello"]


def test_a_store_that_is_away_costs_the_log_and_not_the_work(
    object_server: ObjectServer, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.1")
    object_server.lose()
    with attempt_log(LogPlace(path="/none/0001.jsonl", host="x", url=f"{bucket_url}/l.jsonl"), owns_process=False):
        note("hello")
    object_server.regain()


def test_the_words_of_driver_and_worker_are_read_as_one_log_from_the_url(bucket_url: str) -> None:
    url = f"{bucket_url}/run"
    with run_at(url, drive=True) as path:
        folder = RunFolder.create(path, plan_of([pair_row()]), Settings())
        name = folder.plan.shards[0].shard_id
        log = folder.logs.of_shard(name, 1)
        place = begin_log(folder.logs, log, Item(name, SongJob(path="s", sha256="0" * 64)), attempt=1)
        assert place is not None
        assert place.url == f"{url}/logs/{name}/{worker_part(log).name}"
        with attempt_log(place.model_copy(update={"host": "another machine"}), owns_process=False):
            note("made")
        end_log(folder.logs, log, Outcome(worker="another machine:1"), final=True)
    with run_at(url) as path:
        refresh(path, logs=True)
        text = read_attempt(RunFolder.open(path), name)
        assert text is not None
        assert [line.message for line in text.lines] == ["handed out", "made", "done"]
        assert text.outcome == "done"
