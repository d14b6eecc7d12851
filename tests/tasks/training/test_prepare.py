import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from singalong.config import Settings
from singalong.errors import UsageError
from singalong.settings import PrepareSettings, RunSettings
from tasks.training.prepare import PrepareSession, PrepareSummary
from tasks.training.prepare_records import PreparedRow
from tasks.training.prepare_survey import find_videos
from tasks.training.sequences import SequenceSet, committed
from tests.tasks.training.talking import DETECTOR_REF, SCORER_REF, Faces, Lips, speech, talking_video

SOUND = speech(3)
SETTINGS = Settings(
    prepare=PrepareSettings(min_face_px=32, min_windows=10), run=RunSettings(executor="inprocess", bug_limit=2)
)


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path) -> Iterator[Faces]:
    """Models that know numbered pictures; pictures that do not look like cuts."""
    faces = Faces()
    monkeypatch.setattr("tasks.shots.CutFinder._push_small", lambda *_: False)
    monkeypatch.setattr("models.detectors.load_detector", lambda _ref: faces)
    monkeypatch.setattr("models.scorers.load_scorer", lambda _ref, device: Lips(SOUND, late=-2))
    monkeypatch.setenv("SINGALONG_STORE", str(tmp_path / "store"))
    return faces


@pytest.fixture
def folder(tmp_path) -> Path:
    """A talking video, one without sound, one that is none, and files that are not looked at."""
    videos = tmp_path / "videos"
    (videos / "deep").mkdir(parents=True)
    talking_video(videos / "deep" / "talk.mkv", SOUND, seconds=3)
    talking_video(videos / "mute.mp4", None, seconds=1)
    (videos / "broken.mp4").write_bytes(b"not a video at all")
    (videos / "notes.txt").write_text("nothing to see")
    (videos / ".hidden.mp4").write_bytes(b"hidden")
    return videos


def open_session(folder: Path, dataset: Path, settings: Settings = SETTINGS) -> PrepareSession:
    return PrepareSession(folder, dataset, settings, detector=DETECTOR_REF, scorer=SCORER_REF)


def prepare(folder: Path, dataset: Path, settings: Settings = SETTINGS) -> PrepareSummary:
    with open_session(folder, dataset, settings) as session:
        session.prepare(session.videos)
        return session.finish()


def table(dataset: Path) -> dict[str, list[dict[str, object]]]:
    rows: dict[str, list[dict[str, object]]] = {}
    for row in pq.read_table(dataset / "prepared.parquet").to_pylist():
        rows.setdefault(row["source"], []).append(row)
    return rows


def test_a_folder_becomes_sequences_and_a_table(folder, tmp_path):
    summary = prepare(folder, tmp_path / "data")
    rows = table(tmp_path / "data")
    assert {source: [row["reason"] for row in found] for source, found in rows.items()} == {
        "broken.mp4": ["error"],
        "deep/talk.mkv": [None],
        "mute.mp4": ["no sound"],
    }
    (kept,) = rows["deep/talk.mkv"]
    assert (kept["kept"], kept["offset_frames"], kept["num_frames"]) == (True, -2, 69)
    assert rows["broken.mp4"][0]["error_class"] == "INPUT"
    assert "broken.mp4" in str(rows["broken.mp4"][0]["error_message"])
    data = SequenceSet(tmp_path / "data", split="train")
    assert data.facts(0).source == "deep/talk.mkv"
    assert (summary.num_videos, summary.num_sequences, summary.num_frames) == (3, 1, 69)
    assert [failure.name for failure in summary.failures] == ["broken.mp4"]
    assert summary.offsets == {-2: 1}
    assert summary.min_confidence == 0.03  # of the bundled scorer's card


def test_finished_videos_are_never_redone(folder, tmp_path, monkeypatch, fakes):
    first = prepare(folder, tmp_path / "data")
    looks = fakes.num_looks
    monkeypatch.setattr("tasks.training.prepare_span.prepare_span", None)
    monkeypatch.setenv("SINGALONG_STORE", str(tmp_path / "other-store"))
    assert prepare(folder, tmp_path / "data") == first
    assert fakes.num_looks == looks


def test_a_video_that_moved_is_known_by_its_content(folder, tmp_path, monkeypatch):
    prepare(folder, tmp_path / "data")
    (folder / "deep" / "talk.mkv").rename(folder / "renamed.mkv")
    monkeypatch.setattr("tasks.training.prepare_span.prepare_span", None)
    assert prepare(folder, tmp_path / "data").num_sequences == 1


def test_the_same_video_twice_gives_its_sequences_once(folder, tmp_path):
    os.link(folder / "deep" / "talk.mkv", folder / "again.mkv")
    summary = prepare(folder, tmp_path / "data")
    assert (summary.num_duplicates, summary.num_sequences) == (1, 1)


def test_what_was_stopped_half_way_is_done_again_and_leaves_nothing(folder, tmp_path, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tasks.training.prepare_span.write_marker", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tmp_path / "data")
    assert len(list(committed(tmp_path / "data"))) == 1  # of a span without a marker
    orphan = next((tmp_path / "data" / "sequences").iterdir())
    orphan.rename(orphan.with_name("orphan"))
    with open_session(folder, tmp_path / "data"):
        assert list(committed(tmp_path / "data")) == []
    assert prepare(folder, tmp_path / "data").num_sequences == 1


def test_a_failed_video_is_tried_again_and_its_failure_forgotten(folder, tmp_path):
    prepare(folder, tmp_path / "data")
    talking_video(folder / "broken.mp4", None, seconds=1.2)
    summary = prepare(folder, tmp_path / "data")
    assert summary.failures == ()
    assert [row["reason"] for row in table(tmp_path / "data")["broken.mp4"]] == ["no sound"]


def test_a_dataset_is_prepared_in_one_way_only(folder, tmp_path):
    prepare(folder, tmp_path / "data")
    other = SETTINGS.model_copy(update={"prepare": SETTINGS.prepare.model_copy(update={"min_windows": 30})})
    with pytest.raises(UsageError, match=r"prepare\.min_windows was 10, is 30"):
        open_session(folder, tmp_path / "data", other)
    runs_otherwise = SETTINGS.model_copy(update={"run": RunSettings(executor="inprocess", num_actors=3)})
    assert prepare(folder, tmp_path / "data", runs_otherwise).num_sequences == 1


def test_two_drivers_do_not_share_a_dataset(folder, tmp_path):
    with open_session(folder, tmp_path / "data"), pytest.raises(UsageError, match="being worked on"):
        open_session(folder, tmp_path / "data").__enter__()


def test_spans_of_a_long_video_give_what_the_whole_gives(folder, tmp_path):
    short = SETTINGS.prepare.model_copy(update={"max_s": 1.0})
    whole = SETTINGS.model_copy(update={"prepare": short})
    spans = SETTINGS.model_copy(update={"prepare": short.model_copy(update={"span_s": 1.3})})
    found = []
    for name, settings in (("whole", whole), ("spans", spans)):
        prepare(folder, tmp_path / name, settings)
        rows = table(tmp_path / name)["deep/talk.mkv"]
        found.append([(row["start_s"], row["num_frames"], row["offset_frames"], row["kept"]) for row in rows])
    assert found[0] == found[1]
    assert len(list((tmp_path / "spans" / "videos").glob("*/*/*.json"))) == 3 + 1


def test_defects_in_a_row_stop_the_run(folder, tmp_path, monkeypatch):
    for number in range(3):
        talking_video(folder / f"{number}.mkv", None, seconds=1 + number / 5)
    monkeypatch.setattr("tasks.training.prepare_span.write_marker", None)
    with pytest.raises(Exception, match="unforeseen failures"):
        prepare(folder, tmp_path / "data")


def test_a_folder_without_videos_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"no videos.*\.mp4"):
        open_session(tmp_path, tmp_path / "data")
    with pytest.raises(UsageError, match="is no folder"):
        open_session(tmp_path / "lost", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_links_are_followed_once(tmp_path):
    (tmp_path / "videos" / "a").mkdir(parents=True)
    (tmp_path / "videos" / "a" / "one.MP4").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "two.webm").touch()
    (tmp_path / "videos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "videos" / "a" / "loop").symlink_to(tmp_path / "videos")
    assert [video.source for video in find_videos(tmp_path / "videos")] == ["a/one.MP4", "link/two.webm"]


def test_columns_of_the_table_change_only_on_purpose():
    where = ["source", "source_sha256", "sequence_id", "shot", "track", "start_s", "end_s", "num_frames"]
    seen = ["box_width_px", "box_height_px", "fps", "num_windows"]
    scores = ["confidence", "confidence_mismatched", "distance", "offset_frames"]
    fate = ["kept", "reason", "error_class", "error_message", "digest"]
    assert list(PreparedRow.model_fields) == [*where, *seen, *scores, *fate]
