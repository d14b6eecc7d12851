import numpy as np

from singalong.synthetic.dsp import SAMPLE_RATE_HZ
from singalong.synthetic.song import Song


def test_the_same_seed_gives_the_same_song_to_the_last_bit():
    first, again, other = (Song.from_seed(seed, 4.0) for seed in (3, 3, 4))
    assert first.mix.tobytes() == again.mix.tobytes()
    assert first.phonemes == again.phonemes
    assert first.mix.tobytes() != other.mix.tobytes()


def test_a_song_has_the_asked_length_no_clipping_and_no_constant():
    song = Song.from_seed(7, 5.5)
    assert song.mix.shape == (round(5.5 * SAMPLE_RATE_HZ), 2)
    assert 0.5 < np.abs(song.mix).max() <= 0.9
    assert abs(song.mix.mean()) < 1e-3
    assert np.isfinite(song.mix).all()


def test_the_vocals_are_above_the_band_by_the_asked_ratio_while_somebody_sings():
    song = Song.from_seed(5, 6.0, snr_db=9.0)
    sung = np.zeros(len(song.vocals), bool)
    for start_s, end_s in song.voiced_spans:
        sung[int(start_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)] = True
    ratio = np.mean(song.vocals[sung] ** 2) / np.mean(song.band**2)
    assert abs(10 * np.log10(ratio) - 9.0) < 0.5


def test_beats_are_evenly_spaced_and_vowels_fall_on_the_grid_of_eighths():
    song = Song.from_seed(11, 8.0)
    gaps = np.diff(song.beats_s)
    assert np.allclose(gaps, 60 / song.tempo_bpm)
    vowels = [span.start_s for span in song.phonemes if span.symbol in ("AA", "IY", "UW", "OW", "EH", "AH")]
    places = (np.array(vowels) - song.beats_s[0]) / (gaps[0] / 4)
    assert np.abs(places - np.round(places)).max() < 0.01


def test_a_long_song_starts_with_an_instrumental_intro():
    song = Song.from_seed(2, 13.0)
    assert song.voiced_spans[0][0] > 60 / song.tempo_bpm * 2
    assert np.abs(song.band[:SAMPLE_RATE_HZ]).max() > 0.01
