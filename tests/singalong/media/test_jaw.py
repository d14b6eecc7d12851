"""The outline of the lower face."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from singalong.media.jaw import jaw_outline
from tests.painted_faces import BOX, LANDMARKS, face_bgr


def outline(landmarks: np.ndarray = LANDMARKS, box: tuple[int, int, int, int] = BOX) -> np.ndarray:
    found = jaw_outline(box, landmarks, feather_px=20)
    assert found is not None
    return found


def is_skin() -> np.ndarray:
    x1, y1, x2, y2 = BOX
    image = face_bgr(grain=0)[y1:y2, x1:x2].astype(int)
    return image[..., 2] - image[..., 0] > 30


def test_it_holds_the_mouth_and_the_cheeks_but_nothing_beside_the_jaw() -> None:
    mask = outline()
    x1, y1, _, _ = BOX
    for x, y in LANDMARKS[2:].astype(int):
        assert mask[y - y1, x - x1] > 0.99
    rows = slice(len(mask) // 2, None)
    background = ~is_skin()[rows]
    assert background.any()
    assert mask[rows][background].mean() < 0.02  # of the box it would be 1


def test_a_mouth_that_opens_wide_stays_inside() -> None:
    x1, y1, _, _ = BOX
    assert outline()[242 - y1, 160 - x1] > 0.7


def test_it_turns_with_the_head() -> None:
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = (LANDMARKS - (160, 160)) @ rotation.T + (160, 160)
    straight, mask = (outline(points, (0, 0, 320, 320)) for points in (LANDMARKS, turned))
    for point in ((0, 60), (70, 20), (-70, 20), (55, 80), (-55, 80), (30, 95)):
        (x, y), (turned_x, turned_y) = (np.rint(np.add(at, 160)).astype(int) for at in (point, rotation @ point))
        assert abs(mask[turned_y, turned_x] - straight[y, x]) < 0.1
    assert np.abs(mask - straight).max() > 0.9


def test_the_averted_side_of_a_turned_face_is_narrower() -> None:
    turned = LANDMARKS.copy()
    turned[2, 0] += 25  # the nose points to the right
    row = outline(turned)[215 - BOX[1]]
    middle = 160 - BOX[0]
    assert row[middle:].sum() < 0.75 * row[:middle].sum()


def test_landmarks_that_are_no_face_give_no_outline() -> None:
    for landmarks in (np.zeros((5, 2)), LANDMARKS[[1, 0, 2, 4, 3]], np.full((5, 2), np.nan)):
        assert jaw_outline(BOX, landmarks, feather_px=10) is None


@given(st.lists(st.floats(-50, 400), min_size=10, max_size=10), st.integers(8, 300), st.integers(8, 300))
def test_whatever_the_landmarks_it_is_weights(values: list[float], width: int, height: int) -> None:
    found = jaw_outline((7, 9, 7 + width, 9 + height), np.reshape(values, (5, 2)), feather_px=5)
    if found is not None:
        assert found.shape == (height, width)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1
