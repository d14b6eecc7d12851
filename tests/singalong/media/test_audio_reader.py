"""Reading audio of any rate, layout and codec on the container's time line."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile
import soxr

import singalong.media.audio_reader as audio_reader
from singalong.errors import MediaError
from singalong.media.audio import iter_mono_16k
from singalong.media.audio_reader import AudioFormat, iter_audio, read_audio_format
from tests.sounds import F32, chirp, lag_of, tone, write_sound
from tests.videos import make_video


def read(path: Path, rate_hz: int, num_channels: int = 1) -> F32:
    blocks = list(iter_audio(path, sample_rate_hz=rate_hz, num_channels=num_channels))
    assert all(len(block) > 0 and block.dtype == np.float32 for block in blocks)
    return np.concatenate(blocks)


def read_like_librosa(path: Path, rate_hz: int) -> F32:
    """What librosa.load(path, sr=rate_hz) does, without its detour over deprecated modules."""
    samples, own_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return librosa.resample(librosa.to_mono(samples.T), orig_sr=own_rate_hz, target_sr=rate_hz, res_type="soxr_hq")


@pytest.mark.parametrize(
    ("codec", "name", "tolerance"),
    [
        ("pcm_u8", "a.wav", 1 / 128),
        ("pcm_s16le", "a.wav", 1 / 32768),
        ("pcm_s16be", "a.aiff", 1 / 32768),
        ("pcm_s24le", "a.wav", 2e-7),
        ("pcm_s32le", "a.wav", 1e-7),
        ("pcm_f32le", "a.wav", 0.0),
        ("pcm_f64le", "a.wav", 1e-7),
        ("flac", "a.flac", 1 / 32768),
    ],
)
def test_samples_of_every_format_come_out_at_full_scale_one(
    tmp_path: Path, codec: str, name: str, tolerance: float
) -> None:
    samples = np.stack([chirp(0.5, 44100), chirp(0.5, 44100, seed=3)], axis=1)
    path = write_sound(tmp_path / name, samples, 44100, codec=codec)
    np.testing.assert_allclose(read(path, 44100, 2), samples, rtol=0, atol=tolerance)


def test_64_bit_integers_come_out_at_full_scale_one(tmp_path: Path) -> None:
    samples = tone(300, 0.1, 8000)
    data = np.round(samples.astype(np.float64) * 2.0**63).astype("<i8").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 64000, 8, 64)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    path = tmp_path / "a.wav"
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    np.testing.assert_allclose(read(path, 8000)[:, 0], samples, rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_any_rate_becomes_16_khz(tmp_path: Path, rate_hz: int) -> None:
    path = write_sound(tmp_path / "a.wav", tone(440, 0.7, rate_hz), rate_hz, codec="pcm_f32le")
    out = np.concatenate(list(iter_mono_16k(path)))
    assert len(out) == 11200
    np.testing.assert_allclose(out[1000:-1000], tone(440, 0.7, 16000)[1000:-1000], atol=2e-3)


def test_the_block_size_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sound(tmp_path / "a.wav", chirp(1.5, 44100), 44100)
    large = read(path, 16000)[:, 0]
    monkeypatch.setattr(audio_reader, "_BLOCK_SAMPLES", 1)
    small = read(path, 16000)[:, 0]
    np.testing.assert_allclose(small, large, rtol=0, atol=1e-6)
    at_once = soxr.resample(np.round(chirp(1.5, 44100) * 32768) / 32768, 44100, 16000, quality="HQ")
    np.testing.assert_allclose(large, at_once[: len(large)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("num_samples", [1, 2, 1000, 44101, 44102, 44103])
def test_the_length_is_that_of_librosas_loader(tmp_path: Path, num_samples: int) -> None:
    samples = np.resize(chirp(0.5, 44100), num_samples)
    path = write_sound(tmp_path / "a.wav", samples, 44100)
    expected = read_like_librosa(path, 16000)
    out = read(path, 16000)[:, 0]
    assert len(out) == len(expected)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


def test_16_khz_audio_is_not_resampled(tmp_path: Path) -> None:
    samples = np.round(chirp(0.5, 16000) * 32768).astype(np.float32) / 32768
    np.testing.assert_array_equal(read(write_sound(tmp_path / "a.wav", samples, 16000), 16000)[:, 0], samples)


def test_mono_is_the_mean_of_all_channels(tmp_path: Path) -> None:
    samples = np.stack([tone(100 * (n + 1), 0.2, 48000, 0.1) for n in range(6)], axis=1)
    path = write_sound(tmp_path / "a.wav", samples, 48000, codec="pcm_f32le")
    np.testing.assert_allclose(read(path, 48000)[:, 0], samples.mean(axis=1), atol=1e-6)


def test_surround_is_mixed_down_to_stereo_without_clipping(tmp_path: Path) -> None:
    loud = np.ones((4800, 6), np.float32)
    assert np.abs(read(write_sound(tmp_path / "a.wav", loud, 48000, codec="pcm_f32le"), 48000, 2)).max() <= 1.00001
    left_only = loud * np.array([1, 0, 0, 0, 0, 0], np.float32)
    out = read(write_sound(tmp_path / "b.wav", left_only, 48000, codec="pcm_f32le"), 48000, 2)
    assert out[:, 0].min() > 0.3
    assert np.abs(out[:, 1]).max() == 0


def test_mono_is_doubled_for_stereo(tmp_path: Path) -> None:
    out = read(write_sound(tmp_path / "a.wav", tone(300, 0.1, 48000), 48000), 48000, 2)
    np.testing.assert_array_equal(out[:, 0], out[:, 1])


def test_a_change_of_rate_and_channels_in_mid_stream_is_followed(tmp_path: Path) -> None:
    first = write_sound(tmp_path / "a.aac", tone(440, 1.0, 44100), 44100, codec="aac", container_format="adts")
    stereo = np.stack([tone(440, 1.0, 22050)] * 2, axis=1)
    second = write_sound(tmp_path / "b.aac", stereo, 22050, codec="aac", container_format="adts")
    path = tmp_path / "both.aac"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    out = read(path, 16000)[:, 0]
    assert 2.0 < len(out) / 16000 < 2.3  # the codec's padding is part of raw AAC
    for at_s in (0.5, 1.6):
        spectrum = np.abs(np.fft.rfft(out[int(at_s * 16000) :][:4000]))
        assert spectrum.argmax() * 4 == pytest.approx(440, abs=4)


@pytest.mark.parametrize("default", [0, 1])
def test_the_track_marked_as_default_is_read(tmp_path: Path, default: int) -> None:
    tracks = [tone(300, 0.5, 48000), tone(900, 0.5, 48000)]
    path = write_sound(tmp_path / "a.mka", tracks, 48000, codec="pcm_s16le", default_stream=default)
    np.testing.assert_allclose(read(path, 48000)[:, 0], tracks[default], atol=1e-4)


def test_a_late_start_becomes_silence(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", num_frames=30, audio_s=0.6, audio_start_s=0.5)
    out = read(path, 48000)[:, 0]
    assert np.abs(out[: int(0.47 * 48000)]).max() == 0
    assert np.abs(out[int(0.53 * 48000) :]).max() > 0.01


def test_a_hole_is_filled_with_silence_and_jitter_is_not(tmp_path: Path) -> None:
    samples = tone(300, 0.5, 48000)
    steady = np.arange(24) * 1000
    hole = steady + np.where(steady >= 12000, 24000, 0)
    jitter = steady + np.where(np.arange(24) % 2, 48 * 20, 0)
    with_hole = read(write_sound(tmp_path / "a.mka", samples, 48000, pts=hole.tolist()), 48000)[:, 0]
    assert len(with_hole) == 48000
    assert np.abs(with_hole[12000:36000]).max() == 0
    np.testing.assert_allclose(with_hole[36000:], samples[12000:], atol=1e-4)
    assert len(read(write_sound(tmp_path / "b.mka", samples, 48000, pts=jitter.tolist()), 48000)) == 24000


def test_a_wild_time_stamp_adds_nothing(tmp_path: Path) -> None:
    pts = [n * 1000 + (n > 12) * 48000 * 3600 for n in range(24)]
    path = write_sound(tmp_path / "a.mka", tone(300, 0.5, 48000), 48000, pts=pts)
    assert len(read(path, 48000)) == 24000


def test_a_file_cut_short_is_read_to_where_it_ends(tmp_path: Path) -> None:
    samples = chirp(2.0, 44100)
    whole = write_sound(tmp_path / "a.flac", samples, 44100, codec="flac").read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole[: len(whole) // 2])
    out = read(cut, 44100)[:, 0]
    assert 0.5 * 44100 < len(out) < 1.5 * 44100
    np.testing.assert_allclose(out[:20000], samples[:20000], atol=1e-4)


def test_encoder_delay_of_lossy_codecs_is_cut_off(tmp_path: Path) -> None:
    for codec, name in (("aac", "a.m4a"), ("libmp3lame", "a.mp3"), ("libopus", "a.webm")):
        rate_hz = 48000 if codec == "libopus" else 44100
        source = chirp(1.5, rate_hz)
        out = read(write_sound(tmp_path / name, source, rate_hz, codec=codec), rate_hz)[:, 0]
        lag, correlation = lag_of(out, source, rate_hz // 10)
        assert abs(lag) <= rate_hz // 1000, name
        assert correlation > 0.9, name


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    samples = tone(300, 0.2, 16000)
    samples[1234] = np.nan
    path = write_sound(tmp_path / "a.wav", samples, 16000, codec="pcm_f32le")
    with pytest.raises(MediaError, match="not numbers"):
        read(path, 16000)


def test_a_file_without_audio_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=3)
    for attempt in (lambda: read(path, 16000), lambda: read_audio_format(path)):
        with pytest.raises(MediaError, match="has no audio"):
            attempt()


def test_a_track_without_a_sample_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    header = write_sound(path, np.zeros(10, np.float32), 16000).read_bytes()[:-20]
    path.write_bytes(header)
    with pytest.raises(MediaError, match="nothing of its audio"):
        read(path, 16000)


def test_the_header_tells_rate_and_channels(tmp_path: Path) -> None:
    stereo = np.zeros((441, 2), np.float32)
    assert read_audio_format(write_sound(tmp_path / "a.wav", stereo, 44100)) == AudioFormat(44100, 2)


def test_every_real_song_is_read_as_librosa_reads_it(shared_data: Path) -> None:
    songs = [p for p in sorted((shared_data / "songs").iterdir()) if p.suffix in (".wav", ".flac", ".ogg", ".mp3")]
    assert songs
    for song in songs:
        expected = read_like_librosa(song, 16000)
        out = read(song, 16000)[:, 0]
        assert abs(len(out) - len(expected)) <= 1, song.name
        np.testing.assert_allclose(out[: len(expected)], expected[: len(out)], atol=1e-4, err_msg=song.name)


def test_a_damaged_real_file_is_read_as_far_as_it_goes(shared_data: Path) -> None:
    out = read(shared_data / "clips" / "corrupt_truncated_faststart.mp4", 48000)
    assert 3.5 < len(out) / 48000 < 3.9


def test_a_real_late_start_is_kept(shared_data: Path) -> None:
    path = shared_data / "clips" / "webcam_vfr_face_leaves.mov"
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        start_s = float(Fraction(stream.start_time) * stream.time_base)
    assert start_s > 0.05
    assert np.abs(read(path, 44100)[: int(start_s * 44100)]).max() == 0
