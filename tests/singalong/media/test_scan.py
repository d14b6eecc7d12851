from fractions import Fraction
from itertools import accumulate

import pytest

from singalong.media.scan import STANDARD_RATES, frame_rate, is_variable

NTSC = Fraction(30000, 1001)


def at_rate(fps: Fraction, count: int, tick: Fraction = Fraction(1, 90000)) -> list[float]:
    """Presentation times of so many frames, rounded to the ticks of a container's clock."""
    return [float(round(n / fps / tick) * tick) for n in range(count)]


def with_steps(*steps_ms: int) -> list[float]:
    return [ms / 1000 for ms in accumulate(steps_ms, initial=0)]


@pytest.mark.parametrize("stated", [Fraction(25), NTSC, Fraction(2997, 100), Fraction(2500, 83), Fraction(19001, 317)])
def test_a_stated_rate_is_kept_to_the_last_digit_where_the_frames_bear_it_out(stated: Fraction) -> None:
    assert frame_rate(stated, at_rate(stated, 100)) == stated


def test_a_few_dropped_frames_do_not_change_the_rate() -> None:
    times = at_rate(Fraction(25), 200)
    del times[50], times[90]
    assert frame_rate(Fraction(25), times) == 25


@pytest.mark.parametrize("stated", [None, Fraction(0), Fraction(600), Fraction(1000), Fraction(60)])
def test_an_absent_or_absurd_rate_is_measured(stated: Fraction | None) -> None:
    assert frame_rate(stated, at_rate(Fraction(25), 100)) == 25


@pytest.mark.parametrize("fps", STANDARD_RATES)
def test_a_measured_rate_near_a_standard_one_is_that(fps: Fraction) -> None:
    assert frame_rate(None, at_rate(fps, 250)) == fps


def test_a_measured_rate_of_no_standard_is_a_plain_fraction() -> None:
    rate = frame_rate(None, with_steps(50, 50, 133, 50, 90, 50, 60))
    assert float(rate) == pytest.approx(7 / 0.483, rel=1e-3)
    assert rate.denominator <= 1001


@pytest.mark.parametrize(("stated", "expected"), [(NTSC, NTSC), (None, 25), (Fraction(90000), 25)])
def test_a_single_frame_has_the_stated_rate_or_a_usual_one(stated: Fraction | None, expected: Fraction) -> None:
    assert frame_rate(stated, [0.0]) == expected


def test_broken_timestamps_give_no_broken_rate() -> None:
    assert frame_rate(None, [0.0, 1e-6, 2e-6]) <= 480
    assert frame_rate(None, [0.0, 5000.0]) >= 1


@pytest.mark.parametrize("ticks_per_s", [100, 600, 1000, 12800, 90000])
@pytest.mark.parametrize("fps", [Fraction(12), Fraction(24000, 1001), Fraction(25), NTSC, Fraction(50)])
def test_rounding_to_the_containers_clock_is_no_variable_rate(fps: Fraction, ticks_per_s: int) -> None:
    tick = Fraction(1, ticks_per_s)
    assert not is_variable(at_rate(fps, 120, tick), float(tick))


@pytest.mark.parametrize(
    ("steps_ms", "tick_s"),
    [((40, 40, 80, 40), 0.001), ((33, 33, 34, 67, 33), 0.001), ((50, 50, 58, 50), 1 / 600), ((40, 40, 80, 40), 0.04)],
)
def test_real_gaps_are_a_variable_rate(steps_ms: tuple[int, ...], tick_s: float) -> None:
    assert is_variable(with_steps(*steps_ms), tick_s)


@pytest.mark.parametrize("times", [[], [0.0], [0.0, 0.04]])
def test_too_few_frames_to_vary_do_not_vary(times: list[float]) -> None:
    assert not is_variable(times, 0.001)
