import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from singalong.contracts import ClipFacts
from singalong.errors import MediaError
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.frames import frame_to_bgr
from singalong.media.probe import probe_clip
from singalong.media.stills import load_still
from singalong.settings import LimitSettings
from tests.videos import CORNERS_RGB, make_video, number_in, picture

ORIENTATION = 0x0112


def probed(path: Path, limits: LimitSettings | None = None) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=limits or LimitSettings(), still_fps=30)


def top_left_bgr(path: Path) -> list[int]:
    return frame_to_bgr(load_still(path))[4, 4].tolist()


def assert_is_red(bgr: list[int]) -> None:
    assert np.abs(np.array(bgr) - CORNERS_RGB["top left"][::-1]).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif", "avif"])
def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face.{suffix}"
    Image.fromarray(picture(5, 97, 64)).save(path)
    facts = probed(path)
    assert (facts.is_still, facts.width, facts.height, facts.num_frames) == (True, 96, 64, 1)
    assert (facts.fps, facts.duration_s, facts.first_frame_s, facts.has_audio) == (30, 0.0, 0.0, False)
    assert_is_red(top_left_bgr(path))


def test_the_content_counts_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "face.mp4"
    Image.fromarray(picture(5, 96, 64)).save(path, "PNG")
    assert probed(path).is_still


@pytest.mark.parametrize(
    ("orientation", "turn", "is_mirrored"),
    [
        *((1, 0, False), (2, 0, True), (3, 180, False), (4, 180, True)),
        *((5, 90, True), (6, 90, False), (7, 270, True), (8, 270, False)),
    ],
)
def test_a_picture_is_turned_and_mirrored_as_its_camera_was_held(
    tmp_path: Path, orientation: int, turn: int, is_mirrored: bool
) -> None:
    path = tmp_path / "face.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = picture(5, 96, 64)
    coded = np.rot90(upright[:, ::-1] if is_mirrored else upright, turn // 90)
    Image.fromarray(np.ascontiguousarray(coded)).save(path, exif=exif, quality=95)
    facts = probed(path)
    assert (facts.width, facts.height, facts.rotation_deg, facts.is_mirrored) == (96, 64, turn, is_mirrored)
    shown = load_still(path)
    assert number_in(shown.y) == 5
    bgr = frame_to_bgr(shown)
    corners = np.array([bgr[4, 4], bgr[4, -4], bgr[-4, 4]])[:, ::-1].astype(int)
    assert np.abs(corners - list(CORNERS_RGB.values())).max() <= 12


def test_alpha_is_flattened_onto_black(tmp_path: Path) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :32] = (255, 0, 0, 255)
    rgba[:, 32:] = (255, 255, 255, 0)
    Image.fromarray(rgba).save(tmp_path / "cut out.png")
    bgr = frame_to_bgr(load_still(tmp_path / "cut out.png"))
    assert bgr[30, 50].tolist() == [0, 0, 0]
    assert bgr[30, 10, 2] > 245


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.full((64, 64), 0x8000, np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    Image.fromarray(values).save(tmp_path / "deep.tiff")
    assert abs(top_left_bgr(tmp_path / "deep.png")[0] - 128) <= 1
    assert abs(top_left_bgr(tmp_path / "deep.tiff")[0] - 128) <= 1


def test_sixteen_bit_colour_keeps_its_colours(tmp_path: Path) -> None:
    rgb = np.zeros((64, 64, 3), np.uint16)
    rgb[:] = np.array(CORNERS_RGB["top left"]) * 257
    (tmp_path / "deep.png").write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    assert_is_red(top_left_bgr(tmp_path / "deep.png"))


def test_a_cmyk_jpeg_has_the_colours_a_viewer_shows(tmp_path: Path) -> None:
    Image.fromarray(picture(5, 96, 64)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert_is_red(top_left_bgr(tmp_path / "print.jpg"))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA"])
def test_every_colour_mode_can_be_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "any.tiff"
    Image.fromarray(picture(5, 96, 64)).convert(mode).save(path)
    assert load_still(path).y.shape == (64, 96)


def test_a_still_shows_the_same_frame_at_all_times(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(picture(5, 96, 64)).save(path)
    with ClipReader(probed(path)) as reader:
        frames = reader.read_chunk([3.0, 0.0, -1.0])
    assert all(np.array_equal(frame.y, frames[0].y) for frame in frames)
    assert not np.shares_memory(frames[0].y, frames[1].y)
    frames[0].y[:] = 0
    assert frames[1].y.max() > 0


def test_a_still_has_one_small_frame(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(picture(5, 96, 64)).save(path)
    (small,) = iter_small_frames(probed(path), max_side_px=48)
    assert small.bgr.shape == (32, 48, 3)
    assert (small.pts_s, small.scale) == (0.0, 0.5)


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(MediaError, match=r"bomb\.png"):
        probed(path)


def test_limits_hold_for_pictures(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(picture(5, 96, 64)).save(path)
    with pytest.raises(MediaError, match=r"too large.*96x64"):
        probed(path, LimitSettings(max_pixels=6000))
    with pytest.raises(MediaError, match=r"too small.*96x64"):
        probed(path, LimitSettings(min_side_px=65))


def test_a_damaged_picture_is_told_as_such(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(picture(5, 96, 64)).save(data, "JPEG")
    path = tmp_path / "half.jpg"
    path.write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    with pytest.raises(MediaError, match=r"half\.jpg: the picture cannot be decoded"):
        probed(path)


def test_an_animated_gif_is_a_video(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "dance.gif", codec="gif", pix_fmt="rgb8", num_frames=6))
    assert (facts.is_still, facts.num_frames, facts.fps) == (False, 6, 25)


def test_an_animated_webp_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "dance.webp"
    first, *others = (Image.fromarray(picture(n, 96, 64)) for n in range(3))
    first.save(path, save_all=True, append_images=others, duration=40)
    facts = probed(path)
    assert facts.is_still
    assert "only its first frame" in facts.warnings[0]
