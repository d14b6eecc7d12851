"""Segments: fixed structure, exact times, tags, the same bytes every time, nothing left behind on failure."""

import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from singalong.errors import MediaError, ResourceError, UsageError
from singalong.media.encode import PRESETS, SegmentWriter
from singalong.media.frames import ColorInfo, bgr_to_frame
from singalong.synthetic.clips import TalkingClip
from tests.segments import (
    BT601,
    BT709,
    extradata_of,
    frames_of,
    numbered_frame,
    numbers_of,
    packets_of,
    times_of,
    write_segment,
)

NTSC = Fraction(30000, 1001)


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    assert numbers_of(write_segment(tmp_path / "a.mp4", range(70))) == list(range(70))


@pytest.mark.parametrize("preset", ["swift", "veryfast", "ultrafast", "slow"])
def test_parameter_sets_do_not_depend_on_length_or_content(tmp_path: Path, preset: str) -> None:
    spans = [range(1), range(5, 7), range(3), range(9, 2, -1), range(110)]
    paths = [write_segment(tmp_path / f"{i}.mp4", span, preset=preset) for i, span in enumerate(spans)]
    assert len({extradata_of(path) for path in paths}) == 1


@pytest.mark.parametrize(
    "fps",
    [
        *(Fraction(25), Fraction(24000, 1001), NTSC, Fraction(60), Fraction(1), Fraction(240)),
        *(Fraction(753, 25), Fraction(8373, 500), Fraction(1234567, 45678)),
    ],
    ids=str,
)
@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_frame_n_is_shown_at_exactly_n_over_fps(tmp_path: Path, fps: Fraction, num_frames: int) -> None:
    path = write_segment(tmp_path / "a.mp4", range(num_frames), fps=fps)
    assert times_of(path) == [n / fps for n in range(num_frames)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == num_frames
        assert stream.duration * stream.time_base == num_frames / fps


def test_the_first_frame_is_a_keyframe_and_another_follows_within_two_seconds(tmp_path: Path) -> None:
    still = write_segment(tmp_path / "a.mp4", [5] * 130, fps=Fraction(20))
    keys = [pts for pts, _, is_key in packets_of(still) if is_key]
    assert keys[0] == 0
    assert max(b - a for a, b in zip(keys, [*keys[1:], Fraction(130, 20)], strict=True)) <= 2


def test_groups_of_pictures_are_closed(tmp_path: Path) -> None:
    shown_after_key = False
    last_key = Fraction(-1)
    for pts, _, is_key in packets_of(write_segment(tmp_path / "a.mp4", range(150), fps=Fraction(20))):
        last_key = pts if is_key else last_key
        shown_after_key = shown_after_key or pts < last_key
    assert not shown_after_key


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_segment(tmp_path / name, range(30)).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second


@pytest.mark.parametrize("color", [BT601, BT709, ColorInfo(9, 1, 9, 16), ColorInfo(5, 2, 5, 6), ColorInfo()], ids=str)
def test_color_tags_are_those_given(tmp_path: Path, color: ColorInfo) -> None:
    frame = frames_of(write_segment(tmp_path / "a.mp4", range(2), color=color))[0]
    assert frame.format.name.removeprefix("yuvj") in ("yuv420p", "420p")
    tags = (frame.colorspace, frame.color_primaries, frame.color_trc)
    assert tags == (color.matrix, color.primaries, color.transfer)
    assert frame.color_range == color.range or (frame.color_range, color.range) == (1, 0)


def test_the_samples_are_kept_whatever_the_tags(tmp_path: Path) -> None:
    full_range = ColorInfo(1, 2, 1, 1)
    frame = numbered_frame(7, color=full_range)
    frame.y[:8, :8], frame.y[8:16, :8] = 0, 255
    with SegmentWriter(
        tmp_path / "a.mp4", width=128, height=96, fps=Fraction(25), color=full_range, crf=0, preset="veryfast"
    ) as writer:
        writer.write(frame)
    decoded = frames_of(tmp_path / "a.mp4")[0]
    rows = np.frombuffer(memoryview(decoded.planes[0]), np.uint8).reshape(96, -1)[:, :128]
    np.testing.assert_array_equal(rows, frame.y)


def test_pixels_that_are_not_square_are_tagged(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "a.mp4", range(2), sample_aspect_ratio=Fraction(16, 11))
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_no_version_of_libav_is_written(tmp_path: Path) -> None:
    assert b"Lav" not in write_segment(tmp_path / "a.mp4", range(3)).read_bytes()


def test_closing_tells_the_number_of_frames_and_may_be_repeated(tmp_path: Path) -> None:
    with SegmentWriter(
        tmp_path / "a.mp4", width=128, height=96, fps=NTSC, color=BT601, crf=20, preset="veryfast"
    ) as writer:
        for number in range(5):
            writer.write(numbered_frame(number))
        assert writer.close() == 5
    assert writer.close() == 5
    assert numbers_of(tmp_path / "a.mp4") == list(range(5))


@pytest.mark.parametrize("num_frames", [0, 1, 60])
def test_a_failing_body_leaves_no_file(tmp_path: Path, num_frames: int) -> None:
    path = tmp_path / "a.mp4"
    writer = SegmentWriter(path, width=128, height=96, fps=NTSC, color=BT601, crf=20, preset="veryfast")

    def fail() -> None:
        with writer:
            for number in range(num_frames):
                writer.write(numbered_frame(number))
            raise KeyError("the real trouble")

    with pytest.raises(KeyError, match="the real trouble"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_odd_name_is_only_a_name(tmp_path: Path) -> None:
    path = write_segment(tmp_path / "http:a|b %d.mp4", range(2))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_unknown_preset_is_a_usage_error_naming_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ultrafast") as error:
        write_segment(tmp_path / "a.mp4", [1], preset="warp")
    assert error.value.value == "warp"
    assert list(tmp_path.iterdir()) == []


def test_every_preset_listed_is_one_of_x264(tmp_path: Path) -> None:
    for preset in PRESETS:
        write_segment(tmp_path / "a.mp4", [1], preset=preset, size=(32, 32))


@pytest.mark.parametrize("fps", [Fraction(0), Fraction(-25), Fraction(16.7461234)])
def test_a_rate_that_no_file_can_hold_is_refused(tmp_path: Path, fps: Fraction) -> None:
    with pytest.raises(MediaError, match="frame rate"):
        write_segment(tmp_path / "a.mp4", [1], fps=fps)


def test_a_full_disk_is_a_resource_error(tmp_path: Path) -> None:
    link = tmp_path / "a.mp4"
    link.symlink_to("/dev/full")  # the link is removed, not what it points to
    with pytest.raises(ResourceError, match="space"):
        write_segment(link, range(60))
    assert not link.is_symlink()
    assert Path("/dev/full").exists()


def test_swift_looks_like_veryfast_at_one_crf_less_for_little_more_than_half_the_work(tmp_path: Path) -> None:
    clip = TalkingClip.from_seed(
        7, width=640, height=360, fps=Fraction(25), duration_s=1.2, half_height=0.3, max_yaw=0.2
    )
    frames = [bgr_to_frame(bgr, pts_s=0.0, color=BT601) for bgr in clip.frames()]
    likeness, seconds, num_bytes = {}, {}, {}
    for preset, crf in (("veryfast", 17), ("swift", 18)):
        path, started = tmp_path / f"{preset}.mp4", time.process_time()
        size = {"width": 640, "height": 360}
        with SegmentWriter(path, **size, fps=Fraction(25), color=BT601, crf=crf, preset=preset) as writer:
            for frame in frames:
                writer.write(frame)
        seconds[preset], num_bytes[preset] = time.process_time() - started, path.stat().st_size
        shown = [frame.to_ndarray()[:360] for frame in frames_of(path)]
        likeness[preset] = float(np.mean([ssim(a.y, b) for a, b in zip(frames, shown, strict=True)]))
    assert likeness["swift"] > likeness["veryfast"] - 0.001
    assert num_bytes["swift"] < 1.4 * num_bytes["veryfast"]
    assert seconds["swift"] < 0.7 * seconds["veryfast"]


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two pictures of 8 bits, over 8x8 boxes (Wang et al., 2004)."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values, -1, (8, 8))

    a, b = a.astype(np.float32), b.astype(np.float32)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, both = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    c1, c2 = 6.5025, 58.5225
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(found.mean())
