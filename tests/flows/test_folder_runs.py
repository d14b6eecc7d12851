"""Runs of a folder: what was added or changed since the last one is made, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from flows.commands.run import run_command
from singalong.contracts import Status
from singalong.load import load_report
from singalong.runfolder import RunFolder


@pytest.fixture
def inbox(demo_inputs: Path, tmp_path: Path) -> Path:
    """A folder in which one clip sings one song, with the means to add more."""
    folder = tmp_path / "inbox"
    (folder / "clips").mkdir(parents=True)
    (folder / "songs").mkdir()
    put(demo_inputs / "song.wav", folder / "songs" / "song.wav")
    put(demo_inputs / "clip1_640x360.mp4", folder / "clips" / "b.mp4")
    return folder


def put(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    os.utime(target, (1e9, 1e9 + source.stat().st_size))


def fire(inbox: Path, tmp_path: Path) -> RunFolder:
    overrides = ["run.executor=inprocess", f"run.store={tmp_path / 'store'}", "score.scorer=none"]
    options = {"config": None, "overrides": overrides, "require_rights": False, "as_json": True}
    assert run_command(inbox, tmp_path / "run", **options) == 0
    return RunFolder.open(tmp_path / "run")


def made(run: RunFolder) -> Counter[str]:
    """How often each shard was really made."""
    return Counter(row.shard_id for row in run.attempts() if row.result is not None and not row.reused)


def test_a_new_clip_is_made_alone_a_changed_one_again_and_of_one_that_left_the_film_stays_and_is_told(
    inbox: Path, demo_inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made(fire(inbox, tmp_path)) == {"b__song-0000": 1}
    assert made(fire(inbox, tmp_path)) == {"b__song-0000": 1}

    put(demo_inputs / "clip2_360x640.mp4", inbox / "clips" / "a.mp4")  # stands before b
    (inbox / "clips" / "c.mp4.part").write_bytes(b"half")
    capsys.readouterr()
    assert made(fire(inbox, tmp_path)) == {"a__song-0000": 1, "b__song-0000": 1}
    assert "c.mp4.part" in capsys.readouterr().err
    film = tmp_path / "run" / "outputs" / "b__song.mp4"
    before = film.stat().st_mtime_ns

    put(demo_inputs / "clip1_640x360.mp4", inbox / "clips" / "a.mp4")  # b's work serves it as well
    run = fire(inbox, tmp_path)
    assert made(run) == {"a__song-0000": 1, "b__song-0000": 1}
    assert run.fold().shards["a__song-0000"].reused
    assert film.stat().st_mtime_ns == before

    (inbox / "clips" / "a.mp4").unlink()
    capsys.readouterr()
    run = fire(inbox, tmp_path)
    assert [pair.pair_id for pair in run.plan.pairs] == ["b__song"]
    assert next(iter(run.fold().shards.values())).status is Status.DONE
    assert (tmp_path / "run" / "outputs" / "a__song.mp4").is_file()
    assert "a__song" in "".join(capsys.readouterr().out)
    assert list(load_report(run.path, "pairs")["pair_id"]) == ["b__song"]
    assert film.stat().st_mtime_ns == before


def test_a_clip_that_cannot_be_read_is_named_by_its_file(inbox: Path, tmp_path: Path) -> None:
    bad = inbox / "clips" / "a.mp4"
    bad.write_bytes(b"<html>")
    os.utime(bad, (1e9, 1e9))
    options = {"config": None, "overrides": ["run.executor=inprocess"], "require_rights": False, "as_json": True}
    assert run_command(inbox, tmp_path / "run", **options) == 1
    (problem,) = RunFolder.open(tmp_path / "run").plan.problems
    assert (problem.place, problem.pair_id) == ("clips/a.mp4", "a__song")
