from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import SyncScore, Verdict
from singalong.frames_table import DISTANCES, NUM_OFFSETS, WindowRows, frames_table, window_rows
from singalong.scoring import (
    FAR_STEPS,
    Thresholds,
    combine_rows,
    distance_rows,
    frame_of_step,
    offset_curve,
    read_curve,
    score_rows,
    sound_index,
    steps_of_frames,
    verdict,
    wrong_audio,
)


def _lips_and_sound(late: int, *, num: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of lips, and of a sound in which what fits lip window v comes at v + late."""
    rng = np.random.default_rng(7)
    events = rng.normal(size=(num, 16)).astype(np.float32)
    sound = np.roll(events, late, axis=0) + 0.3 * rng.normal(size=events.shape)
    return events, sound.astype(np.float32)


def _rows(lag: int = 0, num: int = 120) -> np.ndarray:
    lips, sound = _lips_and_sound(lag, num=num)
    return distance_rows(lips, sound, sound_index(np.arange(num)))


@pytest.mark.parametrize("frames_late", [-12, -3, 0, 1, 7])
def test_sound_that_is_k_frames_late_has_offset_minus_k(frames_late: int) -> None:
    score = score_rows(_rows(frames_late), scorer="s", min_windows=10)
    assert score.offset_frames == -frames_late
    assert score.confidence is not None
    assert score.confidence > 1


def test_distance_adds_epsilon_to_every_component() -> None:
    lips, sound = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
    row = distance_rows(lips, sound, np.array([[0]]))
    assert row[0, 0] == pytest.approx(2e-6, rel=1e-5)


def test_column_j_compares_with_sound_j_minus_15_windows_on() -> None:
    sound = np.arange(40, dtype=np.float32)[:, None] * 100
    row = distance_rows(np.zeros((1, 1), np.float32), sound, sound_index(np.array([20])))[0]
    np.testing.assert_allclose(row, np.arange(5, 36) * 100, rtol=1e-6)


def test_zero_edge_takes_the_norm_of_the_lips_and_nan_edge_leaves_out() -> None:
    lips = np.full((1, 4), 3.0, np.float32)
    index = np.array([[-1, 0]])
    zero = distance_rows(lips, lips, index, edge="zero")
    nan = distance_rows(lips, lips, index)
    assert zero[0, 0] == pytest.approx(6.0, rel=1e-5)
    assert np.isnan(nan[0, 0])
    assert nan[0, 1] == zero[0, 1] < 1e-5


def test_zero_padding_lets_a_shift_off_the_end_win_and_nan_does_not() -> None:
    """Why our own scores leave out cells without sound: lips of small norm, as short clips often have."""
    lips, sound = _lips_and_sound(0, num=20)
    lips, sound = 0.2 * lips, sound + 2
    index = sound_index(np.arange(20))
    padded = read_curve(offset_curve(distance_rows(lips, sound, index, edge="zero")))
    real = read_curve(offset_curve(distance_rows(lips, sound, index)))
    assert padded is not None
    assert real is not None
    assert abs(padded.offset_frames) == 15
    assert abs(real.offset_frames) < 15


def test_confidence_is_median_minus_minimum_and_distance_the_minimum() -> None:
    curve = np.linspace(9, 10, NUM_OFFSETS)
    curve[20] = 4.0
    score = read_curve(curve)
    assert score is not None
    assert score.distance == 4.0
    assert score.confidence == pytest.approx(np.median(curve) - 4.0)
    assert score.offset_frames == -5


def test_mean_is_taken_over_the_windows_that_found_sound() -> None:
    rows = np.ones((4, NUM_OFFSETS), np.float32)
    rows[:2, 3] = np.nan
    rows[2:, 3] = 5.0
    assert offset_curve(rows)[3] == 5.0


def test_offsets_with_sound_for_less_than_half_of_the_windows_do_not_count() -> None:
    rows = np.ones((4, NUM_OFFSETS), np.float32)
    rows[:3, 3] = np.nan
    assert np.isnan(offset_curve(rows)[3])


def test_no_score_where_most_offsets_are_without_sound() -> None:
    rows = np.ones((40, NUM_OFFSETS), np.float32)
    rows[:, :16] = np.nan
    assert read_curve(offset_curve(rows)) is None
    assert score_rows(rows, scorer="s", min_windows=10).confidence is None


def test_fewer_windows_than_asked_for_give_no_number_but_are_counted() -> None:
    score = score_rows(_rows()[:9], scorer="s", min_windows=10, mismatched_NO=_rows()[:9])
    assert score == SyncScore(scorer="s", num_windows=9)


def test_no_windows_at_all_give_no_number() -> None:
    assert score_rows(_rows()[:0], scorer="s", min_windows=1) == SyncScore(scorer="s")
    assert combine_rows([], scorer="s", min_windows=1) == SyncScore(scorer="s")


def _table(rows: np.ndarray, start_frame: int, *, wrong: np.ndarray, frames_per_window: int = 1) -> pa.Table:
    starts = start_frame + np.arange(len(rows)) // frames_per_window
    num_frames = int(starts[-1]) - start_frame + 3 if len(rows) else 3
    return frames_table(
        start_frame=start_frame,
        source_s=np.zeros(num_frames),
        outcomes=["synced"] * num_frames,
        boxes=[None, *[(1, 2, 3, 4)] * (num_frames - 1)],
        voiced=[True] * num_frames,
        windows=WindowRows(starts, rows, wrong, starts[::4], rows[::4] + 1),
    )


@given(st.lists(st.integers(0, 119), max_size=4), st.integers(1, 2))
def test_shards_combine_to_the_very_score_of_the_whole(borders: list[int], per_frame: int) -> None:
    rows = _rows(3)
    rows[5:9, 2:6] = np.nan
    cuts = [0, *sorted(borders), len(rows)]
    tables = [
        _table(rows[a:b], 100 * k, wrong=rows[a:b][:, ::-1], frames_per_window=per_frame)
        for k, (a, b) in enumerate(itertools.pairwise(cuts))
    ]
    untouched = np.concatenate([window_rows(table, "distances_untouched") for table in tables])
    whole = score_rows(rows, scorer="s", min_windows=10, mismatched_NO=rows[:, ::-1], untouched_NO=untouched)
    assert combine_rows(tables, scorer="s", min_windows=10) == whole
    assert whole.confidence_untouched is not None


def test_frames_table_survives_parquet(tmp_path: Path) -> None:
    rows = _rows()
    rows[0, :15] = np.nan
    table = _table(rows, 50, wrong=rows, frames_per_window=2)
    pq.write_table(table, tmp_path / "frames.parquet")
    read = pq.read_table(tmp_path / "frames.parquet")
    assert read.schema.equals(table.schema)
    np.testing.assert_array_equal(window_rows(read, DISTANCES), rows)
    np.testing.assert_array_equal(window_rows(read.slice(1, 10), DISTANCES), rows[2:22])
    assert read["frame"].to_pylist()[:2] == [50, 51]
    assert read["x1"].to_pylist()[:2] == [None, 1]


def test_frames_table_without_a_scorer_has_no_windows() -> None:
    table = frames_table(
        start_frame=0,
        source_s=[0.0],
        outcomes=["no_face"],
        boxes=[None],
        voiced=[False],
        windows=WindowRows.none(),
    )
    assert combine_rows([table], scorer="s", min_windows=1).num_windows == 0


@pytest.mark.parametrize(
    ("fps", "frames"),
    [
        (Fraction(25), [0, 1, 2, 3, 4, 5]),
        (Fraction(30), [0, 1, 2, 4, 5, 6]),
        (Fraction(60), [0, 2, 5, 7, 10, 12]),
        (Fraction(24000, 1001), [0, 1, 2, 3, 4, 5]),
        (Fraction(50), [0, 2, 4, 6, 8, 10]),
        (Fraction(12), [0, 0, 1, 1, 2, 2]),
    ],
)
def test_score_steps_show_the_nearest_frame(fps: Fraction, frames: list[int]) -> None:
    assert [frame_of_step(step, fps) for step in range(6)] == frames


@given(
    st.sampled_from([Fraction(text) for text in ("25", "30", "24000/1001", "60", "12", "753/25")]),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_every_step_belongs_to_exactly_one_frame_range(fps: Fraction, border: int, more: int) -> None:
    end = border + more
    whole = list(steps_of_frames(0, end, fps))
    assert whole == [*steps_of_frames(0, border, fps), *steps_of_frames(border, end, fps)]
    assert all(border <= frame_of_step(step, fps) < end for step in steps_of_frames(border, end, fps))
    assert whole == list(range(len(whole)))


def test_wrong_audio_lies_at_least_two_seconds_away_and_is_voiced() -> None:
    voiced = np.concatenate([np.arange(-20, 60), np.arange(100, 300)])
    wrong = wrong_audio(voiced)
    centres = wrong.centres(voiced)
    assert wrong.direction == 1
    assert (np.abs(centres - voiced) >= FAR_STEPS).all()
    assert sorted(centres) == sorted(voiced)


def test_wrong_audio_of_a_short_song_runs_backwards() -> None:
    voiced = np.arange(60)
    wrong = wrong_audio(voiced)
    assert wrong.direction == -1
    np.testing.assert_array_equal(wrong.centres(voiced), voiced[::-1])


@pytest.mark.parametrize("num", [60, 240])
def test_wrong_audio_has_far_less_confidence_than_the_right_one(num: int) -> None:
    lips, sound = _lips_and_sound(0, num=num)
    steps = np.arange(num)
    wrong = wrong_audio(steps)
    right_rows = distance_rows(lips, sound, sound_index(steps))
    wrong_rows = distance_rows(lips, sound, sound_index(wrong.centres(steps), direction=wrong.direction))
    score = score_rows(right_rows, scorer="s", min_windows=10, mismatched_NO=wrong_rows)
    assert score.confidence is not None
    assert score.confidence_mismatched is not None
    assert score.confidence_mismatched < 0.3 * score.confidence


THRESHOLDS = Thresholds(pass_confidence=3.0, fail_confidence=1.0, max_offset_frames=2, min_margin=1.0)


def _score(confidence: float | None, offset: int | None = 0, wrong: float | None = 0.5) -> SyncScore:
    return SyncScore(scorer="s", confidence=confidence, offset_frames=offset, confidence_mismatched=wrong)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (_score(3.0), Verdict.PASS),
        (_score(3.0, -2), Verdict.PASS),
        (_score(3.0, wrong=None), Verdict.PASS),
        (_score(2.9), Verdict.REVIEW),
        (_score(3.0, wrong=2.5), Verdict.REVIEW),
        (_score(0.9), Verdict.FAIL),
        (_score(9.0, 3), Verdict.FAIL),
        (_score(9.0, -3), Verdict.FAIL),
        (_score(None, None), Verdict.NOT_SCORABLE),
    ],
)
def test_verdict(score: SyncScore, expected: Verdict) -> None:
    assert verdict(score, THRESHOLDS) is expected


def test_without_thresholds_a_person_has_to_look() -> None:
    assert verdict(_score(9.0), None) is Verdict.REVIEW
    assert verdict(_score(None, None), None) is Verdict.NOT_SCORABLE


@pytest.mark.parametrize("case", range(4))
def test_published_protocol_agrees_with_the_reference(golden: Path, case: int) -> None:
    vectors = np.load(golden / "lse_dist.npz")
    num, dim, lag = (int(vectors[f"{key}{case}"]) for key in ("n", "dim", "lag"))
    lips, sound = vectors[f"lip{case}"], vectors[f"aud{case}"]
    if lips.size == 0:
        lips, sound = _golden_features(case, num, dim, lag)
    index = sound_index(np.arange(num), max_offset=int(vectors[f"vshift{case}"]))
    rows = distance_rows(lips, sound, index, edge="zero")
    np.testing.assert_allclose(rows, vectors[f"dists{case}"], atol=1e-3)
    curve = offset_curve(rows)
    np.testing.assert_allclose(curve, vectors[f"mdist{case}"], atol=1e-4)
    score = read_curve(curve)
    assert score is not None
    assert score.offset_frames == int(vectors[f"offset{case}"])
    assert score.distance == pytest.approx(float(vectors[f"lse_d{case}"]), abs=1e-4)
    assert score.confidence == pytest.approx(float(vectors[f"lse_c{case}"]), abs=1e-4)


def _golden_features(case: int, num: int, dim: int, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Features too large to store: the rule of the reference's input builder, SplitMix64 seeded by a name."""
    a = 3 * _unit(f"pd/a{case}", (num, dim))
    b = np.roll(a, lag, axis=0) + 1.5 * _unit(f"pd/b{case}", (num, dim))
    return a.astype(np.float32), b.astype(np.float32)


def _unit(name: str, shape: tuple[int, int]) -> np.ndarray:
    import zlib

    seed = np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        z = seed + np.arange(1, np.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    uniform = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (np.sqrt(3.0) * (2 * uniform - 1)).reshape(shape)
