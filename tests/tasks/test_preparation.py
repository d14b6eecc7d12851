"""Runs in process in which the speaker sings, or somebody like a picture: whose mouth moves, what is made once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from flows.order import run_stages
from singalong.config import Settings, load_settings
from singalong.contracts import Status
from singalong.runfolder import RunFolder
from singalong.store import Store
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song
from tasks import clues
from tasks.plan_run import plan_run
from tasks.session import Session
from tasks.summary import summarise
from tests.counting import Counting
from tests.two_people import LISTENER, WIDTH, person, write_two_people

COLUMNS = "pair_id,clip,song,song_end_s,face"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of whom the smaller one on the right is heard, a song, a picture of the other, a picture of nobody."""
    folder = tmp_path_factory.mktemp("inputs")
    write_two_people(folder / "two.mp4")
    write_wav(folder / "song.wav", Song.from_seed(9, 2.0, snr_db=6.0, intro=False).vocals)
    bgr = next(iter(person(LISTENER, seconds=0.2, half_height=0.34).frames()))
    Image.fromarray(np.ascontiguousarray(bgr[..., ::-1])).save(folder / "other.png")
    Image.new("RGB", (200, 200), (120, 90, 60)).save(folder / "nobody.png")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(None, ["run.executor=inprocess", f"run.store={tmp_path_factory.mktemp('store')}"])


def run(folder: Path, name: str, rows: list[str], settings: Settings) -> tuple[RunFolder, Counter[str]]:
    manifest = folder / f"{name}.csv"
    manifest.write_text("\n".join([COLUMNS, *rows]) + "\n")
    plan, pairs = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    counting, made = Counting(), RunFolder.create(folder / name, plan, settings, manifest=pairs)
    with Session(made, counting) as session:
        run_stages(session)
    return made, counting.items


@pytest.fixture(scope="module")
def finished(folder: Path, settings: Settings) -> tuple[RunFolder, Counter[str]]:
    faces = {"heard": "speaker", "again": "speaker", "pictured": "like:other.png", "nobody": "like:nobody.png"}
    rows = [f"{name},two.mp4,song.wav,0.8,{face}" for name, face in faces.items()]
    return run(folder, "run", rows, settings)


def changed(run: RunFolder, pair: str) -> tuple[float, float]:
    """How much the left and the right half of the clip changed, mean grey levels."""
    clip, film = (_grey(path) for path in (run.path.parent / "two.mp4", run.path / "outputs" / f"{pair}.mp4"))
    difference = np.abs(film - clip[: len(film)]).mean(axis=(0, 1))
    return float(difference[:WIDTH].mean()), float(difference[WIDTH:].mean())


def _grey(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)]).astype(np.float32)


def test_the_one_who_is_heard_sings_and_the_larger_face_is_left_alone(finished: tuple[RunFolder, Counter[str]]) -> None:
    left, right = changed(finished[0], "heard")
    assert right > left + 0.2


def test_the_one_in_the_picture_sings(finished: tuple[RunFolder, Counter[str]]) -> None:
    left, right = changed(finished[0], "pictured")
    assert left > right + 0.2


def test_speakers_and_pictures_are_looked_at_once_for_all_pairs(finished: tuple[RunFolder, Counter[str]]) -> None:
    items = finished[1]
    assert items["prepare"] == 1 + 1 + 2  # a clip, a song, two pictures
    assert items["speakers"] == 1


def test_a_picture_without_a_face_blocks_its_own_pair_alone(finished: tuple[RunFolder, Counter[str]]) -> None:
    fold = finished[0].fold()
    statuses = {name: shard.status for name, shard in fold.shards.items()}
    assert statuses.pop("nobody-0000") is Status.QUARANTINED
    assert set(statuses.values()) == {Status.DONE}
    (message,) = {row.failure.message for row in finished[0].attempts() if row.failure is not None}
    assert "nobody.png" in message


def test_a_picture_of_somebody_who_is_not_in_the_clip_is_named_with_what_to_do(
    finished: tuple[RunFolder, Counter[str]], folder: Path, settings: Settings
) -> None:
    bgr = next(iter(person(7_400_005, seconds=0.2, half_height=0.34).frames()))
    Image.fromarray(np.ascontiguousarray(bgr[..., ::-1])).save(folder / "stranger.png")
    made, _ = run(folder, "stranger", ["strange,two.mp4,song.wav,0.5,like:stranger.png"], settings)
    (attempt,) = made.attempts()
    assert attempt.failure is not None
    for part in ("two.mp4, row 1, column face: nobody", "stranger.png", "index:N"):
        assert part in attempt.failure.message


def test_a_second_run_prepares_nothing_again(
    finished: tuple[RunFolder, Counter[str]], folder: Path, settings: Settings
) -> None:
    rows = ["later,two.mp4,song.wav,0.4,speaker", "pictured,two.mp4,song.wav,0.4,like:other.png"]
    _, items = run(folder, "second", rows, settings)
    assert items["prepare"] == items["speakers"] == 0
    assert items["lipsync"] == 2


def test_a_speaker_who_is_not_clear_is_told_at_the_end_even_where_nothing_was_left_to_do(
    finished: tuple[RunFolder, Counter[str]], folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not summarise(finished[0]).notes
    monkeypatch.setattr(clues, "UNSURE_MARGIN", 1000.0)
    row = "heard,two.mp4,song.wav,0.8,speaker"
    made, items = run(folder, "unsure", [row], settings)
    assert not items["lipsync"]
    (note,) = summarise(made).notes
    assert "Pair 'heard'" in note
    assert "0.0 to 2.4 s" in note
    assert "index:N" in note
    assert "it is not clear who speaks" in (made.path / "index.html").read_text()
    monkeypatch.undo()
    with Session(made) as session:
        run_stages(session)
    assert not summarise(made).notes


def test_a_pair_that_asks_for_neither_costs_neither(folder: Path, tmp_path: Path) -> None:
    person(LISTENER, seconds=0.4, half_height=0.3).write(folder / "alone.mp4")
    settings = load_settings(None, ["run.executor=inprocess", f"run.store={tmp_path / 'store'}"])
    _, items = run(folder, "plain", ["plain,alone.mp4,song.wav,0.3,index:0"], settings)
    assert items["prepare"] == 2
    assert items["speakers"] == 0


def test_a_picture_that_changed_since_the_plan_blocks_its_pairs(folder: Path, settings: Settings) -> None:
    picture = folder / "changing.png"
    picture.write_bytes((folder / "other.png").read_bytes())
    manifest = folder / "changing.csv"
    manifest.write_text(f"{COLUMNS}\nchanging,two.mp4,song.wav,0.6,like:changing.png\n")
    plan, pairs = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    picture.write_bytes((folder / "nobody.png").read_bytes())
    made = RunFolder.create(folder / "changing", plan, settings, manifest=pairs)
    with Session(made) as session:
        run_stages(session)
    (attempt,) = made.attempts()
    assert attempt.failure is not None
    assert "changing.png: changed since" in attempt.failure.message
