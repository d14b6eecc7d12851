from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from singalong.linking import FaceTrack, Sample, link_samples
from singalong.settings import AnalysisSettings
from singalong.track_filling import fill_track
from tests.singalong.face_samples import FPS, box, sample

PAPER = AnalysisSettings(smoothing="paper")
LINES = AnalysisSettings(smooth_s=0)
UNSMOOTHED = AnalysisSettings(smoothing="paper", smooth_window=1)


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
        filled(seen, times_s, settings=UNSMOOTHED, frame_size=(4096, 4096))
        for seen in link_samples(samples, max_gap_s=1.0)
    ]
    # It drops tracks of at most 100 detections, 50 in the last case; here those that use them decide.
    long = [track for track in tracks if track.detected.sum() > (50 if case == "short_mt50" else 100)]
    assert len(long) == int(expected["ntracks"])
    for index, track in enumerate(sorted(long, key=lambda track: _distance(track.boxes, expected["track0_bbox"]))):
        np.testing.assert_array_equal(track.frames, expected[f"track{index}_frame"])
        assert np.abs(track.boxes - expected[f"track{index}_bbox"]).max() <= 0.5  # ours are whole pixels


def _distance(boxes: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(boxes[0] - others[0]).max())


def swaying(
    fps: float, settings: AnalysisSettings, *, swing_px: float = 8.0, noise_px: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Centres of a head that sways once a second as found in each frame, and the true ones, across.

    It is looked for every 0.2 s; the paper's way frame by frame.
    """
    times_s = np.arange(int(4 * fps)) / fps
    true = 100 + swing_px * np.sin(2 * np.pi * times_s)
    step = 1 if settings.smoothing == "paper" else max(1, round(0.2 * fps))
    looked = [*range(0, len(times_s) - 1, step), len(times_s) - 1]
    lefts = true[looked] + np.random.default_rng(0).normal(0, noise_px, len(looked)) - 40
    seen = [(sample(n, box(left), pts_s=times_s[n]), 0) for n, left in zip(looked, lefts, strict=True)]
    boxes = filled(seen, times_s, settings=settings).boxes
    return (boxes[:, 0] + boxes[:, 2]) / 2, true


def error(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - true) ** 2)))


@pytest.mark.parametrize("fps", [12.0, 25.0, 60.0, 120.0])
def test_smoothing_neither_lags_nor_flattens_a_nod_at_any_frame_rate(fps: float) -> None:
    found, true = swaying(fps, AnalysisSettings())
    assert np.abs(found - true).max() < 2.5  # of a swing of 16
    assert abs(np.mean((found - true) * np.gradient(true))) < 0.2  # lag: the error goes with the speed
    if fps <= 25:
        assert error(found, true) < 0.5 * error(*swaying(fps, PAPER))


def test_a_head_that_stands_still_does_not_jitter() -> None:
    def jitter(settings: AnalysisSettings) -> float:
        found, _ = swaying(25.0, settings, swing_px=0, noise_px=0.5)
        return float(np.sqrt(np.mean(np.diff(found, 2) ** 2)))

    assert jitter(AnalysisSettings()) < 0.5 * jitter(PAPER)
    assert jitter(AnalysisSettings()) < 0.2 * jitter(UNSMOOTHED)


def test_a_box_does_not_breathe_with_the_mouth() -> None:
    heights = [80 + 8 * (n % 2) for n in range(11)]
    seen = [(sample(5 * n, [50, 100, 130, 100 + height]), 0) for n, height in enumerate(heights)]
    smooth, raw = (filled(seen, np.arange(51) / FPS, settings=settings) for settings in (AnalysisSettings(), LINES))
    swing, raw_swing = (np.ptp((track.boxes[:, 3] - track.boxes[:, 1])[10:40]) for track in (smooth, raw))
    assert raw_swing == 8
    assert swing <= 2


def test_frames_in_which_a_face_was_looked_for_in_vain_are_hidden() -> None:
    seen = [(sample(frame, box(50)), 0) for frame in (0, 5, 15, 20)]
    track = filled(seen, np.arange(21) / FPS, settings=AnalysisSettings(), looked=(0, 5, 8, 10, 15, 20))
    assert np.flatnonzero(track.hidden).tolist() == list(range(6, 15))


def test_a_face_followed_by_its_picture_counts_as_there_but_not_as_detected() -> None:
    seen = [(sample(0, box(50)), 0), (sample(5, box(50), score=0.0), 0), (sample(10, box(50)), 0)]
    track = filled(seen, np.arange(11) / FPS, settings=AnalysisSettings(), looked=(0, 5, 10))
    assert not track.hidden.any()
    assert np.flatnonzero(track.detected).tolist() == [0, 10]
