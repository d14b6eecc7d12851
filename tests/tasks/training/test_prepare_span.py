from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from singalong.config import Settings
from singalong.settings import PrepareSettings
from singalong.store import Store
from tasks.jobs import SequencesJob, SurveyJob
from tasks.training.prepare_records import PreparedRow, Reason, read_marker
from tasks.training.prepare_span import prepare_span
from tasks.training.prepare_survey import survey_video
from tasks.training.sequences import SequenceSet, committed, num_mel_steps_needed
from tests.tasks.training.talking import DETECTOR_REF, Faces, Lips, mel_of_speech, speech, talking_video
from tests.videos import number_in

SMALL = {"min_face_px": 32, "min_windows": 10, "min_confidence": 0.05}


@pytest.fixture(autouse=True)
def one_shot(monkeypatch):
    """Numbered pictures change so much that they look like cuts."""
    monkeypatch.setattr("tasks.shots.CutFinder._push_small", lambda *_: False)


def prepare(video: Path, *, scorer=None, faces=None, end_s=1e9, start_s=0.0, **settings) -> list[PreparedRow]:
    """Rows of one span of a video, its dataset beside it."""
    everything = Settings(prepare=PrepareSettings(**{**SMALL, **settings}))
    store, dataset = Store(video.parent / "store"), video.parent / "data"
    survey = survey_video(
        SurveyJob(path=str(video), dataset=str(dataset), version="v"),
        settings=everything,
        detector=lambda: faces or Faces(),
        detector_ref=DETECTOR_REF,
        store=store,
    )
    job = SequencesJob(
        clip=survey.clip,
        source=video.name,
        analysis=survey.analysis,
        dataset=str(dataset),
        version="v",
        span=0,
        start_s=start_s,
        end_s=end_s,
    )
    marker = read_marker(prepare_span(job, settings=everything, scorer=scorer), version="v")
    assert marker is not None
    return list(marker.rows)


def only_sequence(tmp_path: Path) -> SequenceSet:
    return SequenceSet(tmp_path / "data", split="train", val_share=0)


def numbers(faces: np.ndarray) -> list[int]:
    return [number_in(face[..., 1]) for face in faces]


@pytest.mark.parametrize("late", [-5, 0, 3])
def test_sound_that_is_off_is_moved_until_it_fits_the_lips(tmp_path, late):
    """late -5: the sound of each mouth is heard five frames after it."""
    samples = speech(5)
    video = talking_video(tmp_path / "talk.mkv", samples)
    (row,) = prepare(video, scorer=Lips(samples, late=late))
    assert row.offset_frames == late
    assert row.kept
    data = only_sequence(tmp_path)
    first_number = numbers(data.faces(0, [0]))[0]
    assert first_number == round(row.start_s * 25) == max(0, late)
    assert row.num_frames == data.num_frames(0) == 121 + min(0, late)
    whole, mel = mel_of_speech(samples), data.mel(0)
    for frame in range(0, row.num_frames, 5):
        column, sounds_at = frame * 16 // 5, (first_number + frame - late) * 16 / 5
        if sounds_at.is_integer() and column >= 3:
            np.testing.assert_allclose(mel[:, column], whole[:, int(sounds_at)], atol=0.02)


def test_every_frame_shows_its_moment_and_has_its_sound(tmp_path):
    samples = speech(4)
    video = talking_video(tmp_path / "talk.mkv", samples, seconds=4)
    prepare(video, scorer=Lips(samples))
    data = only_sequence(tmp_path)
    num = data.num_frames(0)
    assert numbers(data.faces(0, range(num))) == list(range(num))
    assert data.mel(0).shape == (80, num_mel_steps_needed(num))


@pytest.mark.parametrize("fps", ["30000/1001", "50", "24"])
def test_other_frame_rates_are_sampled_at_25_by_time(tmp_path, fps):
    samples = speech(4)
    rate = Fraction(fps)
    video = talking_video(tmp_path / "talk.mkv", samples, fps=rate, seconds=4)
    (row,) = prepare(video, scorer=Lips(samples, fps=float(rate)))
    assert (row.kept, row.offset_frames) == (True, 0)
    data = only_sequence(tmp_path)
    shown = np.array(numbers(data.faces(0, range(data.num_frames(0)))))
    wanted = (round(row.start_s * 25) + np.arange(len(shown))) / 25 * float(rate)
    assert np.abs(shown - wanted).max() <= 0.51


def test_a_hole_in_the_video_splits_it(tmp_path):
    samples = speech(6)
    shown = [*range(70), *range(85, 150)]
    video = talking_video(tmp_path / "talk.mkv", samples, numbers=shown)
    rows = prepare(video, scorer=Lips(samples))
    assert [row.kept for row in rows] == [True, True]
    assert [round(row.start_s * 25) for row in rows] == [0, 83]
    assert [row.num_frames for row in rows] == [72, 63]


def test_only_the_face_that_speaks_is_kept(tmp_path):
    samples = speech(5)
    video = talking_video(tmp_path / "two.mkv", samples)
    both = Faces(lambda _: [(0.05, 0.1, 0.45, 0.9), (0.55, 0.1, 0.95, 0.9)])
    scorer = Lips(samples, speaker_x=40)
    rows = prepare(video, scorer=scorer, faces=both, max_offset_frames=15, min_confidence=-1.0, min_margin=-9.0)
    assert [(row.kept, row.reason) for row in rows] == [(True, None), (False, Reason.ANOTHER_SPEAKS)]
    assert rows[0].confidence > rows[1].confidence
    assert len(list(committed(tmp_path / "data"))) == 1


def test_lips_that_fit_nothing_are_left_out(tmp_path):
    video = talking_video(tmp_path / "dubbed.mkv", speech(5))
    (row,) = prepare(video, scorer=Lips(speech(5, seed=9)), min_confidence=2.0)
    assert (row.kept, row.reason) == (False, Reason.LOW_CONFIDENCE)
    assert row.confidence is not None
    assert list(committed(tmp_path / "data")) == []
    assert list((tmp_path / "data" / "tmp").rglob("faces.jpgs")) == []


def test_offsets_too_large_to_trust_are_left_out(tmp_path):
    samples = speech(5)
    video = talking_video(tmp_path / "far.mkv", samples)
    (row,) = prepare(video, scorer=Lips(samples, late=10))
    assert (row.kept, row.reason, row.offset_frames) == (False, Reason.FAR_OFFSET, 10)


def test_confidence_no_better_than_with_wrong_sound_is_left_out(tmp_path):
    samples = speech(5)
    video = talking_video(tmp_path / "talk.mkv", samples)
    (row,) = prepare(video, scorer=Lips(samples), min_margin=50.0)
    assert (row.kept, row.reason) == (False, Reason.WRONG_SOUND)


def test_silence_cannot_be_scored(tmp_path):
    samples = speech(5)
    video = talking_video(tmp_path / "quiet.mkv", np.zeros_like(samples))
    (row,) = prepare(video, scorer=Lips(samples))
    assert (row.kept, row.reason, row.confidence) == (False, Reason.LITTLE_VOICE, None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"min_s": 8.0}, Reason.TOO_SHORT),
        ({"min_face_px": 200}, Reason.SMALL_FACE),
        ({"min_fps": 40}, Reason.FEW_FRAMES),
    ],
)
def test_what_is_unfit_is_not_decoded(tmp_path, settings, reason, monkeypatch):
    monkeypatch.setattr("tasks.training.prepare_span.ClipReader.read_chunk", None)
    samples = speech(5)
    video = talking_video(tmp_path / "talk.mkv", samples)
    (row,) = prepare(video, scorer=Lips(samples), **settings)
    assert (row.kept, row.reason, row.num_frames) == (False, reason, 125)


def test_a_video_without_sound_is_a_row_and_its_faces_are_not_looked_for(tmp_path):
    faces = Faces()
    (row,) = prepare(talking_video(tmp_path / "mute.mkv", None), faces=faces)
    assert (row.reason, row.track, faces.num_looks) == (Reason.NO_SOUND, None, 0)


def test_a_video_without_faces_is_a_row(tmp_path):
    (row,) = prepare(talking_video(tmp_path / "empty.mkv", speech(5)), faces=Faces(lambda _: []))
    assert (row.reason, row.track, row.end_s) == (Reason.NO_FACE, None, pytest.approx(5, abs=0.1))


def test_sound_that_ends_early_ends_the_sequence(tmp_path):
    samples = speech(3)
    (row,) = prepare(talking_video(tmp_path / "talk.mkv", samples), scorer=Lips(samples))
    assert row.kept
    assert row.num_frames in (70, 71)


def test_a_face_without_any_sound_is_left_out(tmp_path):
    samples = speech(2)
    video = talking_video(tmp_path / "talk.mkv", samples, numbers=range(75, 140))
    (row,) = prepare(video, scorer=Lips(samples))
    assert row.reason is Reason.NO_SOUND


def test_without_a_scorer_all_is_kept_as_it_is_but_one_face_at_a_time(tmp_path):
    video = talking_video(tmp_path / "two.mkv", speech(5))
    both = Faces(lambda _: [(0.0, 0.3, 0.4, 0.7), (0.5, 0.0, 1.0, 1.0)])
    rows = prepare(video, faces=both)
    assert {(row.track, row.kept, row.offset_frames) for row in rows} == {(0, False, None), (1, True, None)}


def test_pads_grow_the_crop(tmp_path):
    video = talking_video(tmp_path / "talk.mkv", speech(5))
    middle = Faces(lambda _: [(0.25, 0.25, 0.75, 0.75)])
    prepare(video, faces=middle, pads=(24, 24, 32, 32))
    data = only_sequence(tmp_path)
    assert numbers(data.faces(0, [3, 40])) == [3, 40]  # the whole picture again


def test_long_tracks_are_cut(tmp_path):
    samples = speech(8)
    video = talking_video(tmp_path / "long.mkv", samples, seconds=8)
    rows = prepare(video, scorer=Lips(samples), max_s=3.0)
    assert [round(row.start_s * 25) for row in rows] == [0, 66, 133]
    assert all(row.kept for row in rows)


def test_a_finished_span_is_not_done_again(tmp_path, monkeypatch):
    samples = speech(5)
    video = talking_video(tmp_path / "talk.mkv", samples)
    first = prepare(video, scorer=Lips(samples))
    monkeypatch.setattr("tasks.training.prepare_span.read_span_sound", None)
    assert prepare(video, scorer=Lips(samples)) == first


def test_a_span_whose_sequence_is_gone_is_done_again(tmp_path):
    samples = speech(5)
    video = talking_video(tmp_path / "talk.mkv", samples)
    (first,) = prepare(video, scorer=Lips(samples))
    (tmp_path / "data/sequences" / first.sequence_id / "mel.npy").unlink()
    assert prepare(video, scorer=Lips(samples)) == [first]
    assert only_sequence(tmp_path).num_frames(0) == first.num_frames
