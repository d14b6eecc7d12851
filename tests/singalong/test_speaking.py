"""Who speaks: the evidence of two curves, one offset for all, and what counts for how much."""

from __future__ import annotations

import numpy as np
import pytest

from singalong.speaking import (
    MAX_COMMON_OFFSET,
    MIN_WINDOWS,
    NUM_OFFSETS,
    SPEAKERS_SCHEMA,
    Floats,
    TrackEvidence,
    at_offset,
    common_offset,
    evidence_of,
    from_table,
    mouth_correlation,
    to_table,
)

MIDDLE = NUM_OFFSETS // 2


def curve(dip: float, offset: int, *, seed: int = 0, noise: float = 0.02) -> Floats:
    """Distances around 1, lower by `dip` at an offset of the sound (negative: late)."""
    distances = 1 + np.random.default_rng(seed).normal(0, noise, NUM_OFFSETS)
    distances[MIDDLE - offset] -= dip
    return distances


def row(
    dip: float = 0.0,
    offset: int = 0,
    *,
    num_windows: int = 50,
    follows: float = 0.0,
    seed: int = 0,
    noise: float = 0.02,
) -> TrackEvidence:
    correlations = np.zeros(NUM_OFFSETS)
    correlations[MIDDLE - offset] = follows
    return TrackEvidence(0, 0, 0.0, 2.0, num_windows, 60, curve(dip, offset, seed=seed, noise=noise), correlations)


def picked(people: dict[int, list[TrackEvidence]], offset: int | None = None) -> int:
    evidence = evidence_of(people)
    offset = common_offset([evidence]) if offset is None else offset
    return max(evidence, key=lambda person: at_offset(evidence[person], offset))


# ---- the scorer's part


def test_a_deeper_dip_far_from_the_common_offset_is_chance_and_does_not_win() -> None:
    people = {0: [row(0.10, 12, seed=1)], 1: [row(0.08, 0, seed=2)]}
    confidence = {person: 1 - rows[0].distances.min() for person, rows in people.items()}
    assert confidence[0] > confidence[1]  # what the scorer's own confidence would pick
    assert picked(people) == 1


@pytest.mark.parametrize("offset", [-6, -3, 0, 3, 6])
def test_sound_that_is_off_for_everybody_is_found_and_its_sign_is_that_of_the_scores(offset: int) -> None:
    shots = [evidence_of({0: [row(0.2, offset, seed=n)], 1: [row(seed=9 + n)]}) for n in range(4)]
    assert abs(common_offset(shots) - offset) <= 2
    assert np.sign(common_offset(shots)) in (0, np.sign(offset))


def test_without_evidence_clips_are_in_sync() -> None:
    assert common_offset([]) == 0
    assert common_offset([{}, {0: np.zeros(2 * MAX_COMMON_OFFSET + 1)}]) == 0


def test_a_short_clip_without_far_offsets_is_judged_by_what_it_has_and_nothing_counts_for_much_without_noise() -> None:
    near = {person: row(dip, noise=0.0, follows=follows) for person, dip, follows in ((0, 1e-6, 0.0), (1, 0.0, 0.5))}
    for item in near.values():
        item.distances[: MIDDLE - 5] = item.distances[MIDDLE + 6 :] = np.nan
    assert picked({person: [item] for person, item in near.items()}) == 1


def test_offsets_without_sound_are_left_out() -> None:
    gap = row(0.2)
    gap.distances[:9] = np.nan
    assert picked({0: [row(seed=3)], 1: [gap]}) == 1


# ---- the motion's part


def test_lips_that_move_with_the_sound_win_where_the_scorer_is_unsure() -> None:
    assert picked({0: [row(0.03, seed=1)], 1: [row(0.02, follows=0.7, seed=2)]}) == 1


def test_motion_follows_the_opening_at_the_lag_it_has_whatever_its_size() -> None:
    rng = np.random.default_rng(3)
    opening = np.repeat(rng.uniform(0, 1, 40), 4)
    motion = 0.5 + 20 * opening[MIDDLE + 4 : MIDDLE + 104]
    for scale in (1.0, 3.0):
        correlations = mouth_correlation(scale * motion, opening[: 100 + 2 * MIDDLE])
        assert int(np.argmax(correlations)) == MIDDLE + 4
        assert correlations.max() > 0.85


def test_a_face_that_does_not_move_follows_nothing() -> None:
    opening = np.sin(np.arange(60 + 2 * MIDDLE))
    assert np.abs(mouth_correlation(np.zeros(60), opening)).max() < 1e-6


# ---- how much there is of it


def test_somebody_seen_for_too_few_voiced_windows_is_not_judged() -> None:
    assert list(evidence_of({0: [row(num_windows=MIN_WINDOWS - 1)], 1: [row(num_windows=MIN_WINDOWS)]})) == [1]
    assert evidence_of({0: [row(num_windows=0)]}) == {}


def test_pieces_count_by_their_windows() -> None:
    """Two long pieces of one speaker outweigh a short one of the other."""
    first = [row(0.1, num_windows=100), row(0.1, num_windows=100), row(0.0, num_windows=20, seed=1)]
    second = [row(0.0, num_windows=100, seed=2), row(0.0, num_windows=100, seed=3), row(0.2, num_windows=20)]
    assert picked({0: second, 1: first}) == 1


def test_the_briefly_seen_do_not_win_by_chance() -> None:
    assert picked({0: [row(0.06, num_windows=12, seed=5)], 1: [row(0.05, num_windows=120, seed=6)]}) == 1


# ---- the table


def test_rows_come_back_from_the_table_as_they_were() -> None:
    silent = TrackEvidence(1, 4, 2.0, 3.0, 0, 25, np.full(NUM_OFFSETS, np.nan), np.zeros(NUM_OFFSETS))
    spoken = TrackEvidence(0, 3, 0.0, 2.0, 44, 50, curve(0.3, -2), np.linspace(-1, 1, NUM_OFFSETS), 0.0625)
    table = to_table([silent, spoken])
    assert table.schema == SPEAKERS_SCHEMA
    first, second = table.to_pylist()
    assert (first["confidence"], first["offset_frames"]) == (None, None)
    assert second["offset_frames"] == -2
    assert second["confidence"] == pytest.approx(0.3, abs=0.1)
    back = from_table(table)
    assert [(item.shot, item.track, item.num_windows, item.confidence_mismatched) for item in back] == [
        (1, 4, 0, None),
        (0, 3, 44, 0.0625),
    ]
    np.testing.assert_allclose(back[1].distances, spoken.distances, rtol=1e-6)
    assert np.isnan(back[0].distances).all()
