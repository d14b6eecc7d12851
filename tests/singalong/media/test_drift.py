"""Finished films: flashes that the lips would follow against bursts in the sound, as libav alone decodes them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench import drift
from bench.drift import make_film, measure, write_burst_song
from bench.variable_rate import variable_rate

START_S, END_S = 3.217, 24.0


@pytest.fixture(scope="module", params=["mp3", "m4a"])
def song(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44.1 kHz, with the priming of its codec and, as MP3, a variable bit rate."""
    return write_burst_song(tmp_path_factory.mktemp("song") / f"song.{request.param}", END_S + 1)


@pytest.mark.parametrize(
    "fps", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001)], ids=str
)
def test_lips_and_sound_of_a_film_are_within_20_ms(tmp_path: Path, song: Path, fps: Fraction) -> None:
    film = make_film(song, tmp_path, fps=fps, start_s=START_S, end_s=END_S, sha256="ab" * 32)
    found = measure(film, fps=fps, start_s=START_S, end_s=END_S)
    assert found.num_frames == found.expected_frames
    assert abs(found.worst_ms) < 15  # a mel step is 12.5 ms


def test_the_measure_sees_a_rate_that_was_rounded(tmp_path: Path, song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(fps: Fraction, num_frames: int, start_s: float) -> np.ndarray:
        return (start_s * 80 + np.arange(num_frames) * (80 / round(fps))).astype(np.int64)

    monkeypatch.setattr(drift, "mel_steps_of", rounded)
    fps = Fraction(24000, 1001)
    film = make_film(song, tmp_path, fps=fps, start_s=START_S, end_s=END_S, sha256="ab" * 32)
    assert measure(film, fps=fps, start_s=START_S, end_s=END_S).worst_ms > 20


def test_pictures_of_a_variable_rate_are_shown_when_they_are_due(tmp_path: Path) -> None:
    found = variable_rate(tmp_path, duration_s=12.0)
    assert found.ours_ms == 0
    assert found.by_counting_ms > 100
