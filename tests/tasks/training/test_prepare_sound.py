import numpy as np
import pytest

from singalong.errors import MediaError
from singalong.media.audio import mel_spectrogram
from tasks.training.prepare_sound import SpanSound, read_span_sound
from tasks.training.sequences import num_mel_steps_needed
from tests.sounds import chirp, write_sound
from tests.tasks.training.talking import RATE_HZ, mel_of_speech, speech


def span(samples: np.ndarray, start_s: int = 0) -> SpanSound:
    heard = samples.astype(np.float32) / 32768
    mel = mel_of_speech(samples)
    return SpanSound(start_s, heard, mel, np.ones(mel.shape[1], bool))


def test_the_mel_of_frames_is_that_of_the_whole_sound():
    samples = speech(8)
    whole = mel_of_speech(samples)
    mel = span(samples).mel_of(50, 40, offset_frames=0)  # 50 frames are 160 columns exactly
    assert mel.shape == (80, num_mel_steps_needed(40))
    np.testing.assert_allclose(mel, whole[:, 160 : 160 + mel.shape[1]], atol=2e-5)


def test_frames_that_begin_between_columns_get_columns_of_their_own():
    samples = speech(8)
    mel = span(samples).mel_of(51, 40, offset_frames=0)  # 51 frames are 163.2 columns
    own = mel_spectrogram(samples[51 * 640 :].astype(np.float32) / 32768, RATE_HZ)
    np.testing.assert_allclose(mel[:, 3:], own[:, 3 : mel.shape[1]], atol=2e-5)


@pytest.mark.parametrize("offset", [-5, 5])
def test_sound_that_comes_late_is_taken_from_later(offset):
    """Offset -5: the sound of frame v is heard 5 frames after it."""
    samples = speech(8)
    whole = mel_of_speech(samples)
    mel = span(samples).mel_of(50, 40, offset_frames=offset)
    first = 160 - offset * 16 // 5
    np.testing.assert_allclose(mel, whole[:, first : first + mel.shape[1]], atol=2e-5)


@pytest.mark.parametrize("offset", [-7, 0, 3])
@pytest.mark.parametrize("first_step", [0, 2, 10, 100])
def test_frames_have_sound_exactly_where_their_columns_are(offset, first_step):
    sound = span(speech(6))
    first, end = sound.frames_with_sound(first_step, 60, offset_frames=offset)
    assert first == max(0, offset - first_step)
    mel = sound.mel_of(first_step + first, end - first, offset_frames=offset)
    assert mel.shape[1] == num_mel_steps_needed(end - first)
    last_column = int((first_step + end - 1 - offset) * 3.2) + 15
    assert last_column * 200 <= 6 * RATE_HZ + 200
    if end < 60:  # one more would have run over the end
        assert (first_step + end - offset) * 640 + 15 * 200 > 6 * RATE_HZ - 400


def test_beyond_the_sound_there_are_no_frames():
    first, end = span(speech(2)).frames_with_sound(75, 40, offset_frames=0)
    assert first == end


def test_a_span_in_the_middle_sounds_as_in_the_whole(tmp_path):
    samples = chirp(14, RATE_HZ)
    path = write_sound(tmp_path / "talk.wav", samples, RATE_HZ, codec="pcm_f32le")
    whole, middle = read_span_sound(path, 0, 14), read_span_sound(path, 5, 9)
    assert (whole.start_s, middle.start_s) == (0, 3)
    assert len(middle.samples_16k) < 10 * RATE_HZ
    for offset in (-6, 0, 6):
        kept = whole.mel_of(130, 80, offset_frames=offset), middle.mel_of(130, 80, offset_frames=offset)
        np.testing.assert_array_equal(*kept)


def test_sound_that_ends_before_the_span_is_empty(tmp_path):
    path = write_sound(tmp_path / "short.wav", chirp(1, RATE_HZ), RATE_HZ)
    sound = read_span_sound(path, 60, 120)
    assert (len(sound.samples_16k), sound.mel.shape, len(sound.voiced)) == (0, (80, 0), 0)
    assert sound.frames_with_sound(1600, 50, offset_frames=0) == (0, 0)


def test_a_file_without_sound_is_an_error(tmp_path):
    path = tmp_path / "note.mp4"
    path.write_text("no media")
    with pytest.raises(MediaError):
        read_span_sound(path, 0, 10)
