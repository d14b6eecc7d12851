from __future__ import annotations

import numpy as np
import pytest

from singalong.media.audio import mel_chunk_starts, mel_chunks
from singalong.media.mfcc import mfcc
from tasks.sound_windows import SoundBank, SoundWindows
from tests.tasks.score_fakes import NoiseVoice, noise_voice


@pytest.fixture(scope="module")
def voice() -> NoiseVoice:
    return noise_voice(4.0)


def test_mel_windows_begin_where_the_papers_rule_says(voice: NoiseVoice) -> None:
    windows = SoundWindows(voice, start_s=0.0, feature="mel")
    steps = np.arange(windows.end_step)
    starts = mel_chunk_starts(voice.mel.shape[1], 25, len(steps))
    np.testing.assert_array_equal(windows.cut(steps), mel_chunks(voice.mel, starts))


def test_mel_rule_agrees_with_the_reference_for_hours_of_frames(voice: NoiseVoice) -> None:
    steps = np.arange(20_000)
    ours = SoundWindows(voice, start_s=0.0, feature="mel")._mel_columns(steps)
    np.testing.assert_array_equal(ours, [int(80.0 * (step / 25.0)) for step in steps])


def test_mfcc_windows_are_columns_4v_of_the_whole_signals_mfcc(voice: NoiseVoice) -> None:
    windows = SoundWindows(voice, start_s=0.0, feature="mfcc")
    whole = mfcc(voice.samples_16k * 32768.0, 16000)
    for steps in (np.arange(0, 20), np.array([0, 3, 50, 51, 80]), np.array([60])):
        expected = np.stack([whole[4 * v : 4 * v + 20].T for v in steps])
        np.testing.assert_allclose(windows.cut(steps), expected, rtol=1e-5, atol=1e-4)


def test_windows_of_a_later_start_are_the_same_sound(voice: NoiseVoice) -> None:
    for feature in ("mel", "mfcc"):
        whole = SoundWindows(voice, start_s=0.0, feature=feature)
        later = SoundWindows(voice, start_s=1.2, feature=feature)
        assert (later.first_step, later.end_step) == (whole.first_step - 30, whole.end_step - 30)
        steps = np.arange(later.first_step, later.end_step)
        np.testing.assert_allclose(later.cut(steps), whole.cut(steps + 30), rtol=1e-5, atol=1e-4)


def test_windows_start_at_the_sample_for_any_start_time(voice: NoiseVoice) -> None:
    windows = SoundWindows(voice, start_s=1.0 + 37 / 16000, feature="mfcc")
    cut = voice.samples_16k[16000 + 37 - 160 :] * 32768.0
    np.testing.assert_allclose(windows.cut(np.array([0]))[0], mfcc(cut, 16000)[1:21].T, rtol=1e-5, atol=1e-4)


def test_no_window_reaches_beyond_the_voice(voice: NoiseVoice) -> None:
    mel = SoundWindows(voice, start_s=0.0, feature="mel")
    assert (mel.first_step, mel.end_step) == (0, 96)  # 3.2 * 95 + 16 = 320 of 321 columns
    sound = SoundWindows(voice, start_s=0.0, feature="mfcc")
    assert (sound.first_step, sound.end_step) == (0, 95)  # 640 * 94 + 3440 of 64000 samples


def test_voice_shorter_than_a_window_has_none() -> None:
    for feature in ("mel", "mfcc"):
        windows = SoundWindows(noise_voice(0.15), start_s=0.0, feature=feature)
        assert windows.first_step == windows.end_step
        assert len(windows.voiced_steps) == 0
        assert len(windows.cut(np.empty(0, np.int64))) == 0


def test_a_window_is_voiced_if_half_of_its_mel_steps_are(voice: NoiseVoice) -> None:
    voiced = np.zeros_like(voice.voiced)
    voiced[32:40] = True  # 8 steps: windows 16 .. 31 (step 5 at column 16) to 32 .. 47
    windows = SoundWindows(NoiseVoice(voice.mel, voice.samples_16k, voiced), start_s=0.0, feature="mel")
    assert windows.voiced_steps.tolist() == [8, 9, 10]  # columns 25, 28, 32


def test_nobody_sings_outside_the_song(voice: NoiseVoice) -> None:
    windows = SoundWindows(voice, start_s=0.0, feature="mel")
    assert windows.voiced_at(np.array([-0.1, 0.0, 3.99, 4.2])).tolist() == [False, True, True, False]


def test_a_bank_of_embeddings_is_bounded_and_drops_what_was_not_asked_for_longest() -> None:
    bank, made = SoundBank(max_bytes=4 * 16 * 8 * 4), []

    def block(number: int) -> None:
        bank.block(number, lambda: (made.append(number), np.zeros((16, 8), np.float32))[1])

    for number in (0, 1, 2, 3, 0, 4):
        block(number)
    assert made == [0, 1, 2, 3, 4]
    block(0)
    block(1)
    assert made == [0, 1, 2, 3, 4, 1]
    assert bank._num_bytes == 4 * 16 * 8 * 4
