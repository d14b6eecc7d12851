import numpy as np
import pytest

from singalong.synthetic.articulation import MouthStyle, mouth_track, still_mouth
from singalong.synthetic.phonemes import MOUTH_NAMES, PHONEMES, PhonemeSpan

COLUMN = {name: index for index, name in enumerate(MOUTH_NAMES)}


def _say(symbols, *, each_s=0.12, fps=100):
    spans = [PhonemeSpan(0.3 + i * each_s, 0.3 + (i + 1) * each_s, symbol) for i, symbol in enumerate(symbols)]
    times_s = np.arange(int((0.6 + len(symbols) * each_s) * fps)) / fps
    track = mouth_track(spans, times_s, style=MouthStyle(variation=0.0))
    middles = [round((span.start_s + span.end_s) / 2 * fps) for span in spans]
    return track, track[middles]


@pytest.mark.parametrize("closed", ["M", "B", "P"])
def test_lips_close_for_bilabials_between_open_vowels(closed):
    _, at = _say(["AA", closed, "AA"])
    assert at[1, COLUMN["opening"]] < 0.12
    assert at[1, COLUMN["press"]] > 0.7
    assert at[0, COLUMN["opening"]] > 0.6


def test_the_lower_lip_goes_under_the_teeth_for_f_and_v():
    for symbol in ("F", "V"):
        _, at = _say(["AA", symbol, "IY"])
        assert at[1, COLUMN["bite"]] > 0.7
        assert at[1, COLUMN["opening"]] < 0.3


def test_vowels_differ_in_opening_width_and_rounding_as_they_should():
    shapes = {vowel: _say(["HH", vowel, "HH"], each_s=0.2)[1][1] for vowel in ("AA", "IY", "UW")}
    opening, width, rounding = COLUMN["opening"], COLUMN["width"], COLUMN["rounding"]
    assert shapes["AA"][opening] > 2 * shapes["IY"][opening]
    assert shapes["IY"][width] > 0.6
    assert shapes["UW"][width] < -0.5
    assert shapes["UW"][rounding] > 0.7
    assert shapes["AA"][rounding] < 0.15


def test_a_mouth_that_says_nothing_rests_in_its_persons_way():
    style = MouthStyle(rest_gap=0.2, rest_teeth=0.8, rest_smile=0.5)
    track = mouth_track([], np.arange(10) / 25, style=style)
    assert np.allclose(track, still_mouth(10, style=style), atol=1e-6)


def test_the_opening_of_long_vowels_is_the_vowels_own():
    vowels = ["AA", "IY", "UW", "EH", "AO", "AH"]
    _, at = _say(vowels, each_s=0.3)
    wanted = [PHONEMES[vowel].lips.opening for vowel in vowels]
    assert np.corrcoef(at[:, COLUMN["opening"]], wanted)[0, 1] > 0.97


def test_frame_rate_does_not_change_the_motion():
    spans = [PhonemeSpan(0.1, 0.3, "AA"), PhonemeSpan(0.3, 0.4, "M"), PhonemeSpan(0.4, 0.7, "IY")]
    slow, fast = (mouth_track(spans, np.arange(int(0.8 * fps)) / fps) for fps in (25, 50))
    assert np.allclose(slow, fast[::2], atol=1e-3)


def test_columns_stay_in_their_ranges():
    spans = [PhonemeSpan(0.1 * i, 0.1 * i + 0.1, symbol) for i, symbol in enumerate(PHONEMES)]
    track = mouth_track(spans, np.arange(100) / 25, style=MouthStyle(effort=1.4, variation=0.4))
    assert track.max() <= 1
    assert track.min() >= -1
    assert track[:, COLUMN["opening"]].min() >= 0
