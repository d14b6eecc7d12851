"""Songs of every make: each is heard for as long as it lasts, or refused with a reason."""

import re
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soxr

from singalong.contracts import SongFacts
from singalong.errors import MediaError
from singalong.media.audio import MelStream, iter_mono_16k, voice_activity
from singalong.media.probe import probe_song
from singalong.settings import LimitSettings
from tests.singalong.builders import clip_facts, pair_row, plan_of, song_facts
from tests.sounds import chirp, lag_of, tone, write_sound


def probed(path: Path) -> SongFacts:
    return probe_song(path, sha256="0" * 64, limits=LimitSettings())


def heard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples and mel."""
    samples = np.concatenate(list(iter_mono_16k(path)))
    stream = MelStream()
    return samples, np.concatenate([*stream.push(samples), *stream.finish()], axis=1)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 88200, 96000, 176400, 192000])
def test_any_rate_is_as_long_as_it_is_and_sounds_alike(tmp_path: Path, rate_hz: int) -> None:
    path = write_sound(tmp_path / "a.wav", tone(900, 1.01, rate_hz), rate_hz)
    samples, mel = heard(path)
    assert probed(path).duration_s == pytest.approx(1.01, abs=1 / rate_hz)
    assert abs(len(samples) - 1.01 * 16000) <= 1
    assert mel.shape == (80, 1 + len(samples) // 200)
    reference = tone(900, 1.01, 16000)
    assert np.abs(samples[800:15000] - reference[800:15000]).max() < 0.01


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [("a.wav", "pcm_s24le", 44100), ("a.flac", "flac", 96000), ("a.aiff", "pcm_s24be", 48000)],
)
def test_24_bits_are_heard(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    path = write_sound(tmp_path / name, tone(900, 1.0, rate_hz, 1e-3), rate_hz, codec=codec)
    samples, _ = heard(path)
    assert np.abs(samples).max() == pytest.approx(1e-3, rel=0.05), "16 bits would leave 33 steps"


@pytest.mark.parametrize(("num_channels", "layout"), [(3, "2.1"), (5, "5.0"), (7, "6.1"), (8, "7.1")])
def test_odd_numbers_of_channels_are_averaged(tmp_path: Path, num_channels: int, layout: str) -> None:
    channels = np.stack([tone(300 * (n + 1), 0.3, 16000, 0.3) for n in range(num_channels)], axis=1)
    path = write_sound(tmp_path / "a.wav", channels, 16000, layout=layout)
    assert probed(path).num_channels == num_channels
    np.testing.assert_allclose(heard(path)[0], channels.mean(axis=1), atol=1e-4)


def test_sound_beyond_full_scale_is_loud_and_finite(tmp_path: Path) -> None:
    samples, mel = heard(write_sound(tmp_path / "a.wav", chirp(1.0, 16000) * 30, 16000, codec="pcm_f32le"))
    assert np.abs(samples).max() > 5, "never clipped, never rescaled"
    assert np.isfinite(mel).all()
    assert mel.max() <= 4
    assert voice_activity(mel).mean() > 0.9


def test_silence_and_a_constant_have_no_voice(tmp_path: Path) -> None:
    silent = heard(write_sound(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000))[1]
    assert not voice_activity(silent).any()
    constant = heard(write_sound(tmp_path / "b.wav", np.full(16000, 0.7, np.float32), 16000))[1]
    assert voice_activity(constant).mean() < 0.2, "only its sudden beginning and end are sounds"


@pytest.mark.parametrize("num_samples", [1, 700, 2400, 3199])
def test_a_song_shorter_than_a_mel_window_has_its_frames_or_a_reason(tmp_path: Path, num_samples: int) -> None:
    path = write_sound(tmp_path / "a.wav", chirp(1.0, 16000)[:num_samples], 16000)
    assert heard(path)[1].shape[1] == 1 + num_samples // 200
    plan = plan_of([pair_row()], songs={"/songs/s.wav": probed(path)}, clips={"/clips/a.mp4": clip_facts()})
    if num_samples == 1:
        assert "the song span is shorter than one frame" in plan.problems[0].error_message
        assert "montage" not in plan.problems[0].error_message
    else:
        assert plan.pairs[0].num_frames == round(num_samples / 16000 * 25)


def test_a_song_of_no_samples_is_a_problem_of_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
    with pytest.raises(MediaError, match=r"empty\.wav: nothing of its audio can be decoded") as failure:
        probed(path)
    plan = plan_of([pair_row(), pair_row(2, song="/songs/t.wav")], songs={"/songs/s.wav": failure.value})
    assert ([pair.row for pair in plan.pairs], [problem.row for problem in plan.problems]) == ([2], [1])


@pytest.mark.parametrize("xing", ["1", "0"])
def test_a_variable_bit_rate_does_not_mislead_about_the_length(tmp_path: Path, xing: str) -> None:
    """Without its header a player guesses the length from the first frames, here of silence."""
    samples = np.concatenate([np.zeros(3 * 44100, np.float32), chirp(6.0, 44100)])
    path = _write_vbr(tmp_path / "a.mp3", samples, xing)
    assert probed(path).duration_s == pytest.approx(9.0, abs=0.08)
    lag, correlation = lag_of(heard(path)[0], _at_16k(samples), 1600)
    # the header tells how much silence the codec put before the song; without it that stays, in the film as well
    assert lag == 0 if xing == "1" else 0 < lag < 0.08 * 16000
    assert correlation > 0.95


def test_what_an_edit_list_cuts_off_is_not_heard(tmp_path: Path) -> None:
    samples = chirp(3.0, 44100)
    path = write_sound(tmp_path / "a.m4a", samples, 44100, codec="aac")
    data = bytearray(path.read_bytes())
    (place,) = (found.end() for found in re.finditer(b"elst", data))
    count, _, media_time = struct.unpack(">IIi", data[place + 4 : place + 16])
    assert (count, media_time) == (1, 1024)
    data[place + 12 : place + 16] = struct.pack(">i", 1024 + 44100)
    path.write_bytes(data)
    lag, correlation = lag_of(heard(path)[0], _at_16k(samples[44100:]), 1600)
    assert (lag, correlation > 0.95) == (0, True)


def test_a_span_that_ends_early_or_late_is_told_or_counted_exactly() -> None:
    clips, songs = {"/clips/a.mp4": clip_facts(duration_s=8.0)}, {"/songs/s.wav": song_facts(duration_s=30.0)}
    spans = {
        "song ends half a frame later": ({"song_end_s": 30.019}, 750),
        "clip ends half a frame later": ({"clip_end_s": 8.02}, 750),
        "clip ends early": ({"clip_end_s": 0.5}, 750),
        "song ends early": ({"song_end_s": 0.5}, 12),
        "song ends later": ({"song_end_s": 30.03}, "column song_end_s: ends beyond the end"),
        "clip ends later": ({"clip_end_s": 8.03}, "column clip_end_s: ends beyond the end"),
        "clip starts later": ({"clip_start_s": 8.0}, "column clip_start_s: starts beyond the end"),
    }
    for name, (values, expected) in spans.items():
        plan = plan_of([pair_row(**values)], clips=clips, songs=songs)
        if isinstance(expected, int):
            assert [pair.num_frames for pair in plan.pairs] == [expected], name
        else:
            assert expected in plan.problems[0].error_message, name


def _at_16k(samples: np.ndarray) -> np.ndarray:
    return soxr.resample(samples, 44100, 16000, quality="HQ")


def _write_vbr(path: Path, samples: np.ndarray, xing: str) -> Path:
    with av.open(str(path), "w", options={"write_xing": xing, "id3v2_version": "0"}) as out:
        stream = out.add_stream("libmp3lame", rate=44100, options={"b": "0", "q": "4"})
        stream.codec_context.layout, stream.codec_context.format = "mono", "fltp"
        for first in range(0, len(samples), 1000):
            block = np.ascontiguousarray(samples[first : first + 1000][None])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, first, Fraction(1, 44100)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
