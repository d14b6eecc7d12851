from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.config import AnalysisSettings
from singalong.linking import FaceTrack, Sample, link_samples, match_boxes, samples_between
from singalong.track_filling import fill_track

FPS = 25.0


def box(x: float, y: float = 100.0, side: float = 80.0) -> list[float]:
    return [x, y, x + side, y + side]


PAPER = AnalysisSettings(smoothing="paper")
LINES = AnalysisSettings(smooth_s=0)

LOOKS = np.eye(4, dtype=np.float32)


def sample(
    frame: int,
    *boxes: list[float],
    pts_s: float | None = None,
    people: Sequence[int] | None = None,
    score: float = 0.9,
) -> Sample:
    """Faces in a frame; all of one look, unless `people` numbers them."""
    corners = np.array(boxes, dtype=float).reshape(-1, 4)
    landmarks = np.repeat(corners[:, None, :2], 5, axis=1) + np.arange(5)[None, :, None]
    looks = LOOKS[list(people or [0] * len(corners))]
    scores, sharpness = np.full(len(corners), score), np.full(len(corners), 0.8)
    return Sample(frame, frame / FPS if pts_s is None else pts_s, corners, scores, landmarks, sharpness, looks)


def filled(
    seen: list[tuple[Sample, int]],
    times_s: np.ndarray,
    *,
    settings: AnalysisSettings,
    first_frame: int = 0,
    looked: Sequence[int] = (),
    frame_size: tuple[int, int] = (640, 360),
) -> FaceTrack:
    return fill_track(seen, times_s, first_frame=first_frame, looked=looked, settings=settings, frame_size=frame_size)


def frames_of(track: list[tuple[Sample, int]]) -> list[int]:
    return [seen.frame for seen, _ in track]


def test_each_face_is_matched_with_the_one_nearest_in_place_and_size() -> None:
    left = np.array([box(0), box(200), box(400)])
    right = np.array([box(405), box(10), box(190)])
    assert sorted(match_boxes(left, right)) == [(0, 1), (1, 2), (2, 0)]


def test_a_face_is_matched_once_only() -> None:
    assert match_boxes(np.array([box(0), box(30)]), np.array([box(25)])) == [(1, 0)]


@pytest.mark.parametrize("other", [box(200), box(30, side=20)], ids=["elsewhere", "of another size"])
def test_faces_far_apart_in_place_or_size_are_not_matched(other: list[float]) -> None:
    assert match_boxes(np.array([box(0)]), np.array([other])) == []


@pytest.mark.parametrize(("num_left", "num_right"), [(0, 0), (0, 2), (1, 0)])
def test_nothing_is_matched_with_nothing(num_left: int, num_right: int) -> None:
    assert match_boxes(np.ones((num_left, 4)), np.ones((num_right, 4))) == []


@given(st.integers(2, 48), st.data())
def test_the_frame_in_which_a_face_appears_is_found_exactly_with_few_looks(length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, length))
    looks: list[int] = []

    def look(frame: int) -> Sample:
        looks.append(frame)
        return sample(frame, *([box(50)] if frame >= first else []))

    samples = [look(0), *samples_between(look(0), look(length), look), look(length)]
    [track] = link_samples(samples, max_gap_s=0.8)
    assert track[0][0].frame == first
    assert len(looks) <= 4 + np.ceil(np.log2(length))
    assert [s.frame for s in samples] == sorted({s.frame for s in samples})


def test_nothing_is_looked_for_between_samples_that_agree() -> None:
    def look(frame: int) -> Sample:
        raise AssertionError(frame)

    assert samples_between(sample(0, box(50), box(300)), sample(5, box(304), box(52)), look) == []
    assert samples_between(sample(0), sample(5), look) == []


def test_a_face_that_moved_far_is_followed_frame_by_frame_where_needed() -> None:
    def look(frame: int) -> Sample:
        return sample(frame, box(50 + 40 * frame))

    between = samples_between(look(0), look(8), look)
    [track] = link_samples([look(0), *between, look(8)], max_gap_s=0.8)
    assert len(between) > 2
    assert frames_of(track)[-1] == 8


def test_a_track_survives_misses_up_to_the_longest_gap() -> None:
    misses = [sample(frame) for frame in range(5, 20, 5)]
    [track] = link_samples([sample(0, box(50)), *misses, sample(20, box(52))], max_gap_s=0.8)
    assert frames_of(track) == [0, 20]


def test_a_longer_gap_splits_the_track() -> None:
    misses = [sample(frame) for frame in range(5, 25, 5)]
    tracks = link_samples([sample(0, box(50)), *misses, sample(25, box(52))], max_gap_s=0.8)
    assert list(map(frames_of, tracks)) == [[0], [25]]


def test_time_without_a_look_is_no_gap() -> None:
    [track] = link_samples([sample(0, box(50), pts_s=0.0), sample(1, box(52), pts_s=3.0)], max_gap_s=0.8)
    assert frames_of(track) == [0, 1]


def test_neighbours_keep_their_tracks_when_the_detector_changes_their_order() -> None:
    samples = [sample(0, box(0), box(100)), sample(5, box(104), box(3)), sample(10, box(6))]
    left, right = link_samples(samples, max_gap_s=0.8)
    assert [seen.boxes[face, 0] for seen, face in left] == [0, 3, 6]
    assert [seen.boxes[face, 0] for seen, face in right] == [100, 104]


def test_boxes_and_landmarks_between_detections_lie_on_a_line_over_presentation_time() -> None:
    times_s = np.array([10.0, 10.1, 10.3, 10.4])  # the third frame came late
    seen = [(sample(7, box(0), pts_s=10.0), 0), (sample(10, box(40), pts_s=10.4), 0)]
    track = filled(seen, times_s, first_frame=7, settings=LINES)
    assert track.frames.tolist() == [7, 8, 9, 10]
    assert track.boxes[:, 0].tolist() == [0, 10, 30, 40]
    np.testing.assert_allclose(track.landmarks[:, 2, 0], [2, 12, 32, 42])
    assert track.detected.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(track.pts_s, times_s)


def test_boxes_are_clipped_to_the_frame() -> None:
    seen = [(sample(0, [-5.4, 20.0, 90.0, 110.3]), 0)]
    track = filled(seen, np.zeros(1), settings=AnalysisSettings(), frame_size=(64, 100))
    assert track.boxes.tolist() == [[0, 20, 64, 100]]


@pytest.mark.parametrize("settings", [PAPER, AnalysisSettings()], ids=["paper", "ours"])
def test_a_static_face_stays_static_when_smoothed(settings: AnalysisSettings) -> None:
    seen = [(sample(frame, box(50.4)), 0) for frame in (0, 5, 10, 12)]
    track = filled(seen, np.arange(13) / FPS, settings=settings)
    assert np.unique(track.boxes, axis=0).tolist() == [[50, 100, 130, 180]]


def test_the_papers_smoothing_runs_over_the_frames_between_detections_too() -> None:
    seen = [(sample(0, box(0)), 0), (sample(10, box(100)), 0)]
    track = filled(seen, np.arange(11) / FPS, settings=PAPER)
    assert track.boxes[:7, 0].tolist() == [20, 30, 40, 50, 60, 70, 80]  # the paper's window looks two frames ahead


@pytest.mark.parametrize("case", ["one", "two", "gap", "gap_long", "short_mt50"])
def test_tracks_equal_those_of_syncnet_python(golden: Path, case: str) -> None:
    """Its `run_pipeline` joins faces over 25 frames at most, and interpolates boxes to every frame in between."""
    with np.load(golden / "pipeline.npz") as vectors:
        expected = {name.removeprefix(f"{case}."): vectors[name] for name in vectors if name.startswith(f"{case}.")}
    num_frames, detections = int(expected["nframes"]), expected["det"]
    samples = [sample(n, *detections[detections[:, 0] == n, 1:].tolist()) for n in range(num_frames)]
    times_s = np.arange(num_frames) / FPS
    tracks = [
        filled(seen, times_s, settings=LINES, frame_size=(4096, 4096)) for seen in link_samples(samples, max_gap_s=1.0)
    ]
    # It drops tracks of at most 100 detections, 50 in the last case; here those that use them decide.
    long = [track for track in tracks if track.detected.sum() > (50 if case == "short_mt50" else 100)]
    assert len(long) == int(expected["ntracks"])
    for index, track in enumerate(sorted(long, key=lambda track: _distance(track.boxes, expected["track0_bbox"]))):
        np.testing.assert_array_equal(track.frames, expected[f"track{index}_frame"])
        assert np.abs(track.boxes - expected[f"track{index}_bbox"]).max() <= 0.5  # ours are whole pixels


def _distance(boxes: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(boxes[0] - others[0]).max())
