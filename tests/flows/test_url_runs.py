"""Runs at URLs: the bytes and rows of a local run, one driver at a time, and nothing lost when a driver dies."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import singalong
from flows.commands.inspect import report_command, status_command
from flows.commands.reprocess import reprocess_command
from flows.commands.run import run_command
from singalong.contracts import AttemptRow, Status
from singalong.errors import UsageError
from singalong.objects import ObjectFolder
from singalong.remote_run import run_at
from singalong.runfolder import RunFolder
from singalong.urls import is_url
from tasks.progress import progress_of
from tasks.selection import Wanted
from tests.gate import Gate
from tests.object_server import ROOT, ObjectServer

COLUMNS = ["shard_id", "status", "work_key", "sync_confidence", "output"]


@pytest.fixture(scope="module")
def manifest(demo_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of three shards each, and their montage."""
    rows = ["pair_id,clip,song,song_start_s,song_end_s,montage"]
    for number, clip in enumerate(("clip1_640x360.mp4", "clip2_360x640.mp4"), start=1):
        rows.append(f"p{number},{demo_inputs / clip},{demo_inputs / 'song.wav'},0,1.2,mix")
    path = tmp_path_factory.mktemp("manifest") / "m.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@dataclass(frozen=True)
class Finished:
    """A run at a URL that came to its end, what it told then, and the folder that its store is in."""

    url: str
    told: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def made(started_object_server: ObjectServer, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run that the tests below look at; none of them changes it."""
    url, folder = f"s3://{started_object_server.make_bucket()}/runs/night", tmp_path_factory.mktemp("made")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        for name, value in started_object_server.env.items():
            patch.setenv(name, value)
        assert drive(manifest, url, folder) == 0
    return Finished(url, json.loads(out.getvalue()), folder)


@pytest.fixture
def finished(made: Finished, object_server: ObjectServer) -> Finished:
    """The same, with the server that it lies on in the environment."""
    return made


def settings(tmp_path: Path, store: str = "store") -> list[str]:
    places = [f"run.store={tmp_path / store}"]
    if is_url(store):
        places = [f"run.store={store}", f"run.cache_dir={os.environ['SINGALONG_CACHE']}"]
    return ["run.executor=inprocess", *places, "plan.shard_s=0.4", "film.credentials=none"]


def at_url(manifest: Path, url: str) -> str:
    """The URL of the same manifest, with its media beside it."""
    folder, text = ObjectFolder.at(url), manifest.read_text()
    media = {Path(cell) for line in text.splitlines()[1:] for cell in line.split(",")[1:3]}
    for path in media:
        folder.upload(path.name, path)
        text = text.replace(str(path), path.name)
    folder.write(manifest.name, text.encode())
    return folder.join(manifest.name)


def drive(manifest: str | Path, run: str | Path, tmp_path: Path, store: str = "store") -> int:
    options = {"config": None, "require_rights": False, "as_json": True}
    return run_command(str(manifest), str(run), overrides=settings(tmp_path, store), **options)


def attempts(url: str) -> list[AttemptRow]:
    with run_at(url) as path:
        return RunFolder.open(path).attempts()


def test_a_run_at_a_url_is_the_run_it_would_be_in_a_folder(manifest: Path, tmp_path: Path, finished: Finished) -> None:
    url, told = finished.url, finished.told
    assert told["run"] == url
    assert told["montages"] == [f"{url}/montages/mix.mp4"]
    assert told["report"] == f"{url}/index.html"

    assert drive(manifest, tmp_path / "local", tmp_path, store="another-store") == 0
    there, local = ObjectFolder.at(url), tmp_path / "local"
    keys = {facts.key for facts in there.list() if not facts.key.startswith(("lease/", "attempts/", "logs/"))}
    names = {path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()}
    assert keys == {name for name in names if not name.startswith(("attempts/", "logs/", "."))}
    for film in ("outputs/p1.mp4", "outputs/p2.mp4", "montages/mix.mp4", "outputs/p1.jpg"):
        assert there.read(film) == (local / film).read_bytes()
    ours, theirs = singalong.load_report(url), singalong.load_report(local)
    assert ours[COLUMNS].drop(columns="output").equals(theirs[COLUMNS].drop(columns="output"))
    pairs = singalong.load_report(url, "pairs")
    assert list(pairs["output"]) == ["outputs/p1.mp4", "outputs/p2.mp4"]  # as index.html links them
    assert b'"outputs/p1.mp4' in there.read("index.html")
    assert [row.attempt for row in attempts(url)] == [1] * 6


def test_a_finished_run_is_finished_on_any_machine(
    manifest: Path, tmp_path: Path, finished: Finished, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = finished.url
    before = {facts.key: facts.etag for facts in ObjectFolder.at(url).list() if not facts.key.startswith("lease/")}
    monkeypatch.setenv("SINGALONG_CACHE", str(tmp_path / "another-machine"))
    assert drive(manifest, url, finished.folder) == 0
    after = {facts.key: facts.etag for facts in ObjectFolder.at(url).list() if not facts.key.startswith("lease/")}
    assert after == before
    object_server.requests()
    assert status_command(url, watch=False, as_json=True) == 0
    assert report_command([url], as_json=True) == 0
    assert not [request for request in object_server.requests() if request.startswith("GET") and ".mp4" in request]


def test_a_driver_that_is_killed_is_gone_on_from_another_machine_and_nothing_is_made_twice(
    manifest: Path, tmp_path: Path, bucket_url: str, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = f"{bucket_url}/run", f"{bucket_url}/store"
    inputs = at_url(manifest, f"{bucket_url}/inputs")
    command = [sys.executable, "-m", "flows", "run", inputs, "--run", url]
    command += [word for setting in settings(tmp_path, store) for word in ("--set", setting)]
    gate = Gate(tmp_path / "gate")
    environment = os.environ | object_server.env | gate.environment()
    with gate.shut(), subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, env=environment) as driver:
        try:
            seen = watched(url, driver)
        finally:
            driver.kill()
    assert seen["holder"] is not None  # as it was seen from this other machine
    monkeypatch.setenv("SINGALONG_CACHE", str(tmp_path / "another-machine"))
    object_server.lose_for(2.0, after_bytes=1)  # and the store has its bad moment, too
    assert drive(inputs, url, tmp_path, store) == 0

    with run_at(url) as path:
        run = RunFolder.open(path)
        rows = run.attempts()
        assert not run.fold().counts()[Status.PENDING]
    made = Counter(row.shard_id for row in rows if row.result is not None)
    assert made == {f"p{pair}-{shard:04d}": 1 for pair in (1, 2) for shard in range(3)}
    by_key = Counter(row.work_key for row in rows if row.result is not None and not row.reused)
    assert max(by_key.values()) == 1
    assert {facts.key for facts in ObjectFolder.at(url).list("outputs") if facts.key.endswith(".mp4")} == {
        "outputs/p1.mp4",
        "outputs/p2.mp4",
    }


def watched(url: str, driver: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What `status` says once some shards are done, but not all."""
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and driver.poll() is None:
        with contextlib.suppress(UsageError), run_at(url) as path:
            progress = progress_of(RunFolder.open(path))
            if 0 < progress.shards.get("done", 0) < 6:
                return progress.model_dump()
        time.sleep(0.1)
    raise AssertionError(f"it was never seen at work; it ended with {driver.poll()}")


def test_a_pass_of_a_run_at_a_url_is_a_run_beside_it(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    url = finished.url
    wanted = Wanted(where="pair_id = 'p2'")
    capsys.readouterr()
    options = {"child": None, "overrides": ["lipsync.crf=30"], "dry_run": False, "as_json": True}
    assert reprocess_command(url, wanted, **options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == f"{url}.2"
    again = ObjectFolder.at(f"{url}.2")
    assert again.read("outputs/p1.mp4") == ObjectFolder.at(url).read("outputs/p1.mp4")  # taken over
    assert again.read("outputs/p2.mp4") != ObjectFolder.at(url).read("outputs/p2.mp4")
    assert {row.shard_id[:2] for row in attempts(f"{url}.2") if not row.reused} == {"p2"}
    assert reprocess_command(url, wanted, **options) == 0  # goes on with the same one
    assert ObjectFolder.at(f"{url}.3").head("run.json") is None
    capsys.readouterr()
    assert report_command([url, f"{url}.2"], as_json=True) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == [url, f"{url}.2"]
