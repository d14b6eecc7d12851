import numpy as np
import pytest

from singalong.synthetic.dsp import SAMPLE_RATE_HZ
from singalong.synthetic.lyrics import Syllable
from singalong.synthetic.phonemes import PHONEMES
from singalong.synthetic.voice import Note, Singer


def _energy_db(samples, *, window_s=0.005):
    step = int(window_s * SAMPLE_RATE_HZ)
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    return 10 * np.log10((frames**2).mean(axis=1) + 1e-9)


def test_sound_starts_within_20_ms_of_the_first_phoneme_and_ends_with_the_last():
    late = []
    for seed in range(9):
        vocal = Singer.from_seed(seed).speak(2.5, seed=seed)
        energy = _energy_db(vocal.samples)
        for start_s, end_s in vocal.voiced_spans:
            first = next(span for span in vocal.phonemes if span.start_s == start_s)
            if PHONEMES[first.symbol].kind in ("stop", "affricate"):
                continue  # they begin with a silent closure
            before = energy[max(0, int((start_s - 0.2) / 0.005)) : int((start_s + 0.2) / 0.005)]
            loud = np.flatnonzero(before > before.max() - 30)
            late.append(max(0, int((start_s - 0.2) / 0.005)) * 0.005 + loud[0] * 0.005 - start_s)
            after = energy[int((end_s + 0.03) / 0.005) : int((end_s + 0.1) / 0.005)]
            assert after.max() < energy.max() - 35
    assert len(late) >= 5
    assert np.abs(late).max() < 0.02


def test_phonemes_follow_one_another_without_overlap():
    vocal = Singer.from_seed(4).speak(4.0)
    for first, second in zip(vocal.phonemes, vocal.phonemes[1:], strict=False):
        assert first.start_s < first.end_s <= second.start_s + 1e-9


@pytest.mark.parametrize("midi", [48.0, 57.0, 64.0])
def test_a_sung_note_has_the_pitch_it_should(midi):
    note = Note(0.2, 1.2, midi, Syllable((), "AA"))
    singer = Singer.from_seed(1)
    vocal = singer.sing([note], 1.4)
    piece = vocal.samples[int(0.35 * SAMPLE_RATE_HZ) : int(0.45 * SAMPLE_RATE_HZ)]
    spectrum = np.fft.rfft(piece, 1 << 15)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)
    low, high = int(SAMPLE_RATE_HZ / 900), int(SAMPLE_RATE_HZ / 80)
    period = low + np.argmax(correlation[low:high])
    expected = 440 * 2 ** ((midi - 69) / 12)
    assert abs(SAMPLE_RATE_HZ / period / expected - 1) < 0.03


def _band_db(vowel, low_hz, high_hz):
    """Level of a band of a vowel sung low by a man, relative to the whole, dB; Hz of a tract of length 1."""
    singer = Singer.from_seed(1)
    vocal = singer.sing([Note(0.1, 0.9, 40.0, Syllable((), vowel))], 1.0)
    piece = vocal.samples[int(0.2 * SAMPLE_RATE_HZ) : int(0.8 * SAMPLE_RATE_HZ)]
    power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
    hz = np.fft.rfftfreq(len(piece), 1 / SAMPLE_RATE_HZ) / singer.tract
    return 10 * np.log10(power[(hz > low_hz) & (hz < high_hz)].sum() / power.sum())


@pytest.mark.parametrize("vowel", ["AA", "IY", "UW", "EH"])
def test_a_vowel_is_strong_at_its_first_formant(vowel):
    first = PHONEMES[vowel].formants_hz[0]
    assert _band_db(vowel, 0.8 * first, 1.2 * first) > _band_db(vowel, 1.5 * first, 1.9 * first) + 3


def test_the_second_formant_tells_front_from_back_vowels():
    for low_hz, high_hz, strong, weak in ((2000, 2600, "IY", "UW"), (950, 1250, "AA", "IY"), (750, 1000, "UW", "IY")):
        assert _band_db(strong, low_hz, high_hz) > _band_db(weak, low_hz, high_hz) + 10


def test_loudness_does_not_give_the_vowel_away():
    openness, levels = [], []
    for seed in range(12):
        vocal = Singer.from_seed(seed).speak(4.0, seed=seed)
        for span in vocal.phonemes:
            sound = PHONEMES[span.symbol]
            if sound.kind == "vowel" and span.end_s - span.start_s > 0.08:
                piece = vocal.samples[int(span.start_s * SAMPLE_RATE_HZ) : int(span.end_s * SAMPLE_RATE_HZ)]
                openness.append(sound.lips.opening)
                levels.append(10 * np.log10(np.mean(piece**2)))
    assert len(levels) > 80
    assert np.std(levels) > 1.5
    assert abs(np.corrcoef(openness, levels)[0, 1]) < 0.25
