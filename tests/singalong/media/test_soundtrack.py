"""Kept sound: a film made with it has the bytes of one whose sound was encoded for it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from singalong.durable import sha256_of
from singalong.errors import MediaError
from singalong.media import join as join_module
from singalong.media.audio_out import AudioSpan
from singalong.media.join import join_segments
from singalong.media.soundtrack import encode_soundtrack
from tests.segments import write_segment
from tests.sounds import chirp, write_sound

NTSC = Fraction(30000, 1001)


def film(segments: list[Path], out: Path, spans: list[AudioSpan], *, fps: Fraction, kept: Path | None = None) -> str:
    def keep(duration: Fraction) -> Path:
        assert kept is not None
        if not kept.exists():
            kept.mkdir()
            encode_soundtrack(spans, duration, kept)
        return kept

    given = None if kept is None else keep
    return join_segments(segments, out, fps=fps, audio=spans, metadata={"title": "t"}, kept_sound=given).sha256


@pytest.mark.parametrize("fps", [Fraction(25), NTSC], ids=str)
@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000, 11127])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_film_has_the_same_bytes_with_kept_sound(
    tmp_path: Path, rate_hz: int, num_channels: int, fps: Fraction
) -> None:
    sound = np.stack([chirp(2.0, rate_hz, seed) for seed in range(num_channels)], axis=1)
    song = write_sound(tmp_path / "song.wav", sound, rate_hz)
    spans = [AudioSpan(song, 0.3, 0.9), AudioSpan(song, 1.5, 2.6)]  # the second ends after the song
    segments = [write_segment(tmp_path / f"{n}.mp4", range(n), fps=fps) for n in (20, 17)]
    encoded = film(segments, tmp_path / "film.mp4", spans, fps=fps)
    assert film(segments, tmp_path / "first.mp4", spans, fps=fps, kept=tmp_path / "kept") == encoded
    assert film(segments, tmp_path / "next.mp4", spans, fps=fps, kept=tmp_path / "kept") == encoded
    assert sha256_of(tmp_path / "next.mp4") == encoded


def test_the_song_is_not_opened_where_its_sound_is_kept(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(1.0, 16000), 16000)
    segments, spans = [write_segment(tmp_path / "a.mp4", range(10))], [AudioSpan(song, 0.0, 0.4)]
    first = film(segments, tmp_path / "first.mp4", spans, fps=Fraction(25), kept=tmp_path / "kept")
    song.unlink()
    assert film(segments, tmp_path / "next.mp4", spans, fps=Fraction(25), kept=tmp_path / "kept") == first
    with pytest.raises(MediaError, match="no such file"):
        film(segments, tmp_path / "last.mp4", spans, fps=Fraction(25))


def test_kept_sound_is_read_a_packet_at_a_time(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(20.0, 44100), 44100)
    (tmp_path / "kept").mkdir()
    encode_soundtrack([AudioSpan(song, 0.0, 20.0)], Fraction(20), tmp_path / "kept")
    audio = join_module.soundtrack_format(tmp_path / "kept")
    with join_module.writing_mp4(tmp_path / "film.mp4") as container:
        stream = join_module.add_aac_stream(container, audio)
        sizes = [packet.size for packet in join_module.soundtrack_packets(tmp_path / "kept", stream, audio)]
    assert len(sizes) > 800
    assert sum(sizes) == (tmp_path / "kept" / "sound.aac").stat().st_size > 20 * max(sizes)
