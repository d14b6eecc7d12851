"""Films from segments: the same pictures, exact times, the song where it belongs, whole or not at all."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from singalong.durable import sha256_of
from singalong.errors import MediaError
from singalong.media import join as module
from singalong.media.audio_reader import iter_audio
from singalong.media.join import AudioSpan, JoinFacts, join_segments, segments_match
from tests.segments import BT709, numbers_of, packets_of, pixels_of, times_of, write_segment
from tests.sounds import F32, chirp, lag_of, write_sound
from tests.videos import make_video

NTSC_FILM = Fraction(24000, 1001)


def sound_of(path: Path, rate_hz: int) -> F32:
    return np.concatenate(list(iter_audio(path, sample_rate_hz=rate_hz, num_channels=1)))[:, 0]


def join(
    segments: list[Path], out: Path, *, fps: Fraction = Fraction(25), audio: list[AudioSpan] | None = None
) -> JoinFacts:
    return join_segments(segments, out, fps=fps, audio=audio or [], metadata={"title": "A film"})


@pytest.fixture(scope="module")
def six_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment of 150 frames at 25 fps."""
    return write_segment(tmp_path_factory.mktemp("six") / "s.mp4", [1] * 150, size=(32, 32))


def pieces(folder: Path, lengths: list[int], *, fps: Fraction = Fraction(25)) -> list[Path]:
    """Segments of these lengths, numbered on."""
    starts = np.cumsum([0, *lengths]).tolist()
    return [write_segment(folder / f"piece{start}.mp4", range(start, end), fps=fps) for start, end in pairwise(starts)]


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [7, 3, 2, 1], [60, 1, 2, 55], [2] * 12], ids=str)
def test_the_film_decodes_to_the_very_pixels_of_its_segments(tmp_path: Path, lengths: list[int]) -> None:
    segments = pieces(tmp_path, lengths)
    facts = join(segments, tmp_path / "film.mp4")
    sha256 = sha256_of(tmp_path / "film.mp4")
    assert facts == JoinFacts(sum(lengths), sum(lengths) / 25, sha256, unsealed_sha256=sha256)
    assert pixels_of(tmp_path / "film.mp4") == [pixels for segment in segments for pixels in pixels_of(segment)]


@pytest.mark.parametrize(
    "fps",
    [
        *(Fraction(n) for n in (12, 15, 24, 25, 30, 50, 60, 100, 120)),
        *(NTSC_FILM, Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001)),
        *(Fraction(753, 25), Fraction(8373, 500)),
    ],
    ids=str,
)
@pytest.mark.parametrize("with_sound", [False, True])
def test_frames_stand_at_exactly_n_over_fps_and_the_film_ends_with_the_last(
    tmp_path: Path, fps: Fraction, with_sound: bool
) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(3.0, 44100), 44100)
    audio = [AudioSpan(song, 0.5, 2.5)] if with_sound else []
    facts = join(pieces(tmp_path, [13, 1, 20], fps=fps), tmp_path / "film.mp4", fps=fps, audio=audio)
    assert times_of(tmp_path / "film.mp4") == [n / fps for n in range(34)]
    assert facts.duration_s == float(34 / fps)
    with av.open(str(tmp_path / "film.mp4")) as film:
        video = film.streams.video[0]
        assert video.duration * video.time_base == 34 / fps
        assert (video.start_time, film.start_time) == (0, 0)
        assert film.duration == pytest.approx(float(34 / fps) * 1e6, abs=1e6 / 44100)  # to the sample
        assert len(film.streams.audio) == with_sound
        for track in film.streams.audio:
            assert abs(track.duration - 34 / fps * 44100) <= 1


def test_a_seal_is_put_on_before_the_film_gets_its_name(tmp_path: Path) -> None:
    segments, out = pieces(tmp_path, [3]), tmp_path / "film.mp4"
    plain = join(segments, out)
    out.unlink()

    def seal(film: Path) -> None:
        assert not out.exists()
        with film.open("ab") as file:
            file.write(b"\x00\x00\x00\x0cfree" + b"seal")

    sealed = join_segments(segments, out, fps=Fraction(25), audio=[], metadata={"title": "A film"}, seal=seal)
    assert out.read_bytes().endswith(b"seal")
    assert (sealed.unsealed_sha256, sealed.sha256) == (plain.sha256, sha256_of(out))


def test_a_seal_that_fails_leaves_no_film(tmp_path: Path) -> None:
    def seal(film: Path) -> None:
        raise MediaError("no seal", file=film)

    with pytest.raises(MediaError, match="no seal"):
        join_segments(pieces(tmp_path, [3]), tmp_path / "film.mp4", fps=Fraction(25), audio=[], metadata={}, seal=seal)
    assert [path.name for path in tmp_path.iterdir()] == ["piece0.mp4"]


def test_decoding_times_grow_and_never_pass_presentation_times(tmp_path: Path) -> None:
    join(pieces(tmp_path, [30, 1, 2, 30]), tmp_path / "film.mp4")
    packets = packets_of(tmp_path / "film.mp4")
    decoding = [dts for _, dts, _ in packets]
    assert decoding == [(n - 1) * Fraction(1, 25) for n in range(len(packets))]
    assert all(dts <= pts for pts, dts, _ in packets)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz", "start_s"),
    [
        ("a.wav", "pcm_s16le", 44100, 0.0),
        ("a.flac", "flac", 48000, 1.237),
        ("a.mp3", "libmp3lame", 44100, 1.237),
        ("a.m4a", "aac", 44100, 0.0),
        ("a.wav", "pcm_s16le", 16000, 1.237),
        ("a.wav", "pcm_s16le", 8000, 0.0),
        ("a.wav", "pcm_s16le", 192000, 1.237),
    ],
)
def test_the_song_lies_at_time_0_from_beginning_to_end(
    tmp_path: Path, six_seconds: Path, name: str, codec: str, rate_hz: int, start_s: float
) -> None:
    song = write_sound(tmp_path / name, chirp(8.0, rate_hz), rate_hz, codec=codec)
    join([six_seconds], tmp_path / "film.mp4", audio=[AudioSpan(song, start_s, 7.237)])
    out_hz = 48000 if rate_hz == 192000 else rate_hz
    source = sound_of(song, out_hz)[round(start_s * out_hz) :]
    film = sound_of(tmp_path / "film.mp4", out_hz)
    assert 0 <= len(film) - 6 * out_hz < 1024  # a decoder gives whole AAC frames
    for at_s in (0.0, 2.5, 5.0):
        window = slice(round(at_s * out_hz), round((at_s + 1) * out_hz))
        lag, correlation = lag_of(film[window], source[window], out_hz // 10)
        assert abs(lag) <= out_hz * 0.005
        assert correlation > 0.95


def test_a_song_shorter_than_the_film_is_followed_by_silence(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(1.0, 48000), 48000)
    join([write_segment(tmp_path / "s.mp4", range(75))], tmp_path / "film.mp4", audio=[AudioSpan(song, 0.0, 2.0)])
    film = sound_of(tmp_path / "film.mp4", 48000)
    assert np.abs(film[:48000]).max() > 0.1
    assert np.abs(film[50000:]).max() < 1e-3
    assert len(film) >= 3 * 48000


def test_a_film_of_one_frame_has_its_bit_of_the_song(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(1.0, 48000), 48000)
    facts = join([write_segment(tmp_path / "s.mp4", [3])], tmp_path / "film.mp4", audio=[AudioSpan(song, 0.0, 0.9)])
    assert facts.num_frames == 1
    assert numbers_of(tmp_path / "film.mp4") == [3]
    assert 1920 <= len(sound_of(tmp_path / "film.mp4", 48000)) < 1920 + 1024


def test_spans_are_laid_end_to_end(tmp_path: Path) -> None:
    first, second = chirp(4.0, 44100, seed=1), chirp(4.0, 44100, seed=2)[::-1].copy()
    a = write_sound(tmp_path / "a.wav", first, 44100)
    b = write_sound(tmp_path / "b.wav", second, 44100)
    spans = [AudioSpan(a, 0.5, 1.5), AudioSpan(a, 1.5, 2.0), AudioSpan(b, 1.0, 2.0), AudioSpan(a, 0.0, 0.5)]
    join([write_segment(tmp_path / "s.mp4", range(75))], tmp_path / "film.mp4", audio=spans)
    expected = np.concatenate([first[22050:88200], second[44100:88200], first[:22050]])
    film = sound_of(tmp_path / "film.mp4", 44100)
    for start in range(0, len(expected), 22050):
        lag, correlation = lag_of(film[start : start + 22050], expected[start : start + 22050], 2000)
        assert (lag, correlation) == (0, pytest.approx(1, abs=0.05))


@pytest.mark.parametrize(
    ("rates_hz", "channels", "expected"),
    [
        ((44100, 44100), (1, 1), (44100, "mono")),
        ((44100, 44100), (1, 2), (44100, "stereo")),
        ((44100, 32000), (1, 1), (48000, "mono")),
        ((192000, 192000), (6, 1), (48000, "stereo")),
    ],
)
def test_rate_and_channels_are_the_songs_where_they_agree(
    tmp_path: Path, rates_hz: tuple[int, int], channels: tuple[int, int], expected: tuple[int, str]
) -> None:
    songs = [
        write_sound(tmp_path / f"{n}.wav", np.zeros((rate_hz, num), np.float32), rate_hz)
        for n, (rate_hz, num) in enumerate(zip(rates_hz, channels, strict=True))
    ]
    spans = [AudioSpan(song, 0.0, 0.5) for song in songs]
    join([write_segment(tmp_path / "s.mp4", range(25))], tmp_path / "film.mp4", audio=spans)
    with av.open(str(tmp_path / "film.mp4")) as film:
        context = film.streams.audio[0].codec_context
        assert (context.sample_rate, context.layout.name) == expected
        assert context.name == "aac"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    segments = pieces(tmp_path, [10, 10])
    song = write_sound(tmp_path / "song.wav", chirp(1.0, 44100), 44100)
    digests = {join(segments, tmp_path / f"{n}.mp4", audio=[AudioSpan(song, 0.0, 0.8)]).sha256 for n in range(2)}
    assert len(digests) == 1
    assert b"Lav" not in (tmp_path / "0.mp4").read_bytes()


def test_pictures_and_sound_lie_close_together_with_the_index_first(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(8.0, 44100), 44100)
    segments = pieces(tmp_path, [100, 100])
    join(segments, tmp_path / "film.mp4", audio=[AudioSpan(song, 0.0, 8.0)])
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "film.mp4")) as film:
        stored = sorted((p.pos, float(p.dts * p.time_base)) for p in film.demux() if p.size)
    times = [time_s for _, time_s in stored]
    assert max(abs(b - a) for a, b in pairwise(times)) < 1.1  # libav's chunks are 1 s


def test_tags_are_kept(tmp_path: Path) -> None:
    tags = {"title": "Tänzer: «A=B;»", "comment": "made by machine", "copyright": "© 2020"}
    join_segments(pieces(tmp_path, [2]), tmp_path / "film.mp4", fps=Fraction(25), audio=[], metadata=tags)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert tags.items() <= film.metadata.items()


def test_the_sound_of_segments_is_left_out(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(1.0, 44100), 44100)
    join(pieces(tmp_path, [10]), tmp_path / "first.mp4", audio=[AudioSpan(song, 0.0, 0.4)])
    join([tmp_path / "first.mp4"] * 2, tmp_path / "film.mp4")
    assert numbers_of(tmp_path / "film.mp4") == [*range(10)] * 2
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video"]


@pytest.mark.parametrize(
    "other",
    [{"size": (64, 96)}, {"color": BT709}, {"sample_aspect_ratio": Fraction(4, 3)}, {"preset": "slow"}],
    ids=str,
)
def test_segments_of_other_settings_are_refused(tmp_path: Path, other: dict) -> None:
    first = write_segment(tmp_path / "a.mp4", range(3))
    second = write_segment(tmp_path / "b.mp4", range(3), **other)
    assert not segments_match([first, second])
    with pytest.raises(MediaError, match=r"otherwise than a\.mp4") as error:
        join([first, second], tmp_path / "film.mp4")
    assert error.value.file == second
    assert not (tmp_path / "film.mp4").exists()


def test_segments_of_one_encoder_match(tmp_path: Path) -> None:
    assert segments_match(pieces(tmp_path, [1, 2, 30]))
    assert segments_match([])


def test_a_segment_of_another_rate_is_refused(tmp_path: Path) -> None:
    segment = write_segment(tmp_path / "a.mp4", range(5), fps=Fraction(30))
    with pytest.raises(MediaError, match="another frame rate"):
        join([segment], tmp_path / "film.mp4", fps=Fraction(25))


def test_a_segment_with_a_hole_is_refused(tmp_path: Path) -> None:
    segment = make_video(tmp_path / "a.mp4", pts=[0, 1, 2, 5, 6], num_frames=5)
    with pytest.raises(MediaError, match="one by one"):
        join([segment], tmp_path / "film.mp4")


def test_a_failed_join_leaves_the_old_film_and_nothing_else(tmp_path: Path) -> None:
    segments = pieces(tmp_path, [5])
    silent = make_video(tmp_path / "silent.mp4", num_frames=3)
    before = join(segments, tmp_path / "film.mp4").sha256
    names = sorted(tmp_path.iterdir())
    for audio in ([AudioSpan(silent, 0.0, 1.0)], [AudioSpan(tmp_path / "missing.wav", 0.0, 1.0)]):
        with pytest.raises(MediaError):
            join(segments, tmp_path / "film.mp4", audio=audio)
    assert sorted(tmp_path.iterdir()) == names
    assert sha256_of(tmp_path / "film.mp4") == before


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "song.wav", chirp(0.2, 16000), 16000)
    with pytest.raises(MediaError, match="no pictures"):
        join([song], tmp_path / "film.mp4")


def test_every_real_song_lies_at_time_0(shared_data: Path, tmp_path: Path, six_seconds: Path) -> None:
    for song in sorted((shared_data / "songs").iterdir()):
        join([six_seconds], tmp_path / "film.mp4", audio=[AudioSpan(song, 0.0, 6.0)])
        source, film = sound_of(song, 16000), sound_of(tmp_path / "film.mp4", 16000)
        for at_s in (0.0, 2.5, 5.0):
            window = slice(round(at_s * 16000), round((at_s + 1) * 16000))
            if np.abs(source[window]).max(initial=0) > 0.01:
                lag, correlation = lag_of(film[window], source[window], 1600)
                assert abs(lag) <= 16, (song.name, at_s)  # 1 ms
                assert correlation > 0.95, (song.name, at_s)


def test_each_segment_is_looked_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening for more than packets decodes the first picture: 10 ms at 1280x720."""
    segments, looked = pieces(tmp_path, [7, 3, 5]), Counter[Path]()
    opening = module.open_input

    def watched(path: Path, *, only_packets: bool = False):
        looked[path] += not only_packets
        return opening(path, only_packets=only_packets)

    monkeypatch.setattr(module, "open_input", watched)
    assert segments_match(segments)
    join(segments, tmp_path / "film.mp4")
    assert [looked[path] for path in segments] == [2, 1, 1]  # and the first as the template of the film's stream


def test_a_segment_that_was_replaced_is_looked_into_again(tmp_path: Path) -> None:
    one, other = write_segment(tmp_path / "a.mp4", [1, 2]), write_segment(tmp_path / "b.mp4", [1, 2], size=(64, 64))
    assert not segments_match([one, other])
    other.unlink()
    write_segment(other, [1, 2, 3])
    assert segments_match([one, other])
    assert join([one, other], tmp_path / "film.mp4").num_frames == 5
