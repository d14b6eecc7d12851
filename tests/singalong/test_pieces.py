import numpy as np
import pytest

from singalong.pieces import pieces_of
from singalong.track_table import ShotTable, TrackTable


def tracks(*seen: tuple[int, int, np.ndarray]) -> TrackTable:
    """One or more (shot, track, presentation times); boxes move a pixel a row."""
    pts_s = np.concatenate([times for _, _, times in seen])
    lengths = [len(times) for _, _, times in seen]
    left = np.concatenate([np.arange(length) for length in lengths])
    num = len(pts_s)
    return TrackTable(
        frame_size=(640, 480),
        frame_s=0.04,
        shot=np.repeat([shot for shot, _, _ in seen], lengths),
        track=np.repeat([track for _, track, _ in seen], lengths),
        frame=np.arange(num),
        pts_s=pts_s,
        detected=np.ones(num, bool),
        score=np.ones(num),
        sharpness=np.ones(num),
        hidden=np.zeros(num, bool),
        flaws=np.zeros(num, np.int64),
        weights=np.ones(num),
        boxes=np.stack([left, left, left + 100, left + 120], axis=1),
        landmarks=np.zeros((num, 5, 2)),
    )


def shots(*bounds_s: float) -> ShotTable:
    edges = np.array(bounds_s)
    frames = np.round(edges * 25).astype(np.int64)
    return ShotTable(np.arange(len(edges) - 1), frames[:-1], frames[1:], edges[:-1], edges[1:])


def pieces(table, shot_table, start_s=0.0, end_s=1e9, max_s=10.0):
    return list(pieces_of(table, shot_table, start_s=start_s, end_s=end_s, max_s=max_s))


def test_at_25_fps_every_frame_is_a_step():
    (piece,) = pieces(tracks((0, 0, np.arange(50) / 25)), shots(0, 2))
    (candidate,) = piece.candidates
    assert (candidate.first_step, candidate.num_steps, candidate.fps) == (0, 50, 25)
    np.testing.assert_array_equal(candidate.pts_s, np.arange(50) / 25)
    np.testing.assert_array_equal(candidate.boxes[:, 0], np.arange(50))
    assert candidate.box_size == (100, 120)


@pytest.mark.parametrize("fps", [12, 23.976, 29.97, 30, 50, 60])
def test_a_step_shows_the_frame_nearest_to_it(fps):
    pts_s = np.arange(int(4 * fps)) / fps
    (piece,) = pieces(tracks((0, 0, pts_s)), shots(0, 4))
    (candidate,) = piece.candidates
    steps_s = (candidate.first_step + np.arange(candidate.num_steps)) / 25
    nearest = np.abs(pts_s[:, None] - steps_s).min(axis=0)
    np.testing.assert_allclose(np.abs(candidate.pts_s - steps_s), nearest, atol=1e-12)
    assert candidate.fps == pytest.approx(min(fps, 25), abs=0.6)
    assert candidate.num_steps >= 98


def test_uneven_times_are_followed():
    rng = np.random.default_rng(0)
    pts_s = np.cumsum(rng.uniform(0.02, 0.13, 60))
    (piece,) = pieces(tracks((0, 0, pts_s)), shots(0, float(pts_s[-1]) + 0.04))
    (candidate,) = piece.candidates
    steps_s = (candidate.first_step + np.arange(candidate.num_steps)) / 25
    assert np.abs(candidate.pts_s - steps_s).max() <= 0.07


def test_a_hole_in_the_video_ends_a_sequence():
    pts_s = np.concatenate([np.arange(50), np.arange(80, 130)]) / 25
    (piece,) = pieces(tracks((0, 0, pts_s)), shots(0, 5.2))
    assert [(c.first_step, c.end_step) for c in piece.candidates] == [(0, 52), (78, 130)]


def test_long_shots_are_cut_into_equal_pieces_and_nothing_is_lost():
    (one, two, three) = pieces(tracks((0, 0, np.arange(600) / 25)), shots(0, 24))
    assert [(p.first_step, p.end_step) for p in (one, two, three)] == [(0, 200), (200, 400), (400, 600)]
    assert [c.num_steps for p in (one, two, three) for c in p.candidates] == [200, 200, 200]


def test_spans_share_out_the_pieces():
    table, shot_table = tracks((0, 0, np.arange(1000) / 25), (1, 1, 40 + np.arange(500) / 25)), shots(0, 40, 60)
    whole = pieces(table, shot_table)
    parts = [piece for first in range(0, 60, 7) for piece in pieces(table, shot_table, first, first + 7)]
    assert [(p.shot, p.first_step, p.end_step) for p in parts] == [(p.shot, p.first_step, p.end_step) for p in whole]


def test_no_candidate_crosses_a_cut():
    table = tracks((0, 0, np.arange(60) / 25), (1, 1, 2.4 + np.arange(60) / 25))
    found = [c for p in pieces(table, shots(0, 2.4, 4.8)) for c in p.candidates]
    assert [(c.shot, c.first_step, c.end_step) for c in found] == [(0, 0, 60), (1, 60, 120)]


def test_faces_seen_together_are_candidates_of_one_piece():
    (piece,) = pieces(tracks((0, 3, np.arange(50) / 25), (0, 4, np.arange(20, 50) / 25)), shots(0, 2))
    assert [(c.track, c.first_step) for c in piece.candidates] == [(3, 0), (4, 20)]


def test_a_face_that_left_the_picture_ends():
    table = tracks((0, 0, np.arange(50) / 25))
    table.boxes[40:, 2] = table.boxes[40:, 0]
    (piece,) = pieces(table, shots(0, 2))
    assert piece.candidates[0].end_step == 40


def test_a_shot_without_faces_has_no_candidates():
    (piece,) = pieces(tracks((7, 0, np.arange(10) / 25)), shots(0, 2))
    assert piece.candidates == ()
