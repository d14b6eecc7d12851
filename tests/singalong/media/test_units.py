from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.media.units import num_output_frames, s_to_samples, samples_to_s

RATES = st.sampled_from([Fraction(12), Fraction(25), Fraction(30000, 1001), Fraction(2997, 100), Fraction(60)])


@pytest.mark.parametrize(
    ("span_s", "fps", "expected"),
    [
        (10.0, Fraction(25), 250),
        (10.0, Fraction(30000, 1001), 300),
        (0.02, Fraction(25), 1),  # 0.02 is a little more than half a frame in binary
        (0.5, Fraction(3), 2),  # a tie goes to the even count
        (0.5, Fraction(5), 2),
        (0.0, Fraction(25), 0),
    ],
)
def test_output_frames_are_the_span_times_the_rate_rounded(span_s: float, fps: Fraction, expected: int) -> None:
    assert num_output_frames(span_s, fps) == expected


@given(st.integers(0, 500_000), RATES)
def test_so_many_frames_last_as_long_as_so_many_frames(frames: int, fps: Fraction) -> None:
    assert num_output_frames(float(frames / fps), fps) == frames


@given(st.integers(0, 2**40), st.sampled_from([8000, 16000, 22050, 44100, 48000]))
def test_samples_survive_the_way_to_seconds_and_back(samples: int, rate_hz: int) -> None:
    assert s_to_samples(samples_to_s(samples, rate_hz), rate_hz) == samples
