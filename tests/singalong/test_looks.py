from functools import cache

import cv2
import numpy as np
import pytest

from singalong.looks import FACE_SIDE_PX, LANDMARKS_AT, aligned_face, likeness, look_of, mean_look, sharpness_of
from singalong.recognise import MIN_LIKENESS
from singalong.synthetic.articulation import still_mouth
from singalong.synthetic.cast import Identity
from singalong.synthetic.poses import POSE_NAMES, pose_track
from singalong.synthetic.render import FaceRenderer, Scene

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]


@cache
def portrait(person: int, *, yaw_deg: float = 0.0, roll_deg: float = 0.0, backdrop: str = "studio") -> Picture:
    """Picture (240, 320, 3), box and landmarks of a drawn person."""
    renderer = FaceRenderer(Identity.from_seed(person), Scene(backdrop=backdrop), width=320, height=240, face_px=60)
    pose = pose_track(1, fps=25, seed=0, half_height=0.25, liveliness=0.0)[0]
    pose[POSE_NAMES.index("yaw")], pose[POSE_NAMES.index("roll")] = np.radians([yaw_deg, roll_deg])
    mouth = still_mouth(1)[0]
    where = renderer.geometry(pose, mouth)
    return renderer.frame(pose, mouth), where.box.astype(float), where.landmarks.astype(float)


def alike(left: Picture, right: Picture) -> float:
    return likeness(look_of(*left), look_of(*right))


def test_a_look_is_a_unit_vector() -> None:
    look = look_of(*portrait(1))
    assert look.dtype == np.float32
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("person", [3, 11, 199])
def test_a_person_is_more_like_themselves_than_like_any_other(person: int) -> None:
    same = alike(portrait(person), portrait(person, yaw_deg=8, roll_deg=8, backdrop="room"))
    others = [alike(portrait(person), portrait(other)) for other in (3, 11, 199, 402) if other != person]
    assert same > MIN_LIKENESS
    assert max(others) < MIN_LIKENESS - 0.1


@pytest.mark.parametrize("change", [(0.6, 0), (1.0, 35), (0.5, 40)], ids=["darker", "brighter", "flatter"])
def test_the_light_hardly_matters(change: tuple[float, float]) -> None:
    bgr, box, landmarks = portrait(11)
    other = np.clip(bgr * change[0] + change[1], 0, 255).astype(np.uint8)
    assert alike((bgr, box, landmarks), (other, box, landmarks)) > 0.85


def test_the_size_of_the_picture_hardly_matters() -> None:
    bgr, box, landmarks = portrait(11)
    large = cv2.resize(bgr, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    assert alike((bgr, box, landmarks), (large, box * 3, landmarks * 3)) > 0.9


def test_a_face_without_landmarks_is_taken_from_its_box() -> None:
    bgr, box, landmarks = portrait(11)
    assert alike((bgr, box, landmarks), (bgr, box, np.full((5, 2), np.nan))) > MIN_LIKENESS


def test_a_face_at_the_edge_of_a_tiny_picture_has_a_look() -> None:
    bgr = np.full((3, 2, 3), 128, np.uint8)
    look = look_of(bgr, np.array([-5.0, -5.0, 2.0, 3.0]), np.full((5, 2), 1.0))
    assert np.isfinite(look).all()


def test_the_aligned_face_has_its_landmarks_in_one_place() -> None:
    landmarks = np.array([[60.0, 50.0], [100, 60], [75, 80], [55, 95], [85, 103]])
    bgr = np.zeros((160, 160, 3), np.uint8)
    for x, y in landmarks:
        cv2.circle(bgr, (int(x), int(y)), 4, (255, 255, 255), -1)
    face = aligned_face(bgr, np.array([40.0, 30, 120, 130]), landmarks)
    ys, xs = np.mgrid[:FACE_SIDE_PX, :FACE_SIDE_PX]
    for x, y in LANDMARKS_AT * FACE_SIDE_PX:
        assert face[np.hypot(xs - x, ys - y) < 5].max() > 200


def test_a_mean_look_leans_to_the_better_picture() -> None:
    good, bad = look_of(*portrait(3)), look_of(*portrait(11))
    mean = mean_look(np.stack([good, bad]), np.array([0.9, 0.1]))
    assert likeness(mean, good) > 0.95


@pytest.mark.parametrize("zoom", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("contrast", [0.4, 1.0])
def test_sharpness_tells_blur_whatever_size_and_contrast(zoom: float, contrast: float) -> None:
    bgr, box, landmarks = portrait(11)
    shown = cv2.resize(bgr, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    shown = (shown * contrast).astype(np.uint8)
    blurred = cv2.GaussianBlur(shown, (0, 0), 0.05 * zoom * (box[3] - box[1]))
    assert sharpness_of(shown, box * zoom, landmarks * zoom) > 0.5
    assert sharpness_of(blurred, box * zoom, landmarks * zoom) < 0.3
