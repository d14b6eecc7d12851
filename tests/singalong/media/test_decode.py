from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media import decode
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.frames import YuvFrame, frame_to_bgr
from singalong.media.probe import probe_clip
from singalong.settings import LimitSettings
from tests.videos import CORNERS_RGB, make_video, number_in

U8 = NDArray[np.uint8]
MS = Fraction(1, 1000)
NUM_FRAMES = 110
GAPS_MS = [0, 40, 80, 290, 330, 370, 410, 411, 700, 740]


def probed(path: Path) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)


def numbers_at(facts: ClipFacts, times_s: Sequence[float]) -> list[int]:
    with ClipReader(facts) as reader:
        return [number_in(frame.y) for frame in reader.read_chunk(times_s)]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> ClipFacts:
    """4.4 s with a keyframe every 0.8 s and B-frames."""
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    return probed(make_video(path, num_frames=NUM_FRAMES, options={"g": "20", "bf": "3"}))


@pytest.fixture(scope="module")
def uneven_clip(tmp_path_factory: pytest.TempPathFactory) -> ClipFacts:
    path = tmp_path_factory.mktemp("clips") / "uneven.mkv"
    return probed(make_video(path, pts=GAPS_MS, time_base=MS, options={"g": "3", "bf": "2"}))


def test_frames_come_in_the_order_asked_for(long_clip: ClipFacts) -> None:
    assert numbers_at(long_clip, [0.2, 0.0, 4.0, 0.2, 1.0]) == [5, 0, 100, 5, 25]


def test_a_frame_stands_until_the_next_one_begins(uneven_clip: ClipFacts) -> None:
    asked = {0.0: 0, 0.038: 0, 0.0395: 1, 0.04: 1, 0.079: 2, 0.1: 2, 0.288: 2, 0.29: 3, 0.41: 7, 0.6: 7, 0.74: 9}
    assert numbers_at(uneven_clip, list(asked)) == list(asked.values())


def test_before_the_first_frame_there_is_the_first_and_after_the_last_the_last(long_clip: ClipFacts) -> None:
    assert numbers_at(long_clip, [-5.0, 1e6]) == [0, NUM_FRAMES - 1]
    assert numbers_at(long_clip, [1e6]) == [NUM_FRAMES - 1]


def test_before_a_late_first_frame_there_is_the_first(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "late.mp4", pts=range(10, 30), audio_s=1.2))
    assert numbers_at(facts, [0.0, 0.2, 0.4, 0.44]) == [0, 0, 0, 1]


def test_a_tick_as_long_as_a_frame_does_not_bring_frames_early(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p"))
    assert numbers_at(facts, [0.0, 0.039, 0.04, 0.1]) == [0, 1, 1, 2]


@settings(max_examples=25)
@given(times=st.lists(st.floats(-1, 6, allow_nan=False), min_size=1, max_size=12), size=st.integers(1, 5))
def test_any_times_in_any_chunks_give_the_frames_of_a_full_decode(
    uneven_clip: ClipFacts, long_clip: ClipFacts, times: list[float], size: int
) -> None:
    for facts, starts in ((uneven_clip, GAPS_MS), (long_clip, range(0, 40 * NUM_FRAMES, 40))):
        tick_s = 0.001 if facts is uneven_clip else 1 / 12800
        with ClipReader(facts) as reader:
            frames = [f for first in range(0, len(times), size) for f in reader.read_chunk(times[first : first + size])]
        wanted = [max(0, sum(start / 1000 <= time_s + tick_s for start in starts) - 1) for time_s in times]
        assert [number_in(frame.y) for frame in frames] == wanted


def test_each_frame_owns_its_planes(long_clip: ClipFacts) -> None:
    with ClipReader(long_clip) as reader:
        frames = reader.read_chunk([1.0, 1.0, 1.001])
        frames[0].y[:] = frames[0].u[:] = 0
        assert [number_in(frame.y) for frame in frames] == [0, 25, 25]
        assert number_in(reader.read_chunk([1.0])[0].y) == 25


def test_frames_say_when_they_began(uneven_clip: ClipFacts) -> None:
    with ClipReader(uneven_clip) as reader:
        assert [frame.pts_s for frame in reader.read_chunk([0.2, 0.5])] == [0.08, pytest.approx(0.411)]


def test_no_times_give_no_frames(long_clip: ClipFacts) -> None:
    with ClipReader(long_clip) as reader:
        assert reader.read_chunk([]) == []


def test_reading_on_does_not_jump(long_clip: ClipFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = []
    jump = ClipReader._jump
    monkeypatch.setattr(
        ClipReader, "_jump", lambda self, time_s, **how: jumps.append(time_s) or jump(self, time_s, **how)
    )
    with ClipReader(long_clip) as reader:
        for first in range(0, NUM_FRAMES, 10):
            reader.read_chunk([n / 25 for n in range(first, first + 10)])
    assert jumps == [0.0]


def test_a_chunk_of_descending_times_jumps_once(long_clip: ClipFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = []
    jump = ClipReader._jump
    monkeypatch.setattr(
        ClipReader, "_jump", lambda self, time_s, **how: jumps.append(time_s) or jump(self, time_s, **how)
    )
    with ClipReader(long_clip) as reader:
        reader.read_chunk([n / 25 for n in range(109, 79, -1)])
        frames = reader.read_chunk([n / 25 for n in range(79, 49, -1)])
    assert [number_in(frame.y) for frame in frames] == list(range(79, 49, -1))
    assert len(jumps) == 2


def test_the_last_good_frame_stands_in_for_damaged_ones(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.nut", codec="png", pix_fmt="rgb24", num_frames=12)
    data = bytearray(path.read_bytes())
    places = [place for place in range(len(data)) if data.startswith(b"\x89PNG", place)]
    for place in places[4:6]:
        data[place : place + 200] = bytes(200)
    path.write_bytes(data)
    facts = probed(path)
    with ClipReader(facts) as reader:
        frames = reader.read_chunk([n / 25 for n in range(12)])
        assert [number_in(frame.y) for frame in frames] == [0, 1, 2, 3, 3, 3, *range(6, 12)]
        assert reader.num_undecodable == 2
    assert [small.pts_s for small in iter_small_frames(facts, max_side_px=64)] == pytest.approx(
        [n / 25 for n in range(12) if n not in (4, 5)]
    )


def test_a_file_cut_short_after_probing_holds_its_last_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", codec="mpeg2video", num_frames=50, options={"bf": "0", "g": "10"})
    facts = probed(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    numbers = numbers_at(facts, [0.0, 0.4, 1.9])
    assert numbers[:2] == [0, 10]
    assert 15 < numbers[2] < 45


def test_a_clip_that_went_away_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = make_video(tmp_path / "gone.mp4", num_frames=5)
    facts = probed(path)
    path.unlink()
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file"), ClipReader(facts) as reader:
        reader.read_chunk([0.0])
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file"):
        next(iter_small_frames(facts, max_side_px=64))


def top_corners(frame: YuvFrame) -> list[list[int]]:
    bgr = frame_to_bgr(frame)
    return [bgr[8, 8, ::-1].tolist(), bgr[8, -8, ::-1].tolist(), bgr[-8, 8, ::-1].tolist()]


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_and_mirrored_clips_come_out_upright(tmp_path: Path, turn: int, is_mirrored: bool) -> None:
    path = make_video(
        tmp_path / "a.mp4", rotation_deg=turn, is_mirrored=is_mirrored, num_frames=4, options={"crf": "5"}
    )
    facts = probed(path)
    assert (facts.rotation_deg, facts.is_mirrored, facts.warnings) == (turn, is_mirrored, ())
    with ClipReader(facts) as reader:
        (frame,) = reader.read_chunk([0.08])
    assert (frame.width, frame.height) == (128, 96)
    assert number_in(frame.y) == 2
    assert np.abs(np.array(top_corners(frame)) - list(CORNERS_RGB.values())).max() <= 14
    small = list(iter_small_frames(facts, max_side_px=64))[2]
    assert small.bgr.shape == (48, 64, 3)
    assert number_in(small.bgr[..., 1]) == 2


@pytest.mark.parametrize("turn", [0, 90])
def test_odd_sides_lose_one_row_and_column_and_keep_their_chroma(tmp_path: Path, turn: int) -> None:
    path = make_video(tmp_path / "a.mkv", codec="ffv1", size=(127, 95), rotation_deg=turn, num_frames=2)
    facts = probed(path)
    with ClipReader(facts) as reader:
        (frame,) = reader.read_chunk([0.04])
    assert (frame.y.shape, frame.u.shape, frame.v.shape) == ((94, 126), (47, 63), (47, 63))
    coded = decoded_planes(path, 1)
    coded_height, coded_width = frame.y.shape if facts.rotation_deg == 0 else frame.y.shape[::-1]
    for plane, whole, half in zip((frame.y, frame.u, frame.v), coded, (1, 2, 2), strict=True):
        kept = whole[: coded_height // half, : coded_width // half]
        assert np.array_equal(plane, np.rot90(kept, -facts.rotation_deg // 90))


def decoded_planes(path: Path, number: int) -> list[U8]:
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[number]
        assert frame.format.name in ("yuv420p", "yuvj420p")
        return [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, : p.width].copy() for p in frame.planes]


@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx264", "yuv420p"), ("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p")])
def test_eight_bit_four_two_zero_is_copied_to_the_bit(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    path = make_video(tmp_path / "a.mkv", codec=codec, pix_fmt=pix_fmt, num_frames=4)
    with ClipReader(probed(path)) as reader:
        (frame,) = reader.read_chunk([0.12])
    for plane, decoded in zip((frame.y, frame.u, frame.v), decoded_planes(path, 3), strict=True):
        assert np.array_equal(plane, decoded)
    assert frame.color.is_full_range == (pix_fmt == "yuvj420p")


X265 = {"x265-params": "log-level=none:lossless=1"}


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "color", "matrix", "is_full"),
    [
        ("ffv1", "yuv444p", (1, 1, 1, 1), 1, False),
        ("ffv1", "yuv422p", (6, 1, 6, 6), 6, False),
        ("ffv1", "yuv420p10le", (1, 1, 1, 1), 1, False),
        ("ffv1", "yuv444p", (1, 2, 1, 1), 1, True),
        ("ffv1", "yuva420p", (6, 1, 6, 6), 6, False),
        ("libx265", "yuv420p10le", (9, 1, 9, 14), 9, False),
        ("libx264rgb", "rgb24", None, 6, False),
        ("ffv1", "bgr0", None, 6, False),
        ("gif", "rgb8", None, 6, False),
        ("rawvideo", "nv12", (6, 1, 6, 6), 2, False),  # AVI keeps no colour information
    ],
)
def test_every_pixel_format_gives_the_same_colours(
    tmp_path: Path, codec: str, pix_fmt: str, color: tuple[int, int, int, int] | None, matrix: int, is_full: bool
) -> None:
    suffix = {"gif": "gif", "rawvideo": "avi"}.get(codec, "mkv")
    options = X265 if codec == "libx265" else {}
    path = make_video(
        tmp_path / f"a.{suffix}", codec=codec, pix_fmt=pix_fmt, color=color, num_frames=3, options=options
    )
    with ClipReader(probed(path)) as reader:
        (frame,) = reader.read_chunk([0.08])
    assert (frame.color.matrix, frame.color.is_full_range) == (matrix, is_full)
    assert number_in(frame.y) == 2
    tolerance = 45 if codec == "gif" else 8  # GIF dithers 256 colours
    corners = [np.median(c, axis=(0, 1)) for c in corner_patches(frame)]
    assert np.abs(np.array(corners) - list(CORNERS_RGB.values())).max() <= tolerance


def corner_patches(frame: YuvFrame) -> list[U8]:
    rgb = frame_to_bgr(frame)[..., ::-1]
    return [rgb[4:20, 4:20], rgb[4:20, -20:-4], rgb[-20:-4, 4:20]]


def test_a_grey_clip_is_grey(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="ffv1", pix_fmt="gray", num_frames=2)
    with ClipReader(probed(path)) as reader:
        (frame,) = reader.read_chunk([0.0])
    assert np.unique(frame.u).tolist() == np.unique(frame.v).tolist() == [128]
    assert abs(int(frame_to_bgr(frame)[30, 64, 0]) - 110) <= 2


def test_a_frame_whose_size_changes_is_brought_to_the_others(tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.h264", container_format="h264", num_frames=10, options={"bf": "0"})
    second = make_video(
        tmp_path / "b.h264",
        container_format="h264",
        num_frames=10,
        size=(192, 160),
        first_number=10,
        options={"bf": "0"},
    )
    path = tmp_path / "joined.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    facts = probed(path)
    with ClipReader(facts) as reader:
        frames = reader.read_chunk([n / 25 for n in range(20)])
    assert {frame.y.shape for frame in frames} == {(96, 128)}
    assert [number_in(frame.y) for frame in frames] == list(range(20))


def test_small_frames_are_all_frames_in_order(uneven_clip: ClipFacts) -> None:
    small = list(iter_small_frames(uneven_clip, max_side_px=96))
    assert [number_in(frame.bgr[..., 1]) for frame in small] == list(range(len(GAPS_MS)))
    assert [frame.pts_s for frame in small] == pytest.approx([ms / 1000 for ms in GAPS_MS])
    assert {frame.bgr.shape for frame in small} == {(72, 96, 3)}
    assert {frame.scale for frame in small} == {0.75}


def test_small_frames_are_never_enlarged(uneven_clip: ClipFacts) -> None:
    small = next(iter_small_frames(uneven_clip, max_side_px=4000))
    assert (small.bgr.shape, small.scale) == ((96, 128, 3), 1.0)


def test_small_frames_have_the_colours_of_the_large_ones(tmp_path: Path) -> None:
    for color in ((1, 1, 1, 1), (6, 2, 6, 6)):
        path = make_video(tmp_path / "a.mkv", codec="ffv1", color=color, num_frames=1, size=(256, 192))
        facts = probed(path)
        small = next(iter_small_frames(facts, max_side_px=128)).bgr
        for patch, rgb in zip((small[8, 8], small[8, -8], small[-8, 8]), CORNERS_RGB.values(), strict=True):
            assert np.abs(patch[::-1].astype(int) - rgb).max() <= 6


def test_more_threads_give_the_same_frames(long_clip: ClipFacts) -> None:
    with ClipReader(long_clip, threads=2) as reader:
        frames = reader.read_chunk([3.6, 0.4, 2.0])
    assert [number_in(frame.y) for frame in frames] == [90, 10, 50]


def test_a_closed_reader_opens_again(long_clip: ClipFacts) -> None:
    reader = ClipReader(long_clip)
    assert number_in(reader.read_chunk([1.0])[0].y) == 25
    reader.close()
    assert number_in(reader.read_chunk([0.4])[0].y) == 10
    reader.close()


def test_far_jumps_land_right(long_clip: ClipFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_REACH_S", 0.0)
    times = [4.36, 0.0, 4.0, 0.8, 0.76, 2.44, 2.4, 2.36, 3.96, 0.04]
    with ClipReader(long_clip) as reader:
        assert [number_in(reader.read_chunk([time_s])[0].y) for time_s in times] == [round(25 * t) for t in times]
