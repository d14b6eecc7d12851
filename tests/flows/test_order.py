"""Whole runs in process: what is made, what is made once, and what is left alone the second time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pyarrow.parquet as pq
import pytest

from flows.order import run_stages
from singalong.config import Settings, load_settings
from singalong.contracts import Status
from singalong.durable import sha256_of
from singalong.errors import MediaError
from singalong.runfolder import RunFolder
from singalong.settings import FilmSettings
from singalong.store import Store
from tasks.credentials import SOURCES_LABEL, read_credentials
from tasks.film_steps import is_finished
from tasks.films import read_film_record
from tasks.plan_run import plan_run
from tasks.report import pair_rows
from tasks.session import Session
from tasks.standing import standing
from tasks.summary import RunSummary
from tasks.titles import titles_of
from tests.counting import Counting


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    store = tmp_path_factory.mktemp("store")
    return load_settings(None, ["run.executor=inprocess", f"run.store={store}", "plan.shard_s=0.4"])


def run(manifest: Path, folder: Path, settings: Settings) -> tuple[RunSummary, Counter[str]]:
    plan, rows = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    counting = Counting()
    with Session(RunFolder.create(folder, plan, settings, manifest=rows), counting) as session:
        return run_stages(session), counting.items


def write_manifest(folder: Path, name: str, rows: list[str]) -> Path:
    path = folder / name
    columns = "pair_id,clip,song,song_start_s,song_end_s,montage,generator"
    filled = (row + "," * (columns.count(",") - row.count(",")) for row in rows)
    path.write_text("\n".join([columns, *filled]) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(
    demo_inputs: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, RunSummary, Counter[str]]:
    """A run of 2 clips x 2 songs, one montage of unequal clips, and a clip that is no clip."""
    folder = tmp_path_factory.mktemp("run")
    (demo_inputs / "broken.mp4").write_bytes(b"<html>not a clip</html>")
    rows = ["bad,broken.mp4,song.wav,0,1,mix"]
    for clip in ("clip1_640x360.mp4", "clip2_360x640.mp4"):
        for song in ("song", "vocals"):
            montage = "mix" if song == "song" else ""
            generator = "untrained" if "2" in clip else ""  # the paper's network as well as our own
            rows.append(f"{clip[:5]}_{song},{clip},{song}.wav,0,0.6,{montage},{generator}")
    manifest = write_manifest(demo_inputs, "finished.csv", rows)
    summary, items = run(manifest, folder / "r", settings)
    return manifest, folder / "r", summary, items


def test_each_clip_is_analysed_once_and_each_song_prepared_once(
    finished: tuple[Path, Path, RunSummary, Counter[str]],
) -> None:
    items = finished[3]
    assert items["prepare"] == 2 + 2
    assert items["lipsync"] == 2 * 2 + 2 * 2  # two shards of 0.4 s for each of the four pairs


def test_a_bad_row_is_named_and_does_not_stop_the_others(finished: tuple[Path, Path, RunSummary, Counter[str]]) -> None:
    summary = finished[2]
    assert not summary.complete
    assert len(summary.films) == 4
    assert any(failure.name == "bad" and "broken.mp4" in failure.message for failure in summary.failures)


def test_films_have_exactly_the_frames_of_their_spans(finished: tuple[Path, Path, RunSummary, Counter[str]]) -> None:
    for path in finished[2].films:
        fps = 25 if "clip1" in path else 30
        with av.open(path) as film:
            stream = film.streams.video[0]
            assert stream.average_rate == fps
            frames = [frame.pts * stream.time_base for frame in film.decode(stream)]
        assert len(frames) == round(0.6 * fps)
        assert [float(time) for time in frames] == pytest.approx([n / fps for n in range(len(frames))], abs=1e-4)


def test_the_montage_joins_unequal_clips_and_is_labelled(finished: tuple[Path, Path, RunSummary, Counter[str]]) -> None:
    (path,) = finished[2].montages
    with av.open(path) as film:
        assert "AI-generated" in film.metadata["comment"]
        assert len({(frame.width, frame.height) for frame in film.decode(video=0)}) == 1
        assert film.streams.audio


def test_a_timeline_lies_beside_the_montage_and_is_written_again_alone(
    settings: Settings, finished: tuple[Path, Path, RunSummary, Counter[str]]
) -> None:
    film = Path(finished[2].montages[0])
    path = film.with_suffix(".otio")
    with av.open(str(film)) as container:
        num_frames = container.streams.video[0].frames
    picture, song = otio.adapters.read_from_file(str(path)).tracks
    assert sum(clip.source_range.duration.value for clip in picture) == num_frames
    assert sum(clip.source_range.duration.value for clip in song) == num_frames
    assert all((path.parent / clip.media_reference.target_url).is_file() for clip in picture)
    written = path.read_bytes()
    path.unlink()
    assert not is_finished(RunFolder.open(finished[1]))
    _, items = run(finished[0], finished[1], settings)
    assert items["montage"] == items["conform"] == items["join"] == 0
    assert path.read_bytes() == written
    assert is_finished(RunFolder.open(finished[1]))


def test_every_film_tells_what_it_was_made_of_and_that_nobody_changed_it(
    demo_inputs: Path, finished: tuple[Path, Path, RunSummary, Counter[str]]
) -> None:
    for film in [*finished[2].films, *finished[2].montages]:
        found = read_credentials(Path(film))
        assert found["validation_state"] == "Valid"
        manifest = found["manifests"][found["active_manifest"]]
        assert manifest["claim_generator_info"][0]["name"] == "singalong"
        (told,) = (each["data"] for each in manifest["assertions"] if each["label"] == SOURCES_LABEL)
        for source in told["sources"]:
            assert source["sha256"] == sha256_of(demo_inputs / source["title"])


def test_pixels_away_from_the_face_are_the_clips_own(
    demo_inputs: Path, finished: tuple[Path, Path, RunSummary, Counter[str]]
) -> None:
    path = next(film for film in finished[2].films if "clip1_song" in film)
    with av.open(path) as film, av.open(str(demo_inputs / "clip1_640x360.mp4")) as clip:
        ours, theirs = (next(media.decode(video=0)).to_ndarray(format="gray").astype(int) for media in (film, clip))
    border = np.ones(ours.shape, bool)
    border[20:, 160:480] = False
    assert np.abs(ours - theirs)[border].mean() < 1.0
    assert np.abs(ours - theirs)[~border].max() > 20  # and the mouth is another


def test_a_finished_run_does_nothing(settings: Settings, finished: tuple[Path, Path, RunSummary, Counter[str]]) -> None:
    manifest, folder, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    assert is_finished(RunFolder.open(folder))
    _, items = run(manifest, folder, settings)
    assert not items
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")} == before


def test_another_run_of_the_same_work_only_joins(
    settings: Settings, finished: tuple[Path, Path, RunSummary, Counter[str]], tmp_path: Path
) -> None:
    _, items = run(finished[0], tmp_path / "again", settings)
    assert items["prepare"] == items["lipsync"] == 0
    fold = RunFolder.open(tmp_path / "again").fold()
    assert all(shard.status is Status.DONE and shard.reused for shard in fold.shards.values())


def test_an_edited_row_redoes_only_its_own_shards(
    demo_inputs: Path,
    settings: Settings,
    finished: tuple[Path, Path, RunSummary, Counter[str]],
    tmp_path: Path,
) -> None:
    rows = finished[0].read_text().splitlines()[1:]
    edited = [row.replace(",0,0.6,", ",0,0.4,") if row.startswith("clip2_vocals") else row for row in rows]
    summary, items = run(write_manifest(demo_inputs, "edited.csv", edited), finished[1], settings)
    assert items["prepare"] == 0
    assert items["lipsync"] == 1  # its only shard: 0.4 s
    assert items["join"] == 1
    assert items["montage"] == 0
    assert len(summary.films) == 4


def test_a_clip_without_a_face_is_quarantined_with_what_to_do(
    settings: Settings, demo_inputs: Path, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (320, 240), (90, 120, 90)).save(demo_inputs / "wall.png")
    manifest = write_manifest(demo_inputs, "wall.csv", ["wall,wall.png,song.wav,0,0.4,"])
    summary, _ = run(manifest, tmp_path / "wall", settings)
    assert summary.shards == {"quarantined": 1}
    (failure,) = summary.failures
    assert failure.error_class == "INPUT"
    assert "no usable face" in failure.message
    assert is_finished(RunFolder.open(tmp_path / "wall"))


def test_rows_that_ask_for_the_same_work_share_it(settings: Settings, demo_inputs: Path, tmp_path: Path) -> None:
    rows = [f"{name},clip2_360x640.mp4,vocals.wav,1,1.2," for name in ("one", "two")]
    summary, items = run(write_manifest(demo_inputs, "twins.csv", rows), tmp_path / "twins", settings)
    assert items["lipsync"] == 1
    assert summary.complete
    assert len(summary.films) == 2


# ---- titles


@pytest.fixture(scope="module")
def titled(
    demo_inputs: Path,
    settings: Settings,
    finished: tuple[Path, Path, RunSummary, Counter[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Settings, RunSummary, Counter[str]]:
    """The same work under titles with scores."""
    lines = finished[0].read_text().splitlines()
    titles = ["tag_title", "", "Ada", "", "", ""]
    manifest = demo_inputs / "titled.csv"
    manifest.write_text("\n".join(f"{line},{title}" for line, title in zip(lines, titles, strict=True)) + "\n")
    shown = settings.model_copy(update={"film": FilmSettings(titles="score")})
    folder = tmp_path_factory.mktemp("titled") / "r"
    summary, items = run(manifest, folder, shown)
    return manifest, shown, summary, items


def lower_left(path: str) -> np.ndarray:
    with av.open(path) as film:
        frames = [frame.to_ndarray(format="gray").astype(int) for frame in film.decode(video=0)]
    height, width = frames[0].shape
    return np.stack([frame[height * 3 // 4 :, : width // 2] for frame in frames])


def content_of(film: str) -> str:
    """Hash of a film without its signature, which is another each time."""
    record = read_film_record(Path(film).with_suffix(".json"))
    assert record is not None
    assert record.film is not None
    return record.film.content_id


def test_titles_are_on_the_montage_and_not_on_the_pairs(
    finished: tuple[Path, Path, RunSummary, Counter[str]], titled: tuple[Path, Settings, RunSummary, Counter[str]]
) -> None:
    _, _, summary, items = titled
    assert items["prepare"] == items["lipsync"] == 0
    assert items["conform"] == 2
    (plain,), (shown,) = finished[2].montages, summary.montages
    assert np.abs(lower_left(plain)[8] - lower_left(shown)[8]).max() > 100
    before, after = (
        next(path for path in films if "clip1_song" in path) for films in (finished[2].films, summary.films)
    )
    assert content_of(before) == content_of(after)
    with av.open(shown) as film:
        assert "AI-generated" in film.metadata["comment"]


def test_titles_say_what_pairs_parquet_says(titled: tuple[Path, Settings, RunSummary, Counter[str]]) -> None:
    folder = RunFolder.open(Path(titled[2].run))
    table = pq.read_table(folder.path / "pairs.parquet").to_pylist()
    store = Store(titled[1].store_path)
    titles = titles_of(folder.plan.pairs, titled[1], lambda: pair_rows(folder, store, standing(folder, store)))
    assert titles["clip1_song"].name == "Ada"
    assert titles["clip2_song"].name == "clip2_song"
    for row in table:
        if row["pair_id"] in titles:
            title = titles[row["pair_id"]]
            assert title.verdict == row["verdict"]
            if row["sync_confidence"] is not None:
                assert f"confidence {row['sync_confidence']:.2f} · offset" in title.note
            assert title.note.endswith(row["verdict"])


def test_another_title_makes_its_own_part_again_and_no_other(
    titled: tuple[Path, Settings, RunSummary, Counter[str]],
) -> None:
    manifest, settings, summary, _ = titled
    run_folder = Path(summary.run)
    assert is_finished(RunFolder.open(run_folder))
    manifest.write_text(manifest.read_text().replace(",Ada", ",Grace"))
    _, items = run(manifest, run_folder, settings)
    assert items == {"conform": 1, "montage": 1}


def test_a_part_that_cannot_be_brought_to_the_canvas_is_the_montages_failure_until_it_can(
    titled: tuple[Path, Settings, RunSummary, Counter[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest, settings, _, _ = titled
    named = settings.model_copy(update={"film": FilmSettings(titles="name")})

    def broken(*_: object) -> None:
        raise MediaError("cannot be decoded", file="a.mp4")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.join.conform", broken)
        summary, _ = run(manifest, tmp_path / "r", named)
    assert not summary.montages
    assert any(failure.name == "mix" and "cannot be decoded" in failure.message for failure in summary.failures)
    assert not is_finished(RunFolder.open(tmp_path / "r"))
    summary, items = run(manifest, tmp_path / "r", named)
    assert (items["conform"], len(summary.montages)) == (2, 1)
