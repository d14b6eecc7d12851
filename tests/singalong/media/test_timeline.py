from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import Fit
from singalong.media.timeline import source_times

RATES = st.sampled_from([Fraction(1), Fraction(25), Fraction(30000, 1001), Fraction(24600, 1469), Fraction(60)])
FITS = st.sampled_from(list(Fit))
STARTS = st.floats(0, 3600, allow_nan=False)
SPANS = st.floats(0.001, 20, allow_nan=False)


def steps(fit: Fit, num_frames: int, num_steps: int) -> list[int]:
    """Which step of a span of so many each output frame shows, at one step a second."""
    times = source_times(0, num_frames, fps=Fraction(1), clip_start_s=0.0, clip_end_s=float(num_steps), fit=fit)
    return [int(time_s) for time_s in times]


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (Fit.CUT, [0, 1, 2, 3, 3, 3, 3, 3, 3]),
        (Fit.HOLD, [0, 1, 2, 3, 3, 3, 3, 3, 3]),
        (Fit.LOOP, [0, 1, 2, 3, 0, 1, 2, 3, 0]),
        (Fit.BOUNCE, [0, 1, 2, 3, 2, 1, 0, 1, 2]),
    ],
)
def test_a_fit_says_how_a_song_longer_than_its_clip_goes_on(fit: Fit, expected: list[int]) -> None:
    assert steps(fit, 9, 4) == expected


@pytest.mark.parametrize("fit", list(Fit))
def test_a_span_of_one_frame_stands_still(fit: Fit) -> None:
    assert steps(fit, 5, 1) == [0] * 5


def test_a_bounce_over_two_frames_takes_turns() -> None:
    assert steps(Fit.BOUNCE, 6, 2) == [0, 1, 0, 1, 0, 1]


def test_a_span_shorter_than_half_a_frame_still_shows_one() -> None:
    times = source_times(0, 3, fps=Fraction(25), clip_start_s=2.0, clip_end_s=2.001, fit=Fit.LOOP)
    assert times.tolist() == [2.0, 2.0, 2.0]


def test_no_frames_give_no_times() -> None:
    times = source_times(7, 7, fps=Fraction(25), clip_start_s=0.0, clip_end_s=1.0, fit=Fit.BOUNCE)
    assert times.shape == (0,)
    assert times.dtype == np.float64


@given(STARTS, SPANS, RATES, FITS, st.integers(0, 2000), st.integers(0, 100), st.integers(0, 100))
def test_a_slice_of_frames_has_the_times_of_the_whole(
    start_s: float, span_s: float, fps: Fraction, fit: Fit, first: int, length: int, cut: int
) -> None:
    span = {"fps": fps, "clip_start_s": start_s, "clip_end_s": start_s + span_s, "fit": fit}
    whole = source_times(first, first + length + cut, **span)
    parts = [source_times(first, first + length, **span), source_times(first + length, first + length + cut, **span)]
    assert np.array_equal(whole, np.concatenate(parts))


@given(STARTS, SPANS, RATES, FITS)
def test_times_never_leave_the_span(start_s: float, span_s: float, fps: Fraction, fit: Fit) -> None:
    times = source_times(0, 700, fps=fps, clip_start_s=start_s, clip_end_s=start_s + span_s, fit=fit)
    assert times.min() == start_s
    # the last step may begin up to half a frame before the span's end, or be the only one
    assert times.max() <= max(start_s, start_s + span_s - 0.5 / float(fps) + 1e-9)


@given(STARTS, SPANS, RATES, st.sampled_from([Fit.BOUNCE, Fit.CUT, Fit.HOLD]))
def test_without_a_jump_cut_neighbours_are_at_most_one_step_apart(
    start_s: float, span_s: float, fps: Fraction, fit: Fit
) -> None:
    times = source_times(0, 700, fps=fps, clip_start_s=start_s, clip_end_s=start_s + span_s, fit=fit)
    assert np.abs(np.diff(times)).max() <= 1 / float(fps) + 1e-9


@given(SPANS, RATES)
def test_a_bounce_never_shows_a_frame_twice_in_a_row(span_s: float, fps: Fraction) -> None:
    times = source_times(0, 300, fps=fps, clip_start_s=0.0, clip_end_s=span_s, fit=Fit.BOUNCE)
    if times.max() > 0:
        assert np.all(np.diff(times) != 0)
