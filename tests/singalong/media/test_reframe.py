"""Where pictures are cut: the face stays inside, the cut stands still where it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.media.reframe import FacePath, Floats, cover_size, crop_offsets, takes_of

FPS = 25.0
NOWHERE = [np.nan] * 4


def path(centres_x: Floats, *, centre_y: float = 0.3, side: float = 0.15, takes: object = None) -> FacePath:
    """Faces of a portrait or landscape film, centres as shares."""
    centres = np.stack([centres_x, np.full(len(centres_x), centre_y)], axis=1)
    boxes = np.concatenate([centres - side / 2, centres + side / 2], axis=1)
    return FacePath(boxes, np.zeros(len(centres_x), np.int64) if takes is None else np.asarray(takes))


def kept(path: FacePath, offsets: np.ndarray, picture: tuple[int, int], window: tuple[int, int]) -> np.ndarray:
    """Whether the face is inside the cut in each frame."""
    low, high = path.boxes[:, :2] * picture - offsets, path.boxes[:, 2:] * picture - offsets
    return np.asarray(((low >= 0) & (high <= window)).all(axis=1))


@pytest.mark.parametrize(
    ("shown", "window", "expected"),
    [
        ((720, 1280), (1280, 720), (1280, 2276)),
        ((1280, 720), (720, 1280), (2276, 1280)),
        ((640, 480), (640, 360), (640, 480)),
        ((360, 288), (640, 360), (640, 512)),
        ((641, 361), (640, 360), (640, 360)),
    ],
)
def test_the_picture_covers_the_window_with_its_aspect_kept(
    shown: tuple[int, int], window: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert cover_size(shown, window) == expected


def test_a_face_at_the_side_is_kept_where_the_middle_would_cut_it_off() -> None:
    film, picture, window = path(np.full(50, 0.85)), (2276, 1280), (720, 1280)
    offsets = crop_offsets(film, picture, window, FPS)
    assert kept(film, offsets, picture, window).all()
    middle = np.full((50, 2), [(2276 - 720) / 2, 0])
    assert not kept(film, middle, picture, window).any()


def test_in_a_landscape_cut_of_a_portrait_the_eyes_lie_in_the_upper_third() -> None:
    film, picture, window = path(np.full(50, 0.5), centre_y=0.25, side=0.1), (1280, 2276), (1280, 720)
    offsets = crop_offsets(film, picture, window, FPS)
    eyes = 0.24 * 2276 - offsets[0, 1]
    assert window[1] * 0.25 < eyes < window[1] * 0.45


def test_the_cut_stands_still_while_the_face_sways() -> None:
    sway = 0.5 + 0.03 * np.sin(np.arange(200) / 8)
    offsets = crop_offsets(path(sway), (2276, 1280), (720, 1280), FPS)
    assert len(np.unique(offsets, axis=0)) == 1


def test_the_cut_follows_a_face_that_walks_through_the_picture_without_jerks() -> None:
    film, picture, window = path(np.linspace(0.1, 0.9, 250)), (2276, 1280), (720, 1280)
    offsets = crop_offsets(film, picture, window, FPS)
    assert kept(film, offsets, picture, window).all()
    steps = np.diff(offsets[:, 0])
    assert steps.min() >= 0
    assert steps.max() <= 10
    still = np.full_like(offsets, np.median(offsets, axis=0).astype(int))
    assert kept(film, still, picture, window).mean() < 0.6  # one cut for all would lose it


def test_each_take_has_a_cut_of_its_own() -> None:
    takes = np.repeat([0, 1], 30)
    film, picture, window = path(np.where(takes, 0.8, 0.2), takes=takes), (2276, 1280), (720, 1280)
    offsets = crop_offsets(film, picture, window, FPS)
    assert kept(film, offsets, picture, window).all()
    assert len(np.unique(offsets[:, 0])) == 2  # it jumps with the cut, and does not glide


def test_gaps_in_which_the_face_is_not_seen_do_not_move_the_cut() -> None:
    film = path(np.full(60, 0.8))
    film.boxes[20:40] = NOWHERE
    assert len(np.unique(crop_offsets(film, (2276, 1280), (720, 1280), FPS)[:, 0])) == 1


def test_without_a_face_the_upper_part_is_kept() -> None:
    nobody = FacePath(np.full((5, 4), np.nan), np.zeros(5, np.int64))
    for film in (nobody, None):
        x, y = crop_offsets(film, (1280, 2276), (1280, 720), FPS)[-1]
        assert (x, y) == (0, 518)  # a third of what is cut off goes at the top
    assert crop_offsets(None, (2276, 1280), (720, 1280), FPS)[0].tolist() == [778, 0]


def test_takes_end_at_cuts_and_where_the_clip_starts_over() -> None:
    source_s = np.array([1.0, 1.04, 1.08, 2.0, 2.04, 1.0, 1.04])
    assert takes_of(source_s, np.array([0.0, 1.08])).tolist() == [0, 0, 1, 2, 2, 3, 3]
    bounce = np.array([0.0, 0.04, 0.08, 0.04, 0.0])
    assert takes_of(bounce, np.zeros(1)).tolist() == [0] * 5


@given(
    centres=st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=60),
    side=st.floats(0.01, 1.5),
    picture=st.tuples(st.integers(32, 900), st.integers(32, 900)),
    window=st.tuples(st.integers(16, 300), st.integers(16, 300)),
)
def test_the_cut_never_leaves_the_picture(
    centres: list[float], side: float, picture: tuple[int, int], window: tuple[int, int]
) -> None:
    window = (2 * window[0], 2 * window[1])
    size = cover_size(picture, window)
    offsets = crop_offsets(path(np.array(centres), side=side), size, window, FPS)
    assert (offsets >= 0).all()
    assert (offsets + window <= size).all()
    assert (offsets % 2 == 0).all()
