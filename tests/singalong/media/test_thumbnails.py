"""Thumbnails: the right frame, small, square pixels, right colours."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from singalong.errors import MediaError
from singalong.media.frames import ColorInfo
from singalong.media.thumbnails import write_thumbnail
from tests.segments import BT601, BT709, write_segment
from tests.sounds import chirp, write_sound
from tests.videos import CORNERS_RGB, number_in


def thumbnail(video: Path, at_s: float, max_side_px: int = 320) -> np.ndarray:
    out = video.with_suffix(".jpg")
    write_thumbnail(video, at_s, out, max_side_px)
    assert out.read_bytes()[:2] == b"\xff\xd8"
    return cv2.imread(str(out))


@pytest.mark.parametrize(
    ("at_s", "number"), [(-1.0, 0), (0.0, 0), (0.04, 1), (0.079, 1), (1.0, 25), (3.0, 75), (99.0, 119)]
)
def test_it_shows_the_frame_on_screen_at_that_time(tmp_path: Path, at_s: float, number: int) -> None:
    video = write_segment(tmp_path / "a.mp4", range(120))
    assert number_in(cv2.cvtColor(thumbnail(video, at_s), cv2.COLOR_BGR2GRAY)) == number


@pytest.mark.parametrize(
    ("size", "aspect", "max_side_px", "expected"),
    [
        ((128, 96), Fraction(1), 320, (128, 96)),
        ((128, 96), Fraction(1), 64, (64, 48)),
        ((96, 128), Fraction(1), 64, (48, 64)),
        ((128, 96), Fraction(3, 2), 320, (192, 96)),
        ((128, 96), Fraction(2, 3), 320, (128, 144)),
    ],
)
def test_its_longer_side_is_limited_and_its_pixels_are_square(
    tmp_path: Path, size: tuple[int, int], aspect: Fraction, max_side_px: int, expected: tuple[int, int]
) -> None:
    video = write_segment(tmp_path / "a.mp4", [1], size=size, sample_aspect_ratio=aspect)
    height, width = thumbnail(video, 0.0, max_side_px).shape[:2]
    assert (width, height) == expected


@pytest.mark.parametrize("color", [BT601, BT709, ColorInfo(5, 2, 5, 6)], ids=str)
def test_its_colours_are_those_of_the_film(tmp_path: Path, color: ColorInfo) -> None:
    bgr = thumbnail(write_segment(tmp_path / "a.mp4", [1], color=color, crf=5), 0.0)
    np.testing.assert_allclose(bgr[10, 10][::-1].astype(int), CORNERS_RGB["top left"], atol=12)


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    song = write_sound(tmp_path / "a.wav", chirp(0.1, 16000), 16000)
    with pytest.raises(MediaError, match="has no video"):
        thumbnail(song, 0.0)
