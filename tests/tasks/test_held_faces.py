import cv2
import numpy as np
import pytest

from singalong.linking import Sample
from tasks.held_faces import HeldFace, HeldFaces
from tasks.shots import ShotFrame

FACE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (60, 48, 3), dtype=np.uint8), (0, 0), 4) * 3 // 2
BACKDROP = cv2.resize(np.random.default_rng(1).integers(0, 200, (9, 12, 3), dtype=np.uint8), (240, 180))
SCALE = 0.5


def picture(index: int, *faces: tuple[int, int], hand: tuple[int, int] | None = None) -> ShotFrame:
    """A small frame with faces at corners (x, y), and a hand of one colour over 60 pixels square."""
    bgr = BACKDROP.copy()
    for x, y in faces:
        bgr[y : y + 60, x : x + 48] = FACE
    if hand is not None:
        x, y = hand
        bgr[y : y + 60, x : x + 60] = (110, 140, 190)
    return ShotFrame(index, index / 25, bgr, SCALE, starts_shot=index == 0)


def corners(*faces: tuple[int, int]) -> np.ndarray:
    return np.array([(x, y, x + 48, y + 60) for x, y in faces], float).reshape(-1, 4)


def seen(frame: ShotFrame, *faces: tuple[int, int], score: float = 0.9) -> Sample:
    boxes = corners(*faces)
    count = len(boxes)
    points = np.repeat(boxes[:, None, :2] + 20, 5, axis=1)
    scores = np.full(count, score)
    return Sample(
        frame.index, frame.pts_s, boxes / SCALE, scores, points / SCALE, scores, np.zeros((count, 1), np.float32)
    )


def held(*, score: float = 0.9, max_age_s: float = 0.8) -> HeldFaces:
    faces, first = HeldFaces(max_age_s=max_age_s), picture(0, (80, 50))
    faces.remember(first, seen(first, (80, 50), score=score))
    return faces


def missed(faces: HeldFaces, frame: ShotFrame, *found: tuple[int, int]) -> list[HeldFace]:
    return faces.missed(frame, corners(*found))


@pytest.mark.parametrize("place", [(80, 50), (92, 44)])
def test_a_face_the_detector_missed_is_followed_by_its_picture(place: tuple[int, int]) -> None:
    [face] = missed(held(), picture(5, place))
    np.testing.assert_allclose(face.box, corners(place)[0], atol=2)
    np.testing.assert_allclose(face.landmarks[0], np.array(place) + 20, atol=2)
    assert face.score == 0


def test_a_face_that_was_found_is_not_held_as_well() -> None:
    assert missed(held(), picture(5, (84, 50)), (84, 50)) == []


def test_a_hand_before_the_face_hides_it() -> None:
    assert missed(held(), picture(5, (80, 50), hand=(74, 48))) == []


def test_half_a_face_is_hidden() -> None:
    assert missed(held(), picture(5, (80, 50), hand=(74, 75))) == []


def test_a_face_that_left_is_not_seen_in_the_backdrop() -> None:
    assert missed(held(), picture(5)) == []


def test_another_light_does_not_hide_a_face() -> None:
    frame = picture(5, (80, 50))
    frame.bgr[:] = frame.bgr // 2 + 20
    assert len(missed(held(), frame)) == 1


def test_a_face_is_held_no_longer_than_a_track_survives() -> None:
    assert len(missed(held(), picture(20, (80, 50)))) == 1
    assert missed(held(), picture(21, (80, 50))) == []


def test_a_face_missed_again_and_again_is_remembered_as_it_was_detected() -> None:
    """A hand that comes slowly would carry the face away if each look were compared with the last."""
    faces = held()
    for index in (5, 10, 15):
        frame = picture(index, (80, 50), hand=(20 + 4 * index, 48))
        sample = seen(frame, (80, 50), score=0.0) if missed(faces, frame) else seen(frame)
        faces.remember(frame, sample)
    assert missed(faces, picture(16, (80, 50), hand=(78, 48))) == []


def test_half_hidden_faces_are_not_taken_for_a_picture_of_the_face() -> None:
    assert missed(held(score=0.7), picture(5, (80, 50))) == []


def test_nobody_is_known_after_a_cut() -> None:
    faces = held()
    faces.forget()
    assert missed(faces, picture(5, (80, 50))) == []


def test_a_flat_face_is_not_found_everywhere() -> None:
    faces, flat = HeldFaces(max_age_s=0.8), picture(0)
    flat.bgr[:] = 128
    faces.remember(flat, seen(flat, (80, 50)))
    assert missed(faces, flat) == []
