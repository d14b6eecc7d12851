"""Planning montages: laid end to end over the song, cut on its beats."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.contracts import Fit, PairRow
from singalong.plan import montages
from tests.singalong.builders import NTSC, clip_facts, pair_row, plan_of, still_facts
from tests.singalong.test_plan import pair_of, problem_of, song_span


def montage_rows(*values: dict[str, Any]) -> list[PairRow]:
    return [pair_row(number, **{"montage": "film"} | more) for number, more in enumerate(values, start=1)]


def test_montage_rows_without_a_start_are_laid_end_to_end_in_position_then_row_order() -> None:
    plan = plan_of(
        montage_rows(
            {"clip_end_s": 4, "position": 2},
            {"clip_end_s": 2},
            {"clip_end_s": 1, "position": 1},
            {"clip_end_s": 3, "montage": None},
        )
    )
    assert [song_span(pair) for pair in plan.pairs] == [(1.0, 5.0), (5.0, 7.0), (0.0, 1.0), (0.0, 30.0)]
    assert [pair.pair_id for pair in montages(plan.pairs)["film"]] == ["p3", "p1", "p2"]


def test_a_given_start_moves_what_follows_and_a_given_end_sets_the_length() -> None:
    rows = montage_rows({"song_start_s": 10, "clip_end_s": 2}, {"song_end_s": 15}, {"clip_end_s": 1})
    assert [song_span(pair) for pair in plan_of(rows).pairs] == [(10.0, 12.0), (12.0, 15.0), (15.0, 16.0)]


def test_each_montage_and_each_song_of_it_has_its_own_running_time() -> None:
    rows = montage_rows({"clip_end_s": 2}, {"clip_end_s": 2, "song": "/songs/t.wav"}, {"clip_end_s": 2, "montage": "b"})
    assert [song_span(pair) for pair in plan_of(rows).pairs] == [(0.0, 2.0)] * 3


def test_odd_lengths_never_open_a_gap_between_the_frames_of_a_montage() -> None:
    clips = {"/clips/a.mp4": clip_facts(fps=NTSC, duration_s=1.01)}
    plan = plan_of(montage_rows(*[{}] * 25), clips=clips)
    assert [pair.num_frames for pair in plan.pairs] == [30] * 25
    for before, after in zip(plan.pairs, plan.pairs[1:], strict=False):
        assert after.song_start_s == pytest.approx(before.song_start_s + 30 / NTSC, abs=1e-12)
    assert plan.pairs[-1].song_start_s == pytest.approx(24 * 30 * 1001 / 30000, abs=1e-12)


def test_the_last_clip_of_a_montage_ends_with_the_song_and_later_ones_are_problems() -> None:
    plan = plan_of(montage_rows({}, {}, {}, {}, {}))
    assert song_span(plan.pairs[-1]) == (24.0, 30.0)
    assert len(plan.pairs) == 4
    assert "use up the song" in plan.problems[0].error_message


def test_a_still_in_a_montage_must_say_how_long_it_stands() -> None:
    stills, row = {"/clips/still.png": still_facts()}, {"clip": "/clips/still.png"}
    assert "how long it stands" in problem_of(montage_rows(row)[0], clips=stills)
    for length in ({"clip_start_s": 1, "clip_end_s": 3}, {"song_end_s": 2}):
        assert song_span(pair_of(montage_rows(row | length)[0], clips=stills)) == (0.0, 2.0)


def test_an_end_that_the_running_time_has_passed_is_a_problem() -> None:
    plan = plan_of(montage_rows({"clip_end_s": 4}, {"song_end_s": 3}))
    assert "starts, which is at 4 s" in plan.problems[0].error_message


def test_a_row_that_cannot_be_planned_takes_no_time_of_the_song() -> None:
    rows = montage_rows({"clip_end_s": 4}, {"clip_end_s": 99}, {"clip_end_s": 1})
    assert [song_span(pair) for pair in plan_of(rows).pairs] == [(0.0, 4.0), (4.0, 5.0)]


# ---- cuts on beats


BEATS = {"/songs/s.wav": [0.2 + 0.5 * beat for beat in range(59)]}


def test_rows_laid_end_to_end_end_on_the_last_beat_their_clip_reaches() -> None:
    rows = montage_rows({"clip_end_s": 2}, {"clip_end_s": 1.2}, {"clip_end_s": 4})
    spans = [song_span(pair) for pair in plan_of(rows, beats=BEATS).pairs]
    assert spans[0] == (0.0, pytest.approx(1.7, abs=0.021))
    assert spans[1] == (spans[0][1], pytest.approx(2.7, abs=0.021))
    assert spans[2] == (spans[1][1], pytest.approx(6.7, abs=0.021))


def test_an_end_within_half_a_frame_of_a_beat_is_that_beat() -> None:
    (pair,) = plan_of(montage_rows({"clip_end_s": 2.2}), beats={"/songs/s.wav": [1.7, 2.21]}).pairs
    assert song_span(pair) == (0.0, pytest.approx(2.2))


def test_an_end_goes_on_to_the_next_beat_where_the_last_is_too_far_and_a_cut_never_does() -> None:
    beats = {"/songs/s.wav": [0.1, 1.2]}
    (pair,) = plan_of(montage_rows({"clip_end_s": 1}), beats=beats).pairs
    assert song_span(pair) == (0.0, pytest.approx(1.2))
    for fit, far in ((Fit.CUT, 1.2), (Fit.BOUNCE, 1.6)):
        rows = montage_rows({"clip_end_s": 1, "fit": fit})
        (pair,) = plan_of(rows, beats={"/songs/s.wav": [0.1, far]}).pairs
        assert song_span(pair) == (0.0, 1.0)


def test_no_part_gets_shorter_than_an_eye_can_follow() -> None:
    (pair,) = plan_of(montage_rows({"clip_end_s": 0.6}), beats={"/songs/s.wav": [0.35, 2.0]}).pairs
    assert song_span(pair) == (0.0, 0.6)


@pytest.mark.parametrize(
    "values",
    [
        {"song_start_s": 1.0},
        {"song_end_s": 2.3},
        {"song_start_s": 1.0, "song_end_s": 2.3},
        {"clip_end_s": 2.0, "song_end_s": 1.9},
        {"montage": None},
    ],
)
def test_what_a_row_says_of_its_song_span_stands_whatever_the_beats(values: dict[str, Any]) -> None:
    rows = montage_rows({"clip_end_s": 2.0} | values)
    assert song_span(plan_of(rows, beats=BEATS).pairs[0]) == song_span(plan_of(rows).pairs[0])


def test_a_song_without_beats_is_cut_where_the_clips_end() -> None:
    rows = montage_rows({"clip_end_s": 2.03}, {"clip_end_s": 1})
    assert plan_of(rows, beats={"/songs/s.wav": []}) == plan_of(rows)


def test_the_end_of_the_song_is_no_cut() -> None:
    plan = plan_of(montage_rows({}, {}, {}, {}, {}), beats=BEATS)
    assert plan.pairs[-1].song_end_s == 30.0
    assert all(
        pair.song_end_s == pytest.approx(8 * place - 0.3, abs=0.3) for place, pair in enumerate(plan.pairs[:3], 1)
    )


@settings(max_examples=60)
@given(
    fps=st.sampled_from([Fraction(25), NTSC, Fraction(12), Fraction(60)]),
    ends=st.lists(st.floats(0.3, 6), min_size=1, max_size=12),
    period_s=st.floats(0.3, 1.2),
    first_s=st.floats(0, 1),
)
def test_cut_on_beats_nothing_drifts_and_every_cut_is_within_half_a_frame_of_a_beat_or_where_it_was(
    fps: Fraction, ends: list[float], period_s: float, first_s: float
) -> None:
    beats = [first_s + period_s * beat for beat in range(int(30 / period_s) - 1)]
    clips = {"/clips/a.mp4": clip_facts(fps=fps)}
    pairs = plan_of(
        montage_rows(*[{"clip_end_s": end} for end in ends]), clips=clips, beats={"/songs/s.wav": beats}
    ).pairs
    for pair, end in zip(pairs, ends, strict=False):
        length_s = pair.song_end_s - pair.song_start_s
        assert pair.num_frames == round(Fraction(length_s) * fps)
        natural_s = float(round(Fraction(end) * fps) / fps)
        off_beat = min(abs(beat - pair.song_end_s) for beat in beats)
        assert off_beat <= 0.5 / fps + 1e-9 or length_s == pytest.approx(natural_s) or pair.song_end_s == 30.0
        assert abs(length_s - natural_s) <= natural_s / 2 + 0.5 / fps or pair.song_end_s == 30.0
    for before, after in pairwise(pairs):
        assert after.song_start_s == pytest.approx(before.song_end_s, abs=1e-9)
