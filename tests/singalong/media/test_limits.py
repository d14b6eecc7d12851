"""Files that promise, or hold, more than a machine can take: refused by settings, before anything large is made."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media import decode
from singalong.media.decode import ClipReader
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tests.hostile_media import mov, png, wav

ROOT = Path(__file__).parents[3]
LARGE = (8000, 8000)
LARGE_MB = 8000 * 8000 * 4 / 1e6


def probe(path: Path, **limits: float) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=LimitSettings(**limits), still_fps=25)


def peak_mb_of(code: str, *args: object) -> tuple[float, str]:
    """What some code takes in a process of its own, beyond its imports, and what it printed."""
    imports = "import resource, sys; from pathlib import Path; from tests.singalong.media.test_limits import *\n"
    measure = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    program = f"{imports}before = {measure}\n{code}\nprint((({measure}) - before) / 1e3)"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *said, peak = done.stdout.splitlines()
    return float(peak), "\n".join(said)


REFUSED = """
try:
    probe(Path(sys.argv[1]))
except MediaError as error:
    print(error)
"""


@pytest.mark.parametrize("stated", [(64, 64), LARGE])
def test_no_frame_over_the_limit_is_ever_decoded_whatever_the_header_says(
    tmp_path: Path, stated: tuple[int, int]
) -> None:
    path = mov(tmp_path / "a.mov", [png(*LARGE)], size=stated)
    peak_mb, said = peak_mb_of(REFUSED, path)
    assert "at most 35389440 pixels" in said
    assert peak_mb < LARGE_MB / 4


def test_a_clip_whose_frames_grow_in_mid_stream_shows_its_last_good_frame(tmp_path: Path) -> None:
    path = mov(tmp_path / "a.mov", [png(64, 64), png(*LARGE), png(64, 64)])
    code = """
facts = probe(Path(sys.argv[1]))
with ClipReader(facts) as reader:
    print(len(reader.read_chunk([0.0, 0.04, 0.08])), reader.num_undecodable)
print(len(list(decode.iter_small_frames(facts, max_side_px=64))))
"""
    peak_mb, said = peak_mb_of(code, path)
    assert said.splitlines() == ["3 1", "2"]
    assert peak_mb < LARGE_MB / 4


def test_a_raised_limit_holds_for_reading_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mov(tmp_path / "a.mov", [png(2101, 2101)], size=(2101, 2101))
    facts = probe(path)
    monkeypatch.setattr(decode, "DEFAULT_MAX_PIXELS", 1000)
    with ClipReader(facts) as reader:
        assert reader.read_chunk([0.0])[0].y.shape == (2100, 2100)
    assert len(list(decode.iter_small_frames(facts, max_side_px=64))) == 1


def test_a_picture_that_pillow_itself_refuses_is_refused_in_our_words(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(60000, 60000, with_pixels=False))
    with pytest.raises(MediaError, match=r"frames are too large.*limits\.max_pixels"):
        probe(path)


def test_a_header_that_states_a_hundred_hours_is_refused(tmp_path: Path) -> None:
    path = mov(tmp_path / "a.mov", [png(64, 64)] * 2, timescale=1, ticks_each=180_000)
    with pytest.raises(MediaError, match="too long"):
        probe(path)


def test_more_frames_than_the_limit_are_refused_while_they_are_counted(tmp_path: Path) -> None:
    path = mov(tmp_path / "a.mov", [png(64, 64)] * 30)
    assert probe(path, max_frames=30).num_frames == 30
    with pytest.raises(MediaError, match=r"too many frames.*at most 29.*limits\.max_frames"):
        probe(path, max_frames=29)


def test_a_thousand_million_frames_a_second_are_no_rate(tmp_path: Path) -> None:
    facts = probe(mov(tmp_path / "a.mov", [png(64, 64)] * 20, timescale=1_000_000_000))
    assert facts.fps <= 480
    assert 0 < facts.duration_s < 1


def test_a_million_frames_take_tens_of_megabytes(tmp_path: Path) -> None:
    code = """
from array import array
from singalong.media import scan
times_s = array("d", (n / 25 for n in range(1_000_000)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(scan._usual_step_s(times_s), scan.is_variable(times_s, 0.001))
"""
    peak_mb, said = peak_mb_of(code)
    assert float(said.split()[0]) == pytest.approx(0.04)
    assert peak_mb < 30  # as Python lists: 64 and more


@pytest.mark.parametrize("stated_bytes", [4_200_000_000, 0xFFFFFFFF])
def test_a_wave_file_is_as_long_as_its_samples_whatever_its_header_claims(tmp_path: Path, stated_bytes: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(8000, 8000, stated_bytes=stated_bytes))
    assert probe_song(path, sha256="", limits=LimitSettings()).duration_s == 1


@pytest.mark.parametrize("rate_hz", [1, 999, 1_000_001, 2_000_000_000])
def test_sample_rates_that_no_music_has_are_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate_hz, 1000))
    with pytest.raises(MediaError, match=rf"{rate_hz} Hz.*1000 to 1000000 Hz.*limits\.min_sample_rate_hz"):
        probe_song(path, sha256="", limits=LimitSettings())


def test_pictures_that_trip_their_reader_are_damaged_pictures(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    if "AVIF" not in pil.OPEN:
        pytest.skip("this Pillow reads no AVIF")
    path = tmp_path / "a.avif"
    pil.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path, "AVIF")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"pitm", b"pitx"))  # no picture is said to be the one to show
    with pytest.raises(MediaError):
        probe(path)
