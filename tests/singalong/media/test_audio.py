"""The mel spectrogram against the original program's vectors, in a stream and at once; chunks; voice activity."""

from fractions import Fraction
from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singalong.errors import MediaError
from singalong.media.audio import (
    CHUNK_STEPS,
    MelStream,
    iter_mono_16k,
    linear_spectrogram,
    mel_basis,
    mel_chunk_starts,
    mel_chunks,
    mel_spectrogram,
    normalise_db,
    pre_emphasis,
    voice_activity,
)
from tests.sounds import F32, chirp, tone, write_sound

MEL_TOLERANCE = 5e-6


def plain_mel(samples: F32) -> np.ndarray:
    """The formulas of the paper's code, written out with librosa's transform."""
    emphasised = samples.astype(np.float64)
    emphasised[1:] -= 0.97 * samples[:-1].astype(np.float64)
    padded = np.pad(emphasised, 400, mode="reflect")
    magnitudes = np.abs(librosa.stft(padded, n_fft=800, hop_length=200, win_length=800, center=False))
    basis = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    db = 20 * np.log10(np.maximum(1e-5, basis @ magnitudes)) - 20
    return np.clip(8 * (db + 100) / 100 - 4, -4, 4)


@pytest.mark.parametrize("signal", ["a", "silence", "n401", "clip"])
def test_mel_equals_the_original_programs(golden: Path, signal: str) -> None:
    vectors = np.load(golden / "audio.npz")
    mel = mel_spectrogram((vectors[f"sig_{signal}"] / 32768).astype(np.float32), 16000)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, vectors[f"mel_{signal}"], rtol=0, atol=MEL_TOLERANCE)


def test_each_step_equals_the_original_programs(golden: Path) -> None:
    vectors = np.load(golden / "audio.npz")
    np.testing.assert_array_equal(mel_basis(), vectors["mel_basis"])
    np.testing.assert_allclose(pre_emphasis(vectors["preemph_in"]), vectors["preemph_out"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(normalise_db(vectors["norm_in"]), vectors["norm_out"], rtol=0, atol=1e-12)
    emphasised = pre_emphasis((vectors["sig_a"] / 32768).astype(np.float32))
    linear = linear_spectrogram(np.pad(emphasised, 400, mode="reflect"))[:, [0, 1, 7, -1]]
    normalised = normalise_db(20 * np.log10(np.maximum(1e-5, linear)) - 20)
    np.testing.assert_allclose(normalised, vectors["linear_cols_a"], rtol=0, atol=MEL_TOLERANCE)


def test_mel_follows_the_papers_formulas() -> None:
    samples = chirp(1.3, 16000)
    mel = mel_spectrogram(samples, 16000)
    assert mel.shape == (80, 1 + len(samples) // 200)
    np.testing.assert_allclose(mel, plain_mel(samples), rtol=0, atol=MEL_TOLERANCE)


@pytest.mark.parametrize("num_samples", [1, 2, 3, 7, 199, 200, 399, 400, 401, 402, 799, 800, 801])
def test_signals_about_as_short_as_the_padding_are_mirrored_as_often_as_needed(num_samples: int) -> None:
    samples = chirp(0.1, 16000)[:num_samples]
    mel = mel_spectrogram(samples, 16000)
    assert mel.shape == (80, 1 + num_samples // 200)
    np.testing.assert_allclose(mel, plain_mel(samples), rtol=0, atol=MEL_TOLERANCE)


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 5000), max_size=12), num_samples=st.integers(1, 5000))
def test_a_stream_gives_the_same_columns_for_any_blocks(cuts: list[int], num_samples: int) -> None:
    samples = chirp(0.4, 16000)[:num_samples]
    stream = MelStream()
    columns = [c for block in np.split(samples, sorted(cuts)) for c in stream.push(block)]
    mel = np.concatenate([*columns, *stream.finish()], axis=1)
    np.testing.assert_allclose(mel, mel_spectrogram(samples, 16000), rtol=0, atol=1e-6)


def test_a_stream_holds_back_less_than_a_tenth_of_a_second() -> None:
    stream = MelStream()
    num_columns = 0
    for number, block in enumerate(np.split(chirp(4.0, 16000), 40), start=1):
        num_columns += sum(columns.shape[1] for columns in stream.push(block))
        assert num_columns >= number * 8 - 3


def test_an_empty_stream_has_no_columns() -> None:
    stream = MelStream()
    assert [*stream.push(np.zeros(0, np.float32)), *stream.finish()] == []


def test_digital_silence_is_exactly_minus_four() -> None:
    assert (mel_spectrogram(np.zeros(5000, np.float32), 16000) == -4.0).all()


def test_channels_are_averaged() -> None:
    left, right = chirp(0.5, 16000, seed=1), chirp(0.5, 16000, seed=2)
    np.testing.assert_allclose(
        mel_spectrogram(np.stack([left, right]), 16000), mel_spectrogram((left + right) / 2, 16000), atol=1e-5
    )


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000, 96000])
def test_other_rates_sound_alike(rate_hz: int) -> None:
    expected = mel_spectrogram(tone(440, 1.0, 16000), 16000)
    mel = mel_spectrogram(tone(440, 1.0, rate_hz), rate_hz)
    assert mel.shape == expected.shape
    loud = expected[:, 5:-5] > 0
    np.testing.assert_allclose(mel[:, 5:-5][loud], expected[:, 5:-5][loud], atol=0.02)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "without a single sample"),
        (np.array([0.0, np.nan, 0.0]), "not numbers"),
        (np.array([0.0, np.inf]), "not numbers"),
        (np.zeros(100, np.int16), "must be floats"),
        (np.zeros((1000, 2), np.float32), "unknown shape"),
        (np.float32(0.5), "unknown shape"),
    ],
)
def test_samples_that_are_no_waveform_are_refused(samples: np.ndarray, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        mel_spectrogram(samples, 16000)


def test_chunk_starts_equal_the_original_programs(golden: Path) -> None:
    vectors = np.load(golden / "mel_chunks.npz")
    names = [name for name in vectors if name.startswith("start_fps")]
    assert names
    for name in names:
        fps, num_mel = name.removeprefix("start_fps").split("_T")
        expected = vectors[name]
        np.testing.assert_array_equal(mel_chunk_starts(int(num_mel), float(fps), len(expected)), expected, name)


@pytest.mark.parametrize(("fps", "num_chunks"), [(25, 47), (Fraction(2997, 100), 56), (24, 45), (60, 111)])
def test_after_the_papers_chunks_lips_go_on_in_step_into_silence(fps: Fraction, num_chunks: int) -> None:
    starts = mel_chunk_starts(161, fps, 200)
    paper = np.trunc(np.arange(200) * (80 / float(fps))).astype(int)
    inside = paper + CHUNK_STEPS <= 161
    assert inside.sum() + 1 == num_chunks
    np.testing.assert_array_equal(starts[inside], paper[inside])
    assert starts[num_chunks - 1] == 161 - CHUNK_STEPS
    np.testing.assert_array_equal(starts[num_chunks:], paper[num_chunks:])
    mel = np.zeros((80, 161), np.float32)
    assert (mel_chunks(mel, starts[-1:]) == -4).all()


@given(
    start_step=st.integers(0, 10_000),
    fps=st.fractions(Fraction(1), Fraction(240), max_denominator=1001),
    num_frames=st.integers(0, 200),
)
def test_a_start_on_a_mel_step_shifts_all_chunks_by_whole_steps(
    start_step: int, fps: Fraction, num_frames: int
) -> None:
    shifted = mel_chunk_starts(10**9, fps, num_frames, start_s=start_step / 80)
    np.testing.assert_array_equal(shifted, mel_chunk_starts(10**9, fps, num_frames) + start_step)


def test_chunks_of_a_song_shorter_than_one_are_filled_up_with_silence() -> None:
    mel = np.zeros((80, 10), np.float32)
    starts = mel_chunk_starts(10, 25, 3)
    chunks = mel_chunks(mel, starts)
    assert starts.tolist() == [0, 3, 6]
    assert chunks.shape == (3, 80, 16)
    assert [(chunk == 0).all(axis=0).sum() for chunk in chunks] == [10, 7, 4]
    assert (chunks[0, :, 10:] == -4).all()


def test_chunks_are_the_columns_from_their_start() -> None:
    mel = np.arange(80 * 50, dtype=np.float32).reshape(80, 50)
    chunks = mel_chunks(mel, np.array([0, 7, 34]))
    assert chunks.flags.c_contiguous
    np.testing.assert_array_equal(chunks, [mel[:, 0:16], mel[:, 7:23], mel[:, 34:50]])


def test_phrases_are_voiced_and_the_silence_between_is_not() -> None:
    pause, phrase = np.zeros(16000, np.float32), chirp(1.0, 16000) * 0.5 + tone(300, 1.0, 16000)
    voiced = voice_activity(mel_spectrogram(np.concatenate([pause, phrase, pause, phrase, pause]), 16000))
    assert voiced.dtype == np.bool_
    assert voiced.shape == (401,)
    assert voiced[84:156].all()
    assert voiced[244:316].all()
    assert not voiced[:76].any()
    assert not voiced[172:236].any()
    assert not voiced[332:].any()


def test_a_hole_shorter_than_a_tenth_of_a_second_is_bridged() -> None:
    phrase = tone(300, 0.5, 16000)
    hole = np.zeros(1000, np.float32)
    assert voice_activity(mel_spectrogram(np.concatenate([phrase, hole, phrase]), 16000)).all()


def test_room_noise_far_below_the_voice_is_unvoiced() -> None:
    noise = np.random.default_rng(0).standard_normal(48000).astype(np.float32) * 0.001
    noise[16000:32000] += tone(300, 1.0, 16000)
    voiced = voice_activity(mel_spectrogram(noise, 16000))
    assert voiced[84:156].all()
    assert not voiced[:74].any()
    assert not voiced[172:].any()


@pytest.mark.parametrize("amplitude", [0.0, 1e-5])
def test_silence_is_unvoiced(amplitude: float) -> None:
    assert not voice_activity(mel_spectrogram(tone(300, 1.0, 16000, amplitude), 16000)).any()


def test_a_quiet_recording_is_voiced_like_a_loud_one() -> None:
    signal = np.concatenate([tone(300, 0.5, 16000), np.zeros(8000, np.float32), tone(300, 0.5, 16000)])
    loud, quiet = (voice_activity(mel_spectrogram(signal * gain, 16000)) for gain in (1.0, 0.02))
    assert (loud == quiet).mean() > 0.95


def test_a_files_audio_streams_to_the_same_mel(tmp_path: Path) -> None:
    samples = chirp(3.0, 16000)
    path = write_sound(tmp_path / "a.wav", samples, 16000, codec="pcm_f32le")
    stream = MelStream()
    columns = [c for block in iter_mono_16k(path) for c in stream.push(block)]
    mel = np.concatenate([*columns, *stream.finish()], axis=1)
    np.testing.assert_allclose(mel, mel_spectrogram(samples, 16000), rtol=0, atol=1e-6)


def test_speech_pauses_of_a_real_recording_are_found(shared_data: Path) -> None:
    stream = MelStream()
    blocks = iter_mono_16k(shared_data / "clips" / "jwp_intro_vga.mp4")
    columns = [c for block in blocks for c in stream.push(block)]
    voiced = voice_activity(np.concatenate([*columns, *stream.finish()], axis=1))
    assert 0.55 < voiced.mean() < 0.75  # 37% silence by ear
    assert voiced[80 : 2 * 80].mean() > 0.9
    assert voiced[-40:].mean() < 0.5
