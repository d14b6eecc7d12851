from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest

from models.detectors import Detections
from singalong.settings import AnalysisSettings
from tasks.faces import MAX_WINDOW_FRAMES, FaceSampler, ShotSamples
from tasks.shots import ShotFrame

SCALE = 0.5


class PaintedFaces:
    """A detector that reads each picture's first pixel: blue 1 is a face, green its x, red its score in percent."""

    def __init__(self, *, landmarks: bool = True) -> None:
        self.looks: list[int] = []
        self._landmarks = landmarks

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        self.looks.append(int(image[0, 1, 0]))
        here, x, percent = (int(value) for value in image[0, 0])
        boxes = np.array([[x, 10, x + 40, 50]] * here, np.float32).reshape(-1, 4)
        points = np.repeat(boxes[:, None, :2], 5, axis=1) if self._landmarks else None
        return Detections(boxes=boxes, scores=np.full(here, percent / 100, np.float32), landmarks=points)


def frames(
    faces: Sequence[bool], *, cuts: Sequence[int] = (), fps: float = 25.0, percent: int = 90
) -> Iterator[ShotFrame]:
    for index, here in enumerate(faces):
        picture = np.zeros((60, 120, 3), np.uint8)
        picture[0, 0] = here, 30, percent
        picture[0, 1, 0] = index % 256
        yield ShotFrame(index, index / fps, picture, SCALE, starts_shot=index == 0 or index in cuts)


def sampled(stream: Iterator[ShotFrame], detector: PaintedFaces | None = None, **settings: float) -> list[ShotSamples]:
    return list(FaceSampler(detector or PaintedFaces(), AnalysisSettings(**settings)).shots(stream))


def looks_of(shot: ShotSamples) -> list[int]:
    return [sample.frame for sample in shot.samples]


def test_faces_are_looked_for_every_so_often_and_in_the_first_and_last_frame() -> None:
    [shot] = sampled(frames([True] * 13), detect_every_s=0.2)
    assert looks_of(shot) == [0, 5, 10, 12]


def test_no_two_looks_are_further_apart_than_asked_at_any_frame_rate() -> None:
    [shot] = sampled(frames([True] * 60, fps=24.0), detect_every_s=0.2)
    assert max(np.diff([sample.pts_s for sample in shot.samples])) <= 0.2
    assert looks_of(shot)[:3] == [0, 4, 8]


def test_each_shot_has_looks_of_its_own_first_and_last_frame() -> None:
    shots = sampled(frames([True] * 20, cuts=[7, 8]), detect_every_s=0.2)
    assert [looks_of(shot) for shot in shots] == [[0, 5, 6], [7], [8, 13, 18, 19]]
    assert [shot.first_frame for shot in shots] == [0, 7, 8]
    assert [len(shot.frame_times_s) for shot in shots] == [7, 1, 12]


@pytest.mark.parametrize("first", range(1, 12))
def test_the_frame_in_which_a_face_appears_is_found(first: int) -> None:
    [shot] = sampled(frames([False] * first + [True] * (20 - first)), detect_every_s=0.2)
    seen = [sample.frame for sample in shot.samples if len(sample.boxes)]
    missed = [sample.frame for sample in shot.samples if not len(sample.boxes)]
    assert (min(seen), max(missed)) == (first, first - 1)


def test_boxes_and_landmarks_are_in_pixels_of_the_source() -> None:
    [shot] = sampled(frames([True]))
    assert shot.samples[0].boxes.tolist() == [[60, 20, 140, 100]]
    assert shot.samples[0].landmarks[0, 0].tolist() == [60, 20]


def test_weak_detections_are_no_faces() -> None:
    [shot] = sampled(frames([True] * 3, percent=29), min_score=0.5)
    assert all(len(sample.boxes) == 0 for sample in shot.samples)


def test_a_detector_without_landmarks_gives_nan() -> None:
    [shot] = sampled(frames([True]), PaintedFaces(landmarks=False))
    assert np.isnan(shot.samples[0].landmarks).all()


def test_few_frames_are_held_however_seldom_one_looks() -> None:
    [shot] = sampled(frames([True] * 200), detect_every_s=1000.0)
    assert max(np.diff(looks_of(shot))) < MAX_WINDOW_FRAMES


def test_nothing_comes_of_no_frames() -> None:
    assert sampled(iter(())) == []


def test_the_detector_is_asked_no_oftener_than_the_samples_say() -> None:
    detector = PaintedFaces()
    sampler = FaceSampler(detector, AnalysisSettings(detect_every_s=0.2))
    [shot] = sampler.shots(frames([False] * 7 + [True] * 13))
    assert sampler.num_detections == len(detector.looks) == len(shot.samples)


TEXTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8), (40, 40))


def flickering(found: Sequence[bool], *, shown: Sequence[bool], cuts: Sequence[int] = ()) -> Iterator[ShotFrame]:
    """A face that is on screen in some frames and found by the detector in some."""
    for frame, is_shown in zip(frames(found, cuts=cuts), shown, strict=True):
        frame.bgr[:, :, :] = np.where(frame.bgr == 0, 90, frame.bgr)
        frame.bgr[0, 1, 0] = frame.index
        frame.bgr[0, 0, 0] = found[frame.index]
        if is_shown:
            frame.bgr[10:50, 30:70] = TEXTURE
        yield frame


def with_face(shot: ShotSamples) -> list[int]:
    return [sample.frame for sample in shot.samples if len(sample.boxes)]


def test_a_face_the_detector_misses_is_still_there() -> None:
    found = [True] * 8 + [False] * 9 + [True] * 8
    [shot] = sampled(flickering(found, shown=[True] * 25))
    assert with_face(shot) == looks_of(shot)
    missed = [sample for sample in shot.samples if sample.scores[0] == 0]
    assert missed
    np.testing.assert_allclose(missed[0].boxes, [[60, 20, 140, 100]], atol=4)


def test_a_face_that_is_hidden_is_not_there_to_the_frame() -> None:
    shown = [True] * 8 + [False] * 9 + [True] * 8
    [shot] = sampled(flickering(shown, shown=shown))
    seen = with_face(shot)
    assert (max(n for n in seen if n < 12), min(n for n in seen if n > 12)) == (7, 17)


def test_a_face_is_not_looked_for_beyond_a_cut() -> None:
    """The next shot shows the same picture; a detector that finds no face there is to be believed."""
    first, second = sampled(flickering([True] * 8 + [False] * 8, shown=[True] * 16, cuts=[8]))
    assert with_face(first) == looks_of(first)
    assert with_face(second) == []
