"""What is read of the caches: who speaks in a span of a clip, by the pieces that touch it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.frames_table import MAX_OFFSET_FRAMES
from singalong.speaking import NUM_OFFSETS, TrackEvidence, to_table
from singalong.track_table import TrackTable
from tasks.clues import FACTS_FILE, SPEAKERS_TABLE, SpeakersFacts, likeness_version, load_speaking, speakers_version
from tests.singalong.builders import model
from tests.singalong.test_tracks import clip, square, track


@pytest.fixture
def tracks() -> TrackTable:
    """Ten seconds of two people; the right one is two tracks, as a hand hid the face for a while."""
    people = [track(0, 250, square(0)), track(0, 120, square(400)), track(130, 250, square(400))]
    return clip((250, people))[0]


def said(track_number: int, start_s: float, end_s: float, *, speaks: bool, num_windows: int = 100) -> TrackEvidence:
    distances = 1 + np.random.default_rng([track_number, round(start_s)]).normal(0, 0.02, NUM_OFFSETS)
    distances[MAX_OFFSET_FRAMES] -= 0.2 * speaks
    correlations = np.zeros(NUM_OFFSETS)
    correlations[MAX_OFFSET_FRAMES] = 0.6 * speaks
    return TrackEvidence(0, track_number, start_s, end_s, num_windows, 125, distances, correlations)


def folder_of(path: Path, rows: list[TrackEvidence]) -> Path:
    pq.write_table(to_table(rows), path / SPEAKERS_TABLE)
    facts = SpeakersFacts(clip="a.mp4", scorer="s", scorer_sha256="0", offset_frames=0, num_shots=1, num_rows=len(rows))
    (path / FACTS_FILE).write_text(facts.model_dump_json())
    return path


def test_who_takes_turns_is_judged_by_the_span_of_the_pair(tracks: TrackTable, tmp_path: Path) -> None:
    """Left speaks in the first half, right in the second."""
    halves = ((0.0, 5.0), (5.0, 10.0))
    rows = [
        *[said(0, *half, speaks=number == 0) for number, half in enumerate(halves)],
        *[said(1 + number, *half, speaks=number == 1) for number, half in enumerate(halves)],
    ]
    folder = folder_of(tmp_path, rows)
    first, second = (load_speaking(folder, tracks, *span).by_track for span in ((0.5, 6.0), (4.5, 9.5)))
    assert first[0] > first[1]
    assert second[2] > second[0]


def test_all_tracks_of_a_person_share_what_is_known_of_the_person(tracks: TrackTable, tmp_path: Path) -> None:
    """A few lucky windows of one track do not speak for the whole person."""
    rows = [
        said(0, 0.0, 5.0, speaks=True),
        said(1, 0.0, 5.0, speaks=False),
        said(2, 5.0, 10.0, speaks=True, num_windows=12),
    ]
    by_track = load_speaking(folder_of(tmp_path, rows), tracks, 0.0, 10.0).by_track
    assert by_track[1] == by_track[2] < by_track[0]


def test_two_who_fit_alike_are_told_as_unsure_and_one_who_stands_out_is_not(tracks: TrackTable, tmp_path: Path) -> None:
    alike = [said(0, 0.0, 5.0, speaks=True), said(1, 0.0, 5.0, speaks=True)]
    assert load_speaking(folder_of(tmp_path, alike), tracks, 0.0, 10.0).unsure == (0,)
    clear = [said(0, 0.0, 5.0, speaks=True), said(1, 0.0, 5.0, speaks=False)]
    assert load_speaking(folder_of(tmp_path, clear), tracks, 0.0, 10.0).unsure == ()


def test_another_scorer_or_detector_looks_for_speakers_anew_and_pictures_hang_on_the_detector_alone() -> None:
    analysis = Settings().analysis
    detectors, scorers = (model("d"), model("d2")), (model("s"), model("s2"))
    speakers = {speakers_version(analysis, detector, scorer) for detector in detectors for scorer in scorers}
    assert len(speakers) == 4
    assert len({likeness_version(analysis, detector) for detector in detectors}) == 2
    renamed = ModelRef(name="other", architecture="wav2lip", weights_sha256=model("s").weights_sha256)
    assert speakers_version(analysis, model("d"), renamed) in speakers
