"""Runs at URLs: the bytes and rows of a local run, one driver at a time, and nothing lost when a driver dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import singalong
from flows.commands.inspect import report_command, status_command
from flows.commands.run import run_command
from singalong.contracts import AttemptRow
from singalong.objects import ObjectFolder
from singalong.remote_run import run_at
from singalong.runfolder import RunFolder
from tests.object_server import ObjectServer

COLUMNS = ["shard_id", "status", "work_key", "sync_confidence", "output"]


@pytest.fixture
def manifest(demo_inputs: Path, tmp_path: Path) -> Path:
    """Two pairs of three shards each, and their montage."""
    rows = ["pair_id,clip,song,song_start_s,song_end_s,montage"]
    for number, clip in enumerate(("clip1_640x360.mp4", "clip2_360x640.mp4"), start=1):
        rows.append(f"p{number},{demo_inputs / clip},{demo_inputs / 'song.wav'},0,1.2,mix")
    path = tmp_path / "m.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def settings(tmp_path: Path, store: str = "store") -> list[str]:
    return ["run.executor=inprocess", f"run.store={tmp_path / store}", "plan.shard_s=0.4", "film.credentials=none"]


def drive(manifest: Path, run: str | Path, tmp_path: Path, store: str = "store") -> int:
    options = {"config": None, "require_rights": False, "as_json": True}
    return run_command(str(manifest), str(run), overrides=settings(tmp_path, store), **options)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Has the next look come from a machine that knows nothing of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINGALONG_CACHE", str(tmp_path / "another-machine"))
        yield


def attempts(url: str) -> list[AttemptRow]:
    with run_at(url) as path:
        return RunFolder.open(path).attempts()


def test_a_run_at_a_url_is_the_run_it_would_be_in_a_folder(
    manifest: Path, tmp_path: Path, bucket_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{bucket_url}/runs/night"
    assert drive(manifest, url, tmp_path) == 0
    told = json.loads(capsys.readouterr().out)
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
    manifest: Path, tmp_path: Path, bucket_url: str, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{bucket_url}/run"
    assert drive(manifest, url, tmp_path) == 0
    before = {facts.key: facts.etag for facts in ObjectFolder.at(url).list() if not facts.key.startswith("lease/")}
    monkeypatch.setenv("SINGALONG_CACHE", str(tmp_path / "another-machine"))
    assert drive(manifest, url, tmp_path) == 0
    after = {facts.key: facts.etag for facts in ObjectFolder.at(url).list() if not facts.key.startswith("lease/")}
    assert after == before
    object_server.requests()
    assert status_command(url, watch=False, as_json=True) == 0
    assert report_command([url], as_json=True) == 0
    assert not [request for request in object_server.requests() if request.startswith("GET") and ".mp4" in request]
