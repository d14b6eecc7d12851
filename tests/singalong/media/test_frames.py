import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from singalong.media.frames import (
    Box,
    ColorInfo,
    YuvFrame,
    bgr_to_frame,
    face_region_to_bgr,
    frame_to_bgr,
    over_chroma,
    paste_bgr,
    paste_samples,
    whole_chroma,
)

U8 = NDArray[np.uint8]
BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 6, 9
LIMITED, FULL = 1, 2
COLORS = [ColorInfo(matrix, range_) for matrix in (BT709, BT601, BT2020, 4, 7) for range_ in (0, LIMITED, FULL)]


def flat(y: int, u: int, v: int, color: ColorInfo, *, width: int = 32, height: int = 24) -> YuvFrame:
    shape = (height // 2, width // 2)
    planes = (np.full((height, width), y), np.full(shape, u), np.full(shape, v))
    return YuvFrame(*(plane.astype(np.uint8) for plane in planes), pts_s=0.0, color=color)


def noise(seed: int, *, width: int = 32, height: int = 24, color: ColorInfo = COLORS[0]) -> YuvFrame:
    rng = np.random.default_rng(seed)
    shape = (height // 2, width // 2)
    sizes = ((height, width), shape, shape)
    return YuvFrame(*(rng.integers(0, 256, s, dtype=np.uint8) for s in sizes), pts_s=0.0, color=color)


def smooth(color: ColorInfo, *, width: int = 160, height: int = 120) -> YuvFrame:
    """Slow gradients of colours that exist."""
    rows, columns = np.mgrid[0:height, 0:width]
    bgr = np.stack([60 + columns, 200 - rows, 90 + (rows + columns) // 3], axis=-1).astype(np.uint8)
    return bgr_to_frame(bgr, pts_s=0.0, color=color)


def largest_difference(one: YuvFrame, other: YuvFrame) -> tuple[int, int]:
    def differ(a: U8, b: U8) -> int:
        return int(np.abs(a.astype(int) - b).max())

    return differ(one.y, other.y), max(differ(one.u, other.u), differ(one.v, other.v))


boxes = st.tuples(st.integers(0, 30), st.integers(0, 22), st.integers(1, 32), st.integers(1, 24)).map(
    lambda t: (t[0], t[1], min(32, t[0] + t[2]), min(24, t[1] + t[3]))
)


@pytest.mark.parametrize(
    ("color", "yuv", "bgr"),
    [
        (ColorInfo(BT601, LIMITED), (81, 90, 240), (0, 0, 255)),  # pure red, as in every table of colour bars
        (ColorInfo(BT709, LIMITED), (63, 102, 240), (0, 0, 255)),
        (ColorInfo(BT709, LIMITED), (173, 42, 26), (0, 255, 0)),
        (ColorInfo(BT2020, LIMITED), (74, 97, 240), (0, 0, 255)),
        (ColorInfo(BT601, FULL), (76, 85, 255), (0, 0, 254)),
        (ColorInfo(BT709, LIMITED), (235, 128, 128), (255, 255, 255)),
        (ColorInfo(BT709, LIMITED), (16, 128, 128), (0, 0, 0)),
        (ColorInfo(BT709, FULL), (255, 128, 128), (255, 255, 255)),
        (ColorInfo(BT709, 0), (16, 128, 128), (0, 0, 0)),  # an unstated range is limited
    ],
)
def test_colours_follow_the_matrix_and_range_of_the_frame(
    color: ColorInfo, yuv: tuple[int, int, int], bgr: tuple[int, int, int]
) -> None:
    pixel = frame_to_bgr(flat(*yuv, color))[5, 5].astype(int)
    assert np.abs(pixel - bgr).max() <= 2


@pytest.mark.parametrize(
    ("width", "height", "stated"),
    [(640, 480, BT601), (1280, 720, BT709), (720, 1280, BT709), (480, 854, BT601), (1920, 718, BT601)],
)
def test_an_unstated_matrix_is_told_by_the_shorter_side(width: int, height: int, stated: int) -> None:
    assert ColorInfo(UNSPECIFIED).matrix_for(width, height) == stated


def test_a_stated_matrix_counts_whatever_the_size() -> None:
    assert ColorInfo(BT709).matrix_for(64, 64) == BT709


@given(st.integers(0, 1000), boxes)
def test_a_region_is_the_same_as_in_the_whole_frame(seed: int, box: Box) -> None:
    frame = noise(seed)
    x1, y1, x2, y2 = box
    region = face_region_to_bgr(frame, box)
    assert region.flags.c_contiguous
    assert np.array_equal(region, frame_to_bgr(frame)[y1:y2, x1:x2])


@given(st.integers(0, 1000), boxes, st.sampled_from(COLORS))
def test_nothing_changes_where_alpha_is_zero(seed: int, box: Box, color: ColorInfo) -> None:
    frame, before = noise(seed, color=color), noise(seed, color=color)
    shape = (box[3] - box[1], box[2] - box[0])
    paste_bgr(frame, box, np.full((*shape, 3), 200, np.uint8), np.zeros(shape, np.float32))
    assert largest_difference(frame, before) == (0, 0)


@given(st.integers(0, 1000), boxes)
def test_nothing_changes_outside_the_box(seed: int, box: Box) -> None:
    frame, before = noise(seed), noise(seed)
    shape = (box[3] - box[1], box[2] - box[0])
    paste_bgr(frame, box, np.full((*shape, 3), 200, np.uint8), np.ones(shape, np.float32))
    x1, y1, x2, y2 = box
    for plane, old, half in ((frame.y, before.y, 1), (frame.u, before.u, 2), (frame.v, before.v, 2)):
        inside = np.zeros(plane.shape, bool)
        inside[y1 // half : -(-y2 // half), x1 // half : -(-x2 // half)] = True
        assert np.array_equal(plane[~inside], old[~inside])


@pytest.mark.parametrize("color", COLORS)
def test_where_alpha_is_one_the_pixels_are_the_new_ones(color: ColorInfo) -> None:
    frame, wanted = noise(3, color=color), smooth(color, width=32, height=24)
    paste_bgr(frame, (0, 0, 32, 24), frame_to_bgr(wanted), np.ones((24, 32), np.float32))
    luma, chroma = largest_difference(frame, wanted)
    assert luma <= 1
    assert chroma <= 1


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("box", [(0, 0, 160, 120), (31, 17, 98, 90)])
def test_a_region_taken_out_and_put_back_is_as_good_as_untouched(color: ColorInfo, box: Box) -> None:
    frame, before = smooth(color), smooth(color)
    region = face_region_to_bgr(frame, box)
    paste_bgr(frame, box, region, np.ones(region.shape[:2], np.float32))
    luma, chroma = largest_difference(frame, before)
    assert luma <= 1
    assert chroma <= 1


def test_half_an_alpha_is_half_way() -> None:
    color = ColorInfo(BT709, LIMITED)
    frame, white = flat(16, 128, 128, color), np.full((24, 32, 3), 255, np.uint8)
    paste_bgr(frame, (0, 0, 32, 24), white, np.full((24, 32), 0.5, np.float32))
    assert np.unique(frame.y).tolist() in ([125], [126])
    assert np.unique(frame.u).tolist() == [128]


def test_a_chroma_sample_takes_the_share_of_the_pixels_blended_in() -> None:
    color = ColorInfo(BT601, LIMITED)
    frame = flat(126, 128, 128, color)
    red = np.full((2, 2, 3), (0, 0, 255), np.uint8)
    alpha = np.array([[1, 0], [0, 0]], np.float32)
    paste_bgr(frame, (4, 4, 6, 6), red, alpha)
    assert frame.v[2, 2] == round(128 + (240 - 128) / 4)
    assert frame.y[4:6, 4:6].tolist() == [[81, 126], [126, 126]]


def test_a_box_with_odd_corners_changes_no_luma_beyond_it() -> None:
    frame, before = noise(5), noise(5)
    paste_bgr(frame, (5, 7, 8, 8), np.full((1, 3, 3), 255, np.uint8), np.ones((1, 3), np.float32))
    changed = np.argwhere(frame.y != before.y)
    assert changed.min(axis=0).tolist() >= [7, 5]
    assert changed.max(axis=0).tolist() <= [7, 7]


def test_a_copy_shares_nothing() -> None:
    frame = noise(1)
    other = frame.copy()
    other.y[:] = other.u[:] = other.v[:] = 0
    assert largest_difference(frame, noise(1)) == (0, 0)


@pytest.mark.parametrize("box", [(4, 4, 20, 16), (5, 7, 20, 15)])
def test_samples_are_blended_by_alpha_and_chroma_by_its_mean(box: tuple[int, int, int, int]) -> None:
    frame = noise(3)
    before = frame.copy()
    x1, y1, x2, y2 = box
    left, top, right, bottom = whole_chroma(frame, box)
    alpha = np.zeros((y2 - y1, x2 - x1), np.float32)
    alpha[2:6, 2:7] = 1
    luma = np.full(alpha.shape, 300, np.float32)
    paste_samples(frame, box, luma, np.full((bottom - top, right - left, 2), 100, np.float32), alpha)
    inside = np.zeros(frame.y.shape, bool)
    inside[y1 + 2 : y1 + 6, x1 + 2 : x1 + 7] = True
    assert (frame.y[inside] == 255).all()
    assert (frame.y[~inside] == before.y[~inside]).all()
    share = inside.reshape(frame.u.shape[0], 2, frame.u.shape[1], 2).mean(axis=(1, 3))
    assert np.abs(frame.u - (before.u + share * (100 - before.u.astype(float)))).max() <= 0.51
    assert np.allclose(over_chroma(alpha, box), share[top:bottom, left:right], atol=1e-6)
