"""One channel alone, and channels that cancel each other out."""

from pathlib import Path

import numpy as np
import pytest

from singalong.contracts import SongFacts
from singalong.media.audio import iter_mono_16k
from singalong.media.audio_reader import iter_audio
from singalong.media.channels import CancellationMeter
from singalong.media.probe import probe_song
from singalong.settings import LimitSettings
from tests.sounds import chirp, tone, write_sound


def heard(path: Path, channel: int | None = None) -> np.ndarray:
    return np.concatenate(list(iter_mono_16k(path, channel)))


def probed(path: Path) -> SongFacts:
    return probe_song(path, sha256="0" * 64, limits=LimitSettings())


def test_each_channel_can_be_heard_alone(tmp_path: Path) -> None:
    voices = [tone(200 * (n + 1), 0.5, 16000) for n in range(6)]
    path = write_sound(tmp_path / "six.wav", np.stack(voices, axis=1), 16000)
    for channel, voice in enumerate(voices):
        np.testing.assert_allclose(heard(path, channel), voice, atol=1e-4)
    assert not heard(path, 6).any(), "a channel that is not there is silent"


def test_a_channel_of_another_rate_and_codec_is_resampled_alone(tmp_path: Path) -> None:
    left, right = chirp(1.0, 48000, seed=1), chirp(1.0, 48000, seed=2)
    path = write_sound(tmp_path / "two.flac", np.stack([left, right], axis=1), 48000, codec="flac")
    mono = write_sound(tmp_path / "one.flac", right, 48000, codec="flac")
    np.testing.assert_array_equal(heard(path, 1), heard(mono))


@pytest.mark.parametrize("codec", ["pcm_s16le", "mp3"])
def test_inverted_stereo_is_found_and_its_louder_side_is_heard(tmp_path: Path, codec: str) -> None:
    voice = chirp(2.0, 44100)
    path = write_sound(
        tmp_path / ("a.wav" if codec == "pcm_s16le" else "a.mp3"),
        np.stack([0.5 * voice, -0.55 * voice], axis=1),
        44100,
        codec=codec,
    )
    facts = probed(path)
    assert facts.heard_channel == 1
    assert "cancel each other out" in facts.warnings[0]
    naive, ours = heard(path), heard(path, facts.heard_channel)
    assert np.sqrt(np.mean(naive**2)) < 0.06 * np.sqrt(np.mean(ours**2)), "the mean has next to nothing left"


def test_stereo_that_sounds_right_in_mono_is_left_alone(tmp_path: Path) -> None:
    left, right = chirp(2.0, 16000, seed=1), chirp(2.0, 16000, seed=2)[::-1]
    silence = np.zeros_like(left)
    for number, sides in enumerate(
        [(left, left), (left, right), (left, silence), (left, 0.3 * right), (silence, silence)]
    ):
        facts = probed(write_sound(tmp_path / f"{number}.wav", np.stack(sides, axis=1), 16000))
        assert (facts.heard_channel, facts.warnings) == (None, ())


def test_one_speaker_of_six_is_no_cancellation(tmp_path: Path) -> None:
    samples = np.zeros((16000, 6), np.float32)
    samples[:, 2] = chirp(1.0, 16000)
    assert probed(write_sound(tmp_path / "centre.wav", samples, 16000)).heard_channel is None


def test_a_verse_that_cancels_out_is_enough(tmp_path: Path) -> None:
    voice = chirp(8.0, 16000)
    other = voice.copy()
    other[3 * 16000 : 5 * 16000] *= -1
    facts = probed(write_sound(tmp_path / "a.wav", np.stack([voice, 0.9 * other], axis=1), 16000))
    assert facts.heard_channel == 0


def test_the_blocks_do_not_matter() -> None:
    samples = np.stack([chirp(1.0, 16000), -chirp(1.0, 16000)], axis=1)
    meter = CancellationMeter()
    for block in np.array_split(samples, 7):
        meter.add(block)
    meter.add(np.zeros((10, 1), np.float32))
    assert meter.heard_channel == 0


def test_the_film_keeps_both_channels_whatever_is_heard(tmp_path: Path) -> None:
    voice = chirp(0.5, 16000)
    path = write_sound(tmp_path / "a.wav", np.stack([voice, -voice], axis=1), 16000)
    stereo = np.concatenate(list(iter_audio(path, sample_rate_hz=16000, num_channels=2)))
    np.testing.assert_allclose(stereo[:, 0], -stereo[:, 1], atol=1e-4)
    assert np.abs(stereo).max() > 0.1
