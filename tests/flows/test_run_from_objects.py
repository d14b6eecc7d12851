"""Whole runs in process, with the store, the clips and the songs in an object store."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

import singalong.disk_cache as disk_cache
from flows.order import run_stages
from singalong.config import Settings, load_settings
from singalong.contracts import Status
from singalong.objects import ObjectFolder
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from tasks.film_steps import is_finished
from tasks.plan_run import plan_run
from tasks.preview.make import make_preview, preview_folder
from tasks.session import Session
from tasks.summary import RunSummary
from tests.counting import Counting
from tests.object_server import ObjectServer


@dataclass(frozen=True)
class Place:
    """A bucket with media in it, and a manifest on this disk that names them."""

    url: str
    folder: Path
    manifest: Path

    def settings(self, machine: str, *more: str) -> Settings:
        """Settings of one machine, whose cache is its own."""
        cache = f"run.cache_dir={self.folder / machine}"
        store = f"run.store={self.url}/store"
        return load_settings(None, ["run.executor=inprocess", "plan.shard_s=0.4", store, cache, *more])

    def run(self, name: str, settings: Settings) -> tuple[RunSummary, Counter[str]]:
        plan, rows = plan_run(self.manifest, settings=settings, store=store_of(settings))
        counting = Counting()
        with Session(RunFolder.create(self.folder / name, plan, settings, manifest=rows), counting) as session:
            return run_stages(session), counting.items


@pytest.fixture
def place(bucket_url: str, demo_inputs: Path, tmp_path: Path) -> Place:
    media = ObjectFolder.at(f"{bucket_url}/my media")
    for name in ("clip1_640x360.mp4", "clip2_360x640.mp4", "song.wav", "vocals.wav"):
        media.upload(f"in/{name}", demo_inputs / name)
    manifest, base = tmp_path / "m.csv", f"{media.url}/in"
    manifest.write_text(
        "pair_id,clip,song,vocals,song_start_s,song_end_s,montage\n"
        f"one,{base}/clip1_640x360.mp4,{base}/song.wav,{base}/vocals.wav,0,0.4,mix\n"
        f"two,{base}/clip2_360x640.mp4,{base}/song.wav,{base}/vocals.wav,0,0.4,mix\n"
    )
    return Place(bucket_url, tmp_path, manifest)


def test_a_run_completes_and_another_machine_reuses_everything(place: Place, object_server: ObjectServer) -> None:
    settings = place.settings("machine1")
    summary, items = place.run("run1", settings)
    assert summary.complete, summary.failures
    assert items["prepare"] == 3
    assert is_finished(RunFolder.open(place.folder / "run1"))
    assert (place.folder / "run1" / "montages" / "mix.mp4").stat().st_size > 0
    assert not list((place.folder / "machine1").rglob("commit.json.tmp"))

    object_server.requests()
    summary, items = place.run("run2", place.settings("machine2"))
    assert summary.complete, summary.failures
    assert items["prepare"] == items["lipsync"] == 0
    states = RunFolder.open(place.folder / "run2").fold().shards.values()
    assert all(state.status is Status.DONE and state.reused for state in states)
    fetched = [request for request in object_server.requests() if request.startswith("GET") and ".mp4" in request]
    assert not [request for request in fetched if "my media" in request]


def test_a_run_goes_on_over_a_lost_store_and_within_the_caches_limit(
    place: Place, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "GRACE_S", 0.0)
    settings = place.settings("small", "run.cache_gb=0.0000005")  # less than one clip
    plan, rows = plan_run(place.manifest, settings=settings, store=store_of(settings))
    run = RunFolder.create(place.folder / "run", plan, settings, manifest=rows)
    object_server.lose_for(1.5, after_bytes=20_000)
    with Session(run) as session:
        summary = run_stages(session)
    assert summary.complete, summary.failures
    assert (place.folder / "run" / "montages" / "mix.mp4").stat().st_size > 0
    store = store_of(settings)
    store._disk.trim()
    assert store._disk.num_bytes() <= 500


def test_a_clip_replaced_after_planning_is_told_by_its_url(place: Place) -> None:
    settings = place.settings("machine")
    plan, rows = plan_run(place.manifest, settings=settings, store=store_of(settings))
    media = ObjectFolder.at(f"{place.url}/my media/in")
    media.write("clip1_640x360.mp4", media.read("clip2_360x640.mp4"))
    with Session(RunFolder.create(place.folder / "run", plan, settings, manifest=rows)) as session:
        run_stages(session)
        fold = session.run.fold()
    told = {state.failure.message for state in fold.shards.values() if state.failure is not None}
    assert len(told) == 1
    assert f"{media.url}/clip1_640x360.mp4: changed since" in told.pop()


def test_clips_at_urls_are_previewed(place: Place) -> None:
    settings = place.settings("machine")
    plan, _rows = plan_run(place.manifest, settings=settings, store=store_of(settings))
    alone = plan.model_copy(update={"pairs": plan.pairs[:1]})
    preview = make_preview(alone, preview_folder(place.folder / "preview"), settings=settings, with_results=False)
    (clip,) = preview.clips
    assert clip.failure is None
    assert [path.suffix for path in map(Path, clip.files)] == [".jpg"]


def test_media_that_cannot_be_used_are_told_by_their_url(place: Place) -> None:
    media = ObjectFolder.at(f"{place.url}/my media/in")
    media.write("clip1_640x360.mp4", b"<html>not a clip</html>")
    settings = place.settings("machine")
    plan, _rows = plan_run(place.manifest, settings=settings, store=store_of(settings))
    (problem,) = plan.problems
    assert f"{media.url}/clip1_640x360.mp4" in problem.error_message
    assert str(place.folder) not in problem.error_message


def test_a_store_lost_while_planning_is_waited_for(place: Place, object_server: ObjectServer) -> None:
    settings = place.settings("machine")
    object_server.lose()
    threading.Timer(1.0, object_server.regain).start()
    plan, _rows = plan_run(place.manifest, settings=settings, store=store_of(settings))
    assert len(plan.pairs) == 2
