"""Real files: their facts against the list that came with them, their frames against a full decode."""

import csv
import random
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import av
import pytest

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.frames import YuvFrame
from singalong.media.planes import PlaneMaker, TimedFrame
from singalong.media.probe import probe_clip, probe_song
from singalong.settings import LimitSettings
from tests.conftest import SHARED

CLIPS = sorted(path.name for path in (SHARED / "data" / "clips").glob("*")) or ["(absent)"]
SONGS = sorted(path.name for path in (SHARED / "data" / "songs").glob("*")) or ["(absent)"]
STILLS = sorted(path.name for path in (SHARED / "data" / "stills").glob("*")) or ["(absent)"]
UNREADABLE = "corrupt_no_moov.mp4"
READABLE = [name for name in CLIPS if name != UNREADABLE]


def listed(shared_data: Path, name: str) -> dict[str, str]:
    with (shared_data / "media.csv").open(newline="", encoding="utf-8") as file:
        return next(row for row in csv.DictReader(file) if row["name"].endswith(f"/{name}"))


@pytest.fixture(scope="module")
def known_facts() -> dict[str, ClipFacts]:
    return {}


@pytest.fixture
def facts(shared_data: Path, name: str, known_facts: dict[str, ClipFacts]) -> ClipFacts:
    if name not in known_facts:
        path = shared_data / "clips" / name
        known_facts[name] = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    return known_facts[name]


@pytest.mark.parametrize("name", READABLE)
def test_facts_are_those_of_the_list(shared_data: Path, name: str, facts: ClipFacts) -> None:
    row = listed(shared_data, name)
    assert float(facts.fps) == pytest.approx(float(row["fps"]), abs=0.01)
    coded = (facts.width, facts.height) if facts.rotation_deg % 180 == 0 else (facts.height, facts.width)
    assert coded == (int(row["width"]), int(row["height"]))
    assert facts.rotation_deg == -int(row["rotation"]) % 360
    assert facts.num_frames == int(row["frames_decoded"])
    assert facts.is_vfr == (row["vfr"] == "yes")
    assert facts.codec == row["vcodec"]
    assert facts.has_audio == bool(row["acodec"])
    if not facts.warnings:
        assert facts.duration_s == pytest.approx(float(row["duration_s"]), abs=0.25)


def test_a_file_cut_short_says_so(shared_data: Path) -> None:
    path = shared_data / "clips" / "corrupt_truncated_faststart.mp4"
    facts = probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    assert facts.warnings == ("the header says 173 frames, 112 found: it is cut short or damaged",)


def test_a_file_without_its_index_is_refused(shared_data: Path) -> None:
    with pytest.raises(MediaError, match=UNREADABLE):
        probe_clip(shared_data / "clips" / UNREADABLE, sha256="0" * 64, limits=LimitSettings(), still_fps=25)


@pytest.mark.parametrize("name", SONGS)
def test_songs_last_as_long_as_listed(shared_data: Path, name: str) -> None:
    row = listed(shared_data, name)
    facts = probe_song(shared_data / "songs" / name, sha256="0" * 64, limits=LimitSettings())
    assert facts.duration_s == pytest.approx(float(row["duration_s"]), abs=0.05)
    assert (facts.sample_rate_hz, facts.num_channels) == (int(row["audio_rate"]), int(row["audio_ch"]))
    assert facts.codec == row["acodec"]


@pytest.mark.parametrize("name", STILLS)
def test_stills_are_upright(shared_data: Path, name: str) -> None:
    facts = probe_clip(shared_data / "stills" / name, sha256="0" * 64, limits=LimitSettings(), still_fps=25)
    with ClipReader(facts) as reader:
        (frame,) = reader.read_chunk([0.0])
    row = listed(shared_data, name)
    assert (frame.width, frame.height) == (int(row["width"]), int(row["height"]))
    # a person before a blue wall: the two top corners are wall, the bottom centre is a dark shirt
    assert min(frame.u[4, 4], frame.u[4, -4]) > 140 > frame.u[-4, frame.u.shape[1] // 2]


def digest(frame: YuvFrame) -> bytes:
    return blake2b(frame.y.tobytes() + frame.u.tobytes() + frame.v.tobytes(), digest_size=8).digest()


def full_decode(path: Path, facts: ClipFacts) -> Iterator[tuple[float, bytes]]:
    """Every frame with the time from which it may be shown, read once from the start, by libav alone."""
    maker = PlaneMaker(facts)
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if s.disposition or len(container.streams.video) == 1)
        for frame in container.decode(stream):
            assert frame.pts is not None
            assert stream.time_base is not None
            time_s = float(frame.pts * stream.time_base - Fraction(container.start_time, av.time_base))
            early_s = min(float(stream.time_base), 0.25 / float(facts.fps))
            yield time_s - early_s, digest(maker.make(TimedFrame(time_s, frame)))


@pytest.mark.parametrize("name", READABLE)
def test_frames_are_those_of_a_full_decode(shared_data: Path, name: str, facts: ClipFacts) -> None:
    decoded = list(full_decode(shared_data / "clips" / name, facts))
    assert len(decoded) == facts.num_frames
    forward = [float(n / facts.fps) for n in range(round(facts.duration_s * facts.fps))]
    rng = random.Random(name)
    anywhere = [rng.uniform(-0.5, facts.duration_s + 1) for _ in range(4)]
    with ClipReader(facts) as reader:
        for chunk in (forward[:24], forward[24:48], forward[:-25:-1], forward[-25:-49:-1], anywhere):
            for time_s, frame in zip(chunk, reader.read_chunk(chunk), strict=True):
                begun = [item for item in decoded if item[0] <= time_s] or decoded[:1]
                assert digest(frame) == begun[-1][1], (time_s, begun[-1][0])


@pytest.mark.parametrize("name", ["webcam_rot90_1s.mov", "headpose_profile.mp4", "grid_lwbsza_mjpeg_pcm.avi"])
def test_small_frames_are_all_of_them_and_upright(shared_data: Path, name: str, facts: ClipFacts) -> None:
    small = list(iter_small_frames(facts, max_side_px=160))
    assert len(small) == facts.num_frames
    height, width = small[0].bgr.shape[:2]
    assert (height > width) == (facts.height > facts.width)
    assert max(height, width) == 160
