"""Harm done to whole runs in process: what was finished stays so, what was not is known, and a second run ends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.order import run_stages
from singalong.config import Settings, load_settings
from singalong.contracts import AttemptRow, Status
from singalong.errors import ErrorClass, TransientIOError
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.dispatch import Item, TooManyBugsError
from tasks.film_steps import is_finished
from tasks.jobs import Outcome
from tasks.plan_run import plan_run
from tasks.session import Session
from tasks.summary import RunSummary, summarise

Harm = Callable[[], object]


class Harmful:
    """Does harm when the first item of a stage has ended, or when the stage begins."""

    def __init__(self, stage: str, harm: Harm, *, at_begin: bool = False) -> None:
        self.stage, self.harm, self.at_begin, self.done = stage, harm, at_begin, False

    def begin(self, stage: str, total: int) -> None:
        if self.at_begin:
            self._do(stage)

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        if not self.at_begin:
            self._do(stage)

    def _do(self, stage: str) -> None:
        if stage == self.stage and not self.done:
            self.done = True
            self.harm()


class Bench:
    """One pair of three shards, with inputs of its own, and caches that are warm."""

    def __init__(self, folder: Path, inputs: Path, caches: Path) -> None:
        self.run_path, self.store_path, self.inputs = folder / "run", folder / "store", folder / "inputs"
        shutil.copytree(inputs, self.inputs)
        shutil.copytree(caches, self.store_path / "cache")
        self.clip = self.inputs / "clip1_640x360.mp4"
        self.manifest = write_manifest(self.inputs)

    @property
    def settings(self) -> Settings:
        return settings_for(self.store_path)

    def run(self, watcher: Harmful | None = None) -> RunSummary:
        store = Store(self.store_path)
        plan, rows = plan_run(self.manifest, settings=self.settings, store=store)
        folder = RunFolder.create(self.run_path, plan, self.settings, manifest=rows)
        with Session(folder, watcher) as session:
            return run_stages(session)

    def again(self) -> RunSummary:
        """The same command again, which must end it; what was made before is not made again."""
        made = {row.shard_id for row in self.rows() if row.result is not None}
        before = {(row.shard_id, row.attempt) for row in self.rows()}
        summary = self.run()
        assert summary.complete, summary.failures
        assert len(summary.films) == 1
        new = [row for row in self.rows() if (row.shard_id, row.attempt) not in before]
        assert not [row for row in new if row.shard_id in made and not row.reused], "a finished shard was done again"
        assert is_finished(RunFolder.open(self.run_path))
        return summary

    def rows(self) -> list[AttemptRow]:
        return RunFolder.open(self.run_path).attempts() if (self.run_path / "run.json").exists() else []

    def failed(self) -> dict[str, ErrorClass]:
        fold = RunFolder.open(self.run_path).fold()
        return {name: shard.failure.error_class for name, shard in fold.shards.items() if shard.failure is not None}


def settings_for(store: Path) -> Settings:
    return load_settings(None, ["run.executor=inprocess", f"run.store={store}", "plan.shard_s=0.2", "run.bug_limit=2"])


def write_manifest(inputs: Path) -> Path:
    path = inputs / "one.csv"
    path.write_text("pair_id,clip,song,vocals,song_end_s\np,clip1_640x360.mp4,song.wav,vocals.wav,0.6\n")
    return path


@pytest.fixture(scope="module")
def caches(demo_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm")
    settings, manifest = settings_for(folder / "store"), write_manifest(demo_inputs)
    plan, rows = plan_run(manifest, settings=settings, store=Store(folder / "store"))
    with Session(RunFolder.create(folder / "run", plan, settings, manifest=rows)) as session:
        session.prepare(session.pending())
    return folder / "store" / "cache"


@pytest.fixture
def bench(tmp_path: Path, demo_inputs: Path, caches: Path) -> Bench:
    return Bench(tmp_path, demo_inputs, caches)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (shutil.disk_usage(disk).free // 4096 * 4096))
    return ballast


def replace(clip: Path) -> None:
    other = clip.with_name("other.mp4")
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    other.replace(clip)


@pytest.mark.parametrize("at_begin", [True, False])
def test_nothing_made_of_another_clip_is_kept_under_the_planned_ones_name(bench: Bench, *, at_begin: bool) -> None:
    kept = bench.clip.read_bytes()
    summary = bench.run(Harmful("lipsync", lambda: replace(bench.clip), at_begin=at_begin))
    assert not summary.complete
    assert set(bench.failed().values()) == {ErrorClass.INPUT}
    assert len(bench.failed()) == (3 if at_begin else 2)
    assert all("changed since this run was planned" in note.message for note in summary.failures)
    fold = RunFolder.open(bench.run_path).fold()
    assert fold.count(Status.QUARANTINED) == 0, "with the planned clip back it can be made"
    assert len(list(bench.store_path.glob("work/*/*/commit.json"))) == (0 if at_begin else 1)
    bench.clip.write_bytes(kept)
    bench.again()


def test_a_clip_that_is_taken_away_is_asked_for_by_name_and_made_when_it_is_back(bench: Bench) -> None:
    kept = bench.clip.read_bytes()
    summary = bench.run(Harmful("lipsync", bench.clip.unlink))
    assert {note.error_class for note in summary.failures} == {"INPUT"}
    assert all(bench.clip.name in note.message for note in summary.failures)
    bench.clip.write_bytes(kept)
    bench.again()


def test_a_song_replaced_before_the_join_makes_no_film(bench: Bench) -> None:
    song = bench.inputs / "song.wav"
    kept = song.read_bytes()
    summary = bench.run(Harmful("join", lambda: song.write_bytes(kept[:-4] + b"\1\1\1\1"), at_begin=True))
    assert not summary.complete
    assert not (bench.run_path / "outputs" / "p.mp4").exists()
    song.write_bytes(kept)
    bench.again()


def test_a_clip_that_became_a_pipe_is_refused_and_not_waited_for(bench: Bench) -> None:
    kept = bench.clip.read_bytes()

    def replace_by_pipe() -> None:
        bench.clip.unlink()
        os.mkfifo(bench.clip)

    summary = bench.run(Harmful("lipsync", replace_by_pipe))
    assert {note.error_class for note in summary.failures} == {"INPUT"}
    assert all("not a regular file" in note.message for note in summary.failures)
    bench.clip.unlink()
    bench.clip.write_bytes(kept)
    bench.again()


def test_a_deleted_run_folder_is_not_made_again_by_halves(bench: Bench) -> None:
    with pytest.raises(TransientIOError, match="run folder is gone"):
        bench.run(Harmful("lipsync", lambda: shutil.rmtree(bench.run_path)))
    assert not bench.run_path.exists()
    bench.again()
    assert sum(row.reused for row in bench.rows()) == 2, "the one that had ended, and the one that had begun by then"


def test_what_a_deleted_store_held_is_not_called_done(bench: Bench) -> None:
    summary = bench.run(Harmful("join", lambda: shutil.rmtree(bench.store_path), at_begin=True))
    assert not summary.complete
    assert summary.failures
    summary = bench.run()
    assert summary.complete, summary.failures


def test_a_store_deleted_under_the_shards_blames_no_clip(bench: Bench) -> None:
    summary = bench.run(Harmful("lipsync", lambda: shutil.rmtree(bench.store_path)))
    assert not summary.complete
    assert RunFolder.open(bench.run_path).fold().count(Status.QUARANTINED) == 0
    assert set(bench.failed().values()) == {ErrorClass.TRANSIENT_IO}
    summary = bench.run()
    assert summary.complete, summary.failures


def test_a_full_disk_of_the_store_is_named_and_what_was_finished_stays(bench: Bench, small_disk: Path) -> None:
    shutil.move(bench.store_path, small_disk / "store")
    bench.store_path = small_disk / "store"
    summary = bench.run(Harmful("lipsync", lambda: fill(small_disk)))
    assert not summary.complete
    assert set(bench.failed().values()) == {ErrorClass.RESOURCE}
    assert all("Free some space" in note.message for note in summary.failures if note.name != "p")
    assert RunFolder.open(bench.run_path).fold().count(Status.DONE) == 1
    (small_disk / "ballast").unlink()
    bench.again()


def test_a_full_disk_of_the_run_folder_stops_the_run_and_loses_nothing(bench: Bench, small_disk: Path) -> None:
    bench.run_path = small_disk / "run"
    with pytest.raises(OSError, match="No space left"):
        bench.run(Harmful("lipsync", lambda: fill(small_disk)))
    assert RunFolder.open(bench.run_path).fold().count(Status.DONE) == 1
    (small_disk / "ballast").unlink()
    bench.again()


def test_a_damaged_segment_is_found_when_it_is_joined_and_made_anew(bench: Bench) -> None:
    def flip() -> None:
        segment = next(bench.store_path.glob("work/*/*/*.mp4"))
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 0x20
        segment.write_bytes(data)

    summary = bench.run(Harmful("join", flip, at_begin=True))
    assert [note.error_class for note in summary.failures] == ["TRANSIENT_IO"]
    assert "damaged on the disk" in summary.failures[0].message
    summary = bench.run()
    assert summary.complete, summary.failures
    assert sum(row.result is not None and not row.reused for row in bench.rows()) == 4, "one shard, and no other, twice"


def rot(bench: Bench) -> None:
    """Damage the voice in the cache in a way that its size does not betray."""
    for path in bench.store_path.glob("cache/songs/*/*/*/*.npy"):
        path.write_bytes(b"\xff" * path.stat().st_size)


def test_a_rotten_cache_entry_is_found_out_and_made_anew_by_the_next_run(bench: Bench) -> None:
    rot(bench)
    summary = bench.run()
    assert set(bench.failed().values()) == {ErrorClass.TRANSIENT_IO}
    assert any("damaged on the disk" in row.failure.message for row in bench.rows() if row.failure is not None)
    assert not summary.complete
    bench.again()


def test_a_burst_of_bugs_stops_the_run_and_leaves_a_report_that_names_them(bench: Bench) -> None:
    """The voice in the cache is rotten, and so old that there is no telling: what it causes nobody foresaw."""
    rot(bench)
    for marker in bench.store_path.glob("cache/songs/*/*/*/complete.json"):
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"sha256": {}}))
    with pytest.raises(TooManyBugsError, match="stopped after 2 unforeseen failures"):
        bench.run()
    summary = summarise(RunFolder.open(bench.run_path))
    assert summary.shards == {"failed": 2, "pending": 1}
    assert [note.error_class for note in summary.failures] == ["BUG", "BUG"]
    assert (bench.run_path / "report.parquet").exists()
    assert (bench.run_path / "index.html").exists()
    shutil.rmtree(bench.store_path / "cache" / "songs")
    bench.again()
