import contextlib
import random
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tests.videos import make_video

MS = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)
ENCRYPTED = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def probed(path: Path, limits: LimitSettings | None = None) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=limits or LimitSettings(), still_fps=25)


def cut_at(path: Path, share: float) -> Path:
    """The file's first part."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def blank_frames(path: Path, which: slice) -> Path:
    """Overwrite these frames of a file of PNG frames with zeros."""
    data = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(re.escape(b"\x89PNG"), data)]
    for start in starts[which]:
        data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    return path


def test_a_plain_clip_has_plain_facts(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=20, audio_s=0.8)
    facts = probed(path)
    assert (facts.path, facts.sha256, facts.num_bytes) == (str(path), "0" * 64, path.stat().st_size)
    assert (facts.width, facts.height, facts.rotation_deg, facts.fps) == (128, 96, 0, 25)
    assert (facts.num_frames, facts.duration_s, facts.is_vfr) == (20, pytest.approx(0.8), False)
    assert (facts.codec, facts.pix_fmt, facts.is_still) == ("h264", "yuv420p", False)
    assert facts.has_audio
    assert facts.audio_duration_s == pytest.approx(0.8, abs=0.05)
    assert facts.warnings == ()


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.mpg", "mpeg2video"), ("a.webm", "libvpx")],
)
def test_frames_and_rate_are_found_in_every_container(tmp_path: Path, name: str, codec: str) -> None:
    facts = probed(make_video(tmp_path / name, codec=codec, num_frames=15))
    assert (facts.num_frames, facts.fps, facts.is_vfr) == (15, 25, False)
    assert facts.duration_s - facts.first_frame_s == pytest.approx(0.6)


def test_a_raw_stream_without_times_is_counted(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.h264", container_format="h264", num_frames=15))
    assert (facts.num_frames, facts.first_frame_s, facts.duration_s) == (15, 0.0, pytest.approx(0.6))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_clip_has_the_size_a_player_shows(tmp_path: Path, turn: int) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", size=(128, 96), rotation_deg=turn))
    assert (facts.width, facts.height, facts.rotation_deg) == (128, 96, turn)


def test_odd_sides_are_cut_to_even_and_noted(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.mkv", codec="ffv1", size=(127, 95)))
    assert (facts.width, facts.height) == (126, 94)
    assert "127x95" in facts.warnings[0]


@pytest.mark.parametrize(("turn", "shown"), [(0, Fraction(4, 3)), (90, Fraction(3, 4))])
def test_pixels_that_are_not_square_are_told_as_they_are_shown(tmp_path: Path, turn: int, shown: Fraction) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", sample_aspect_ratio=Fraction(4, 3), rotation_deg=turn))
    assert facts.sample_aspect_ratio == shown


def test_a_late_first_frame_is_late(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", pts=range(10, 30), audio_s=1.2))
    assert (facts.first_frame_s, facts.duration_s) == (pytest.approx(0.4), pytest.approx(1.2))


def test_time_starts_where_the_container_starts(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.mkv", pts=range(500, 540)))
    assert (facts.first_frame_s, facts.duration_s) == (0.0, pytest.approx(1.6))


def test_times_rounded_to_milliseconds_are_no_variable_rate(tmp_path: Path) -> None:
    times = [round(n * 1000 / 30) for n in range(40)]
    facts = probed(make_video(tmp_path / "a.mkv", pts=times, time_base=MS, fps=Fraction(30)))
    assert (facts.is_vfr, facts.fps) == (False, 30)


def test_real_gaps_are_a_variable_rate_whose_average_counts(tmp_path: Path) -> None:
    rng = random.Random(1)
    times = [0]
    while len(times) < 60:
        times.append(times[-1] + rng.choice([33, 50, 100]))
    facts = probed(make_video(tmp_path / "a.mkv", pts=times, time_base=MS, fps=Fraction(60)))
    assert facts.is_vfr
    assert float(facts.fps) == pytest.approx(59 / (times[-1] / 1000), rel=0.01)


def test_an_exact_rate_stays_exact(tmp_path: Path) -> None:
    assert probed(make_video(tmp_path / "a.mp4", fps=NTSC)).fps == NTSC


def test_the_default_stream_is_used_and_the_others_are_named(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", num_video_streams=2, default_stream=1))
    assert facts.warnings == ("2 video streams: using stream 1 (128x96), ignoring stream 0 (128x96)",)


def test_hdr_is_noted(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"}
    path = make_video(tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv420p10le", color=(9, 1, 9, 16), options=options)
    facts = probed(path)
    assert facts.pix_fmt == "yuv420p10le"
    assert "HDR" in facts.warnings[0]


def test_a_file_cut_short_tells_what_is_really_there(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4",
        num_frames=60,
        options={"bf": "0"},
        codec="mpeg4",
        container_options={"movflags": "faststart"},
    )
    facts = probed(cut_at(path, 0.6))
    assert 20 < facts.num_frames < 60
    assert facts.duration_s == pytest.approx(facts.num_frames / 25)
    assert any(f"the header says 60 frames, {facts.num_frames} found" in note for note in facts.warnings)


def test_last_packets_that_do_not_decode_are_no_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.nut", codec="png", pix_fmt="rgb24", num_frames=12)
    facts = probed(blank_frames(path, slice(-2, None)))
    assert facts.num_frames == 10
    assert facts.duration_s == pytest.approx(0.4)
    assert any("2 frames at its end cannot be decoded" in note for note in facts.warnings)


def test_a_matroska_cut_short_is_noted_by_its_stated_duration(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="mjpeg", pix_fmt="yuvj420p", num_frames=75)
    facts = probed(cut_at(path, 0.5))
    assert facts.num_frames < 45
    assert any("the header says 3.00 s" in note for note in facts.warnings)


def test_limits_are_checked(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=50)
    with pytest.raises(MediaError, match=r"too large.*128x96.*at most 1000 pixels.*limits\.max_pixels"):
        probed(path, LimitSettings(max_pixels=1000))
    with pytest.raises(MediaError, match=r"too long.*2\.0 s.*limits\.max_duration_s"):
        probed(path, LimitSettings(max_duration_s=1.5))
    with pytest.raises(MediaError, match=r"too small.*at least 97 pixels"):
        probed(path, LimitSettings(min_side_px=97))


def test_length_is_limited_even_where_no_header_states_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.h264", container_format="h264", num_frames=50)
    with pytest.raises(MediaError, match="too long"):
        probed(path, LimitSettings(max_duration_s=1.5))


def test_an_encrypted_clip_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is encrypted"):
        probed(make_video(tmp_path / "a.mp4", container_options=ENCRYPTED))


def test_a_phones_heif_picture_is_named_as_such(tmp_path: Path) -> None:
    path = make_video(tmp_path / "IMG_1.HEIC", container_format="mp4", num_frames=1)
    path.write_bytes(path.read_bytes().replace(b"ftypisom", b"ftypheic"))
    with pytest.raises(MediaError, match=r"HEIF picture.*Convert it to JPEG"):
        probed(path)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    write_tone(path, 0.5)
    with pytest.raises(MediaError, match=r"song\.m4a: has no video"):
        probed(path)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame(64, 64, "yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1)
        out.mux(cover.encode(frame))
        out.mux(cover.encode(None))
    with pytest.raises(MediaError, match="only a cover picture"):
        probed(path)


def test_a_clip_of_which_nothing_decodes_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.nut", codec="png", pix_fmt="rgb24", num_frames=3)
    blank_frames(path, slice(None))
    with pytest.raises(MediaError, match="no frame of it can be decoded"):
        probed(path)


@pytest.mark.parametrize("seed", range(12))
def test_damage_never_surprises(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    name, codec = rng.choice([("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.ts", "libx264"), ("a.avi", "mjpeg")])
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_video(tmp_path / name, codec=codec, pix_fmt=pix_fmt, num_frames=10, audio_s=0.4)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([3, 30, 300])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    with contextlib.suppress(MediaError):
        assert probed(path).num_frames >= 1


def write_tone(path: Path, length_s: float, rate_hz: int = 48000) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=rate_hz, layout="mono")
        samples = (8000 * np.sin(np.arange(round(length_s * rate_hz)) / 20)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def song(path: Path, limits: LimitSettings | None = None) -> tuple[int, int, int, float, str]:
    facts = probe_song(path, sha256="1" * 64, limits=limits or LimitSettings())
    assert facts.num_bytes == path.stat().st_size
    return facts.sample_rate_hz, facts.num_channels, facts.num_samples, facts.duration_s, facts.codec


def test_a_song_is_as_long_as_its_samples(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 0.5, rate_hz=44100)
    assert song(tmp_path / "a.wav") == (44100, 1, 22050, 0.5, "pcm_s16le")


def test_a_song_can_be_the_sound_of_a_video(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", num_frames=20, audio_s=0.8)
    rate_hz, _, _, duration_s, codec = song(path)
    assert (rate_hz, codec) == (48000, "aac")
    assert duration_s == pytest.approx(0.8, abs=0.05)


def test_a_song_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.mp4: has no audio"):
        song(make_video(tmp_path / "a.mp4", num_frames=3))


def test_a_song_over_the_limit_is_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 2.0)
    with pytest.raises(MediaError, match="too long"):
        song(tmp_path / "a.wav", LimitSettings(max_duration_s=1.0))
