from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest

from models.detectors import Detections
from singalong.settings import AnalysisSettings
from tasks.faces import FaceSampler, ShotSamples
from tasks.shots import ShotFrame

SIDE_PX = 48
HEIGHT, WIDTH = 180, 320
LEFT_PX, TOP_PX = 100.0, 60.0


def texture(seed: int, side: int = SIDE_PX) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(30, 225, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC))


def picture(faces: Sequence[tuple[float, float, int]], index: int) -> np.ndarray:
    """Faces at (x, y) of a seed each, before a plain wall."""
    out = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    for x, y, seed in faces:
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
        cv2.warpAffine(texture(seed), matrix, (WIDTH, HEIGHT), dst=out, borderMode=cv2.BORDER_TRANSPARENT)
    out[0, 0, 0], out[0, 1, 0] = index // 256, index % 256
    return out


Scene = Sequence[Sequence[tuple[float, float, int]]]


class Knowing:
    """A detector that knows the scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.looks: list[int] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._detect(int(image[0, 0, 0]) * 256 + int(image[0, 1, 0])) for image in images]

    def _detect(self, index: int) -> Detections:
        self.looks.append(index)
        boxes = np.array([[x, y, x + SIDE_PX, y + SIDE_PX] for x, y, _ in self.scene[index]], np.float32).reshape(-1, 4)
        shares = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
        return Detections(boxes, np.full(len(boxes), 0.95, np.float32), boxes[:, None, :2] + SIDE_PX * shares)


def sampled(scene: Scene, *, shown: Scene | None = None, **settings: float) -> tuple[ShotSamples, Knowing]:
    """`shown` is what the pictures show where that is not what the detector finds."""

    def frames() -> Iterator[ShotFrame]:
        for index, faces in enumerate(shown or scene):
            yield ShotFrame(index, index / 25, picture(faces, index), 1.0, starts_shot=index == 0)

    detector = Knowing(scene)
    [shot] = FaceSampler(detector, AnalysisSettings(**settings)).shots(frames())
    return shot, detector


def nodding(num: int = 31, reach_px: float = 4.0) -> Scene:
    return [
        [(LEFT_PX + reach_px * np.sin(index / 4), TOP_PX + 0.5 * reach_px * np.sin(index / 2), 1)]
        for index in range(num)
    ]


def test_a_face_that_moves_a_little_is_detected_three_times_less_often_than_it_is_looked_at() -> None:
    shot, detector = sampled(nodding())
    assert [sample.frame for sample in shot.samples] == [0, 5, 10, 15, 20, 25, 30]
    assert detector.looks == [0, 15, 30]
    assert [sample.by_detector for sample in shot.samples] == [True, False, False, True, False, False, True]


def test_a_followed_face_is_where_it_is_to_a_fraction_of_a_pixel() -> None:
    """Lines between the detections would miss it by five pixels."""
    scene = nodding()
    shot, _ = sampled(scene)
    for sample in shot.samples:
        x, y, _ = scene[sample.frame][0]
        np.testing.assert_allclose(sample.boxes[0, :2], (x, y), atol=0.4)
        np.testing.assert_allclose(sample.landmarks[0, 2], (x + 0.5 * SIDE_PX, y + 0.6 * SIDE_PX), atol=0.4)


def test_what_the_picture_misses_of_the_second_detection_is_shared_out() -> None:
    """The detector's boxes drift by 3 px over a face that stands still."""
    shown = [[(LEFT_PX, TOP_PX, 1)]] * 16
    found = [[(LEFT_PX + 3 * index / 15, TOP_PX, 1)] for index in range(16)]
    shot, _ = sampled(found, shown=shown)
    corners = np.array([sample.boxes[0, 0] for sample in shot.samples])
    np.testing.assert_allclose(corners, LEFT_PX + np.array([0, 1, 2, 3]), atol=0.3)


def test_a_face_whose_picture_does_not_go_where_the_detector_says_is_detected_each_time() -> None:
    shown = [[(LEFT_PX, TOP_PX, 1)]] * 16
    found = [[(LEFT_PX + 9 * index / 15, TOP_PX, 1)] for index in range(16)]
    _, detector = sampled(found, shown=shown)
    assert sorted(detector.looks) == [0, 5, 10, 15]


def test_somebody_else_in_the_same_place_is_not_followed() -> None:
    _, detector = sampled([[(LEFT_PX, TOP_PX, 1 if index < 8 else 2)] for index in range(16)])
    assert sorted(detector.looks) == [0, 5, 10, 15]


def test_a_face_hidden_between_two_detections_is_hidden_to_the_frame() -> None:
    here: Scene = [[] if 4 <= index < 7 else [(LEFT_PX, TOP_PX, 1)] for index in range(16)]
    shot, _ = sampled(here)
    seen = {sample.frame: len(sample.boxes) for sample in shot.samples}
    assert (seen[3], seen[4], seen[6], seen[7]) == (1, 0, 0, 1)


@pytest.mark.parametrize("others", [[], [(200.0, 30.0, 1)]])
def test_somebody_who_comes_and_goes_between_two_detections_is_seen(others: list[tuple[float, float, int]]) -> None:
    scene: Scene = [[*others, *([(40.0, 90.0, 3)] if 3 <= index < 8 else [])] for index in range(16)]
    shot, _ = sampled(scene)
    with_guest = [sample.frame for sample in shot.samples if len(sample.boxes) > len(others)]
    assert (min(with_guest), max(with_guest)) == (3, 7)


def test_where_nobody_is_and_nothing_changes_the_detector_rests() -> None:
    _, detector = sampled([[]] * 31)
    assert detector.looks == [0, 15, 30]


def test_without_following_every_look_is_the_detectors() -> None:
    shot, detector = sampled(nodding(), follow_s=0.0)
    assert [sample.frame for sample in shot.samples] == sorted(detector.looks) == [0, 5, 10, 15, 20, 25, 30]


def test_two_faces_are_followed_each_on_its_own() -> None:
    scene: Scene = [
        [(60 + 3 * np.sin(index / 3), 60.0, 1), (180.0, 60 + 3 * np.sin(index / 4), 2)] for index in range(16)
    ]
    shot, detector = sampled(scene)
    assert detector.looks == [0, 15]
    for sample in shot.samples:
        np.testing.assert_allclose(sample.boxes[:, :2], [face[:2] for face in scene[sample.frame]], atol=0.4)
