"""Aligned faces and back."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from singalong.media.align import TEMPLATE, add_detail, aligned_face, alignment
from tests.painted_faces import BOX, LANDMARKS, face_bgr, face_frame

X1, Y1, X2, Y2 = BOX


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-200, 200))
def test_a_turned_and_scaled_template_is_brought_back_exactly(turn: float, size: float, offset: float) -> None:
    rotation = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found = alignment((TEMPLATE * 256) @ rotation.T + offset, 256)
    np.testing.assert_allclose(moved((TEMPLATE * 256) @ rotation.T + offset, found), TEMPLATE * 256, atol=1e-6)


def test_the_aligned_face_has_its_features_where_enhancers_expect_them() -> None:
    matrix = alignment(LANDMARKS, 512)
    face = aligned_face(face_frame(grain=0.0), BOX, face_bgr(grain=0.0)[Y1:Y2, X1:X2], matrix, 512)
    assert face.shape == (512, 512, 3)
    dark = face.max(axis=2) < 70
    for x, y in moved(LANDMARKS[:2], matrix).round().astype(int):
        assert dark[y - 5 : y + 6, x - 5 : x + 6].all()
    assert np.abs(moved(LANDMARKS, matrix) - TEMPLATE * 512).max() < 30


def test_an_unchanged_face_comes_back_unchanged() -> None:
    matrix = alignment(LANDMARKS, 256)
    crop = face_bgr()[Y1:Y2, X1:X2]
    before = aligned_face(face_frame(), BOX, crop, matrix, 256)
    weight = np.ones(crop.shape[:2], np.float32)
    assert (add_detail(crop, BOX, before, before, matrix, weight) == crop).all()


def test_a_change_lands_where_it_was_made_and_nowhere_else() -> None:
    matrix = alignment(LANDMARKS, 256)
    crop = face_bgr(grain=0.0)[Y1:Y2, X1:X2]
    before = aligned_face(face_frame(grain=0.0), BOX, crop, matrix, 256)
    after = before.copy()
    x, y = moved(np.array([[125.0, 215.0]]), matrix)[0].round().astype(int)
    cv2.circle(after, (int(x), int(y)), 2, (255, 255, 255), -1)
    weight = np.ones(crop.shape[:2], np.float32)
    change = np.abs(add_detail(crop, BOX, before, after, matrix, weight).astype(int) - crop).sum(axis=2)
    at_y, at_x = np.unravel_index(change.argmax(), change.shape)
    assert abs(at_x + X1 - 125) <= 2
    assert abs(at_y + Y1 - 215) <= 2
    weight[100:] = 0
    assert (add_detail(crop, BOX, before, after, matrix, weight)[100:] == crop[100:]).all()


def test_a_cast_of_the_enhancer_does_not_come_through() -> None:
    matrix = alignment(LANDMARKS, 256)
    crop = face_bgr()[Y1:Y2, X1:X2]
    before = aligned_face(face_frame(), BOX, crop, matrix, 256)
    after = np.clip(before.astype(int) + 12, 0, 255).astype(np.uint8)
    made = add_detail(crop, BOX, before, after, matrix, np.ones(crop.shape[:2], np.float32))
    assert np.abs(made.astype(int) - crop).max() <= 3


def test_faces_at_the_frames_edge_are_completed() -> None:
    off = LANDMARKS - (120, 60)
    face = aligned_face(face_frame(), (0, 0, 140, 200), face_bgr()[0:200, 0:140], alignment(off, 256), 256)
    assert face.shape == (256, 256, 3)
    far = LANDMARKS + 5000
    assert aligned_face(face_frame(), BOX, face_bgr()[Y1:Y2, X1:X2], alignment(far, 256), 256).shape == (256, 256, 3)
