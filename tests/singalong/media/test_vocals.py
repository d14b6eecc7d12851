"""Which steps of a mix are sung, from mouths made up for the purpose, and where lips rest."""

import numpy as np
import pytest

from singalong.media.vocals import HEARD_EVERY_STEPS, rest_gain, sung_steps

PER_S = 20


def mouths(*parts: tuple[float, float, float]) -> np.ndarray:
    """Mouths of (seconds, opening, press) one after the other."""
    values = np.zeros((sum(round(seconds * PER_S) for seconds, _, _ in parts), 8), np.float32)
    start = 0
    for seconds, opening, press in parts:
        end = start + round(seconds * PER_S)
        values[start:end, 0], values[start:end, 4] = opening, press
        start = end
    return values


def all_loud(heard: np.ndarray) -> np.ndarray:
    return np.ones(len(heard) * HEARD_EVERY_STEPS, bool)


def test_a_phrase_between_instrumental_passages_is_found() -> None:
    heard = mouths((5, 0.02, 0.3), (4, 0.3, 0.1), (5, 0.02, 0.3))
    sung = sung_steps(heard, all_loud(heard))
    assert sung[5 * 80 : 9 * 80].all()
    assert not sung[: round(4.3 * 80)].any()
    assert not sung[round(9.7 * 80) :].any()


def test_a_song_whose_mouths_open_a_little_everywhere_has_no_voice() -> None:
    heard = mouths((20, 0.1, 0.35))
    assert not sung_steps(heard, all_loud(heard)).any()


def test_lips_that_shut_between_syllables_do_not_end_a_phrase() -> None:
    heard = mouths((3, 0, 0.3), *[(0.2, 0.5, 0), (0.15, 0.0, 0.5)] * 8, (3, 0, 0.3))
    sung = sung_steps(heard, all_loud(heard))
    assert sung[round(3.1 * 80) : round(5.7 * 80)].all()


def test_what_is_not_loud_is_not_sung() -> None:
    heard = mouths((4, 0.4, 0.0))
    loud = all_loud(heard)
    loud[100:150] = False
    np.testing.assert_array_equal(sung_steps(heard, loud), loud)


@pytest.mark.parametrize("num_steps", [0, 1, 2, 5])
def test_songs_shorter_than_a_window_have_their_steps(num_steps: int) -> None:
    heard = mouths((1, 0.4, 0.0))[: -(-num_steps // HEARD_EVERY_STEPS)]
    assert sung_steps(heard, np.ones(num_steps, bool)).tolist() == [True] * num_steps


def test_lips_rest_only_far_from_any_voice_and_come_to_rest_slowly() -> None:
    voiced = np.zeros(800, bool)
    voiced[400:440] = True
    gain = rest_gain(voiced)
    assert gain.dtype == np.float32
    assert (gain[360:480] == 1).all()
    assert (gain[:320] == 0).all()
    assert (gain[520:] == 0).all()
    assert np.abs(np.diff(gain)).max() < 0.03


def test_lips_rest_throughout_a_song_without_voice_and_never_where_all_is_sung() -> None:
    assert not rest_gain(np.zeros(50, bool)).any()
    assert (rest_gain(np.ones(50, bool)) == 1).all()
