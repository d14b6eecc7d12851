"""Who of two people speaks, found in drawn clips and in a real one, and a run that has the speaker sing."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models import registry
from models.detectors import Detector, load_detector
from models.scorers import Scorer, load_scorer
from singalong.config import Settings
from singalong.contracts import ClipFacts, ModelRef
from singalong.errors import InputError
from singalong.people import people_of
from singalong.store import Store
from singalong.tracks import ChosenFace, choose_face
from tasks import speakers as speakers_module
from tasks.analyse import Analysis, analyse_clip, load_analysis
from tasks.clues import Where, clues_of, load_speaking, speakers_version
from tasks.probe_media import clip_facts
from tasks.score import score_video
from tasks.speakers import find_speakers
from tests.two_people import SPEAKER, WIDTH, person, write_two_people

SETTINGS = Settings()


@cache
def models(home: Path = Path("/nonexistent")) -> tuple[ModelRef, Detector, ModelRef, Scorer]:
    detector, scorer = (
        registry.resolve("centerface", "detector", home=home),
        registry.resolve("auto", "scorer", home=home),
    )
    assert detector is not None
    assert scorer is not None
    return detector, load_detector(detector), scorer, load_scorer(scorer, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speakers")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(folder / "store")


@pytest.fixture(scope="module")
def two_people(folder: Path) -> Path:
    return write_two_people(folder / "two.mp4")


def analysed(path: Path, store: Store) -> tuple[ClipFacts, Path]:
    clip = clip_facts(str(path), settings=SETTINGS, store=store)
    ref, detector, *_ = models()
    return clip, analyse_clip(clip, detector=detector, detector_ref=ref, settings=SETTINGS.analysis, store=store)


def found_in(path: Path, store: Store) -> tuple[ClipFacts, Analysis, Path]:
    """Facts of a clip, its whole analysis, and the folder of its speakers."""
    clip, analysis = analysed(path, store)
    detector_ref, _, scorer_ref, scorer = models()
    version = speakers_version(SETTINGS.analysis, detector_ref, scorer_ref)
    folder = find_speakers(clip, analysis=analysis, version=version, scorer=scorer, scorer_ref=scorer_ref, store=store)
    return clip, load_analysis(analysis, 0.0, clip.duration_s), folder


def chosen(path: Path, store: Store, face: str) -> ChosenFace:
    clip, analysis, folder = found_in(path, store)
    clues = clues_of(analysis, start_s=0.0, end_s=clip.duration_s, speakers=folder, where=Where(clip.path))
    return choose_face(analysis.tracks, analysis.shots, face, 0.0, clip.duration_s, clues)


def centre_x(face: ChosenFace) -> float:
    return float(np.median(face.boxes[:, [0, 2]]))


def test_the_one_who_is_heard_is_chosen_though_another_face_is_larger_and_moves_its_lips(
    two_people: Path, store: Store
) -> None:
    assert centre_x(chosen(two_people, store, "largest")) < WIDTH
    assert centre_x(chosen(two_people, store, "speaker")) > WIDTH
    _, analysis, folder = found_in(two_people, store)
    assert not load_speaking(folder, analysis.tracks, 0.0, 9.0).unsure


def test_late_sound_is_late_for_everybody_and_does_not_hide_who_speaks(folder: Path, store: Store) -> None:
    late = write_two_people(folder / "late.mp4", late_s=0.2)
    assert centre_x(chosen(late, store, "speaker")) > WIDTH
    _, _, found = found_in(late, store)
    assert (
        -7 <= speakers_module.SpeakersFacts.model_validate_json((found / "facts.json").read_bytes()).offset_frames <= -3
    )


def test_pictures_that_stand_for_two_steps_each_do_not_hide_who_speaks(folder: Path, store: Store) -> None:
    slow = write_two_people(folder / "slow.mp4", fps=Fraction(25, 2))
    assert centre_x(chosen(slow, store, "speaker")) > WIDTH
    rows = pq.read_table(found_in(slow, store)[2] / "speakers.parquet").to_pylist()
    assert max(row["follows"] for row in rows) > 0.7


def test_a_clip_is_judged_once(two_people: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, before = found_in(two_people, store)
    monkeypatch.setattr(speakers_module, "ClipReader", _must_not_be_called)
    assert found_in(two_people, store)[2] == before


def _must_not_be_called(*_args: object) -> None:
    raise AssertionError


def test_each_track_has_a_row_with_its_own_numbers(two_people: Path, store: Store) -> None:
    _, analysis, folder = found_in(two_people, store)
    rows = pq.read_table(folder / "speakers.parquet").to_pylist()
    assert {row["track"] for row in rows} == set(analysis.tracks.track.tolist())
    speaker = max(rows, key=lambda row: row["confidence"])
    assert speaker["offset_frames"] in (-1, 0, 1)
    assert speaker["confidence_mismatched"] < speaker["confidence"] / 2


def test_a_span_in_which_nobody_is_heard_is_refused_with_what_to_do(folder: Path, store: Store) -> None:
    silent = write_two_people(folder / "silent.mp4", late_s=9.0)
    clip, analysis, found = found_in(silent, store)
    with pytest.raises(InputError, match="nobody is heard") as caught:
        clues_of(analysis, start_s=0.0, end_s=2.4, speakers=found, where=Where(clip.path, 3))
    for part in (clip.path, "row 3", "index:N", "at:X,Y@T"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="nobody is heard") as caught:
        clues_of(analysis, start_s=0.0, end_s=2.4, speakers=found, where=Where(clip.path, 3, "people/b.csv row 1"))
    assert "people/b.csv row 1" in str(caught.value)
    assert "row 3" not in str(caught.value)


def test_a_shot_that_shows_one_person_needs_no_scoring(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers_module, "face_frames", _must_not_be_called)
    alone = person(SPEAKER, seconds=1.0, half_height=0.3).write(folder / "alone.mp4")
    assert len(chosen(alone, store, "speaker").pts_s) > 20
    assert pq.read_table(found_in(alone, store)[2] / "speakers.parquet").num_rows == 0


def test_in_a_real_film_of_single_shots_each_face_sings(shared_data: Path, store: Store) -> None:
    face = chosen(shared_data / "clips" / "cuts_3speakers_noface.mp4", store, "speaker")
    assert len(set(face.shot.tolist())) == 3


def test_the_speaker_of_a_real_clip_is_found(shared_data: Path, store: Store) -> None:
    clip = shared_data / "clips" / "grid_two_faces_left_speaks.mp4"
    assert centre_x(chosen(clip, store, "speaker")) < 360
    _, analysis, _ = found_in(clip, store)
    assert len(people_of(analysis.tracks, 0.0, 9.0)[0]) == 2


@pytest.mark.parametrize(("face", "fits"), [("speaker", True), ("largest", False)])
def test_the_speaker_of_a_video_can_be_scored(two_people: Path, store: Store, face: str, fits: bool) -> None:
    detector_ref, detector, scorer_ref, scorer = models()
    score = score_video(
        two_people,
        scorer=scorer,
        scorer_ref=scorer_ref,
        detector=detector,
        detector_ref=detector_ref,
        store=store,
        settings=SETTINGS,
        face=face,
    ).score
    assert score.confidence is not None
    assert (score.confidence > 0.25) is fits
