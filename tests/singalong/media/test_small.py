from pathlib import Path

import cv2
import numpy as np
import pytest

from singalong.contracts import ClipFacts
from singalong.media.decode import ClipReader, iter_small_frames
from singalong.media.frames import ColorInfo, frame_to_bgr
from singalong.media.probe import probe_clip
from singalong.media.small import SmallPlanes
from singalong.settings import LimitSettings
from tasks.shots import split_shots
from tests.videos import make_video


def probed(path: Path) -> ClipFacts:
    return probe_clip(path, sha256="0" * 64, limits=LimitSettings(), still_fps=25)


@pytest.mark.parametrize(("max_side_px", "rotation_deg"), [(256, 0), (128, 0), (100, 0), (48, 90), (100, 270)])
def test_the_picture_is_the_frame_scaled(tmp_path: Path, max_side_px: int, rotation_deg: int) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", size=(256, 192), num_frames=3, rotation_deg=rotation_deg))
    small = list(iter_small_frames(facts, max_side_px=max_side_px))[2]
    assert isinstance(small.picture, SmallPlanes)
    with ClipReader(facts) as reader:
        large = frame_to_bgr(reader.read_chunk([small.pts_s])[0])
    wanted = cv2.resize(large, small.bgr.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert max(small.bgr.shape) == max_side_px
    # edges are drawn a little softer or harder; a place or colour that is off shows in the mean
    assert np.abs(small.bgr - wanted).mean() < 2


def test_frames_that_are_only_compared_are_never_coloured(tmp_path: Path) -> None:
    facts = probed(make_video(tmp_path / "a.mp4", size=(256, 192), num_frames=9))
    frames = list(split_shots(iter_small_frames(facts, max_side_px=128)))
    assert [frame.index for frame in frames] == list(range(9))
    assert all("bgr" not in vars(frame.picture) for frame in frames)
    assert frames[4].bgr is frames[4].bgr


@pytest.mark.parametrize(("size", "pix_fmt"), [((254, 190), "yuv420p"), ((256, 192), "yuv444p")])
def test_what_does_not_halve_is_converted_whole(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    facts = probed(make_video(tmp_path / "a.mkv", codec="ffv1", size=size, pix_fmt=pix_fmt, num_frames=1))
    small = next(iter_small_frames(facts, max_side_px=60))
    assert isinstance(small.picture, np.ndarray)
    assert max(small.bgr.shape) == 60


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (96, 2400), (2000, 4)])
def test_the_coarse_picture_is_as_small_as_asked(size: tuple[int, int]) -> None:
    width, height = size
    y, u = np.full((height, width), 126, np.uint8), np.full((height // 2, width // 2), 128, np.uint8)
    facts = ClipFacts.model_construct(rotation_deg=0, is_mirrored=False)
    planes = SmallPlanes(y, u, u, ColorInfo(1, 1), size=size, facts=facts)
    coarse = planes.coarse_bgr(256)
    assert 128 < max(coarse.shape) <= 256
    np.testing.assert_array_equal(coarse, 128)
