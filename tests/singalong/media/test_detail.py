"""The sharpness of painted faces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from singalong.media.detail import DetailTransfer, agreement
from singalong.media.geometry import fit_to_box
from tests.painted_faces import BOX, face_bgr

X1, Y1, X2, Y2 = BOX
MOUTH = np.s_[150:205, 55:145]
CHEEK = np.s_[130:190, 12:40]


def crop(**options: float) -> np.ndarray:
    return face_bgr(**options)[Y1:Y2, X1:X2]  # type: ignore[arg-type]


def small(face: np.ndarray) -> np.ndarray:
    return cv2.resize(face, (96, 96), interpolation=cv2.INTER_AREA)


def grain(face: np.ndarray) -> float:
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float((gray - cv2.GaussianBlur(gray, (0, 0), 1)).std())


def test_skin_that_is_only_repeated_stays_as_sharp_as_the_clip() -> None:
    source = crop()
    made = small(source)
    plain = fit_to_box(made, (0, 0, X2 - X1, Y2 - Y1))
    ours = DetailTransfer(25).enlarge(source, made.astype(np.float32))
    assert grain(plain[CHEEK]) < 0.6 * grain(source[CHEEK])
    assert 0.9 < grain(ours[CHEEK]) / grain(source[CHEEK]) < 1.1


def test_no_ghost_of_the_clips_mouth_shines_through_another() -> None:
    source, wanted = crop(mouth_open=1.0), crop(grain=0)
    ours = DetailTransfer(25).enlarge(source, small(wanted).astype(np.float32))
    # naive: the clip's detail everywhere; the open mouth's rim would stand on closed lips
    naive = fit_to_box(small(wanted), (0, 0, X2 - X1, Y2 - Y1)).astype(float)
    naive += source.astype(float) - fit_to_box(small(source), (0, 0, X2 - X1, Y2 - Y1))
    off, naive_off = (np.abs(face[MOUTH].astype(float) - wanted[MOUTH]) for face in (ours, naive))
    assert np.percentile(naive_off, 99) > 20
    assert np.percentile(off, 99) < 0.6 * np.percentile(naive_off, 99)


def test_edges_are_steeper_than_plainly_enlarged_and_have_no_halo() -> None:
    source, wanted = crop(), crop(mouth_open=1.0, grain=0)
    made = small(wanted)
    plain = fit_to_box(made, (0, 0, X2 - X1, Y2 - Y1))
    ours = DetailTransfer(25).enlarge(source, made.astype(np.float32))
    assert grain(ours[MOUTH]) > 1.15 * grain(plain[MOUTH])
    inside = np.s_[165:186, 85:115]  # the dark of the mouth and the lips' edge towards it
    assert ours[inside].min() >= made[66:76, 40:56].min() - 1
    assert ours[inside].max() <= made[64:78, 40:56].max() + 1


def test_a_drawing_as_sharp_as_the_clip_is_not_sharpened() -> None:
    source = cv2.GaussianBlur(crop(grain=0), (0, 0), 4)
    made = small(crop(mouth_open=1.0)).astype(np.float32)
    ours = DetailTransfer(25).enlarge(source, made)
    plain = cv2.resize(made, (X2 - X1, Y2 - Y1), interpolation=cv2.INTER_CUBIC)
    assert grain(ours[MOUTH]) < 1.05 * grain(np.clip(plain, 0, 255).astype(np.uint8)[MOUTH])


def test_agreement_is_lost_at_once_and_comes_back_slowly() -> None:
    source = crop()
    same, other = small(source).astype(np.float32), small(crop(mouth_open=1.0)).astype(np.float32)
    transfer = DetailTransfer(25)
    always = transfer.enlarge(source, same)
    transfer.enlarge(source, other)
    after = transfer.enlarge(source, same)
    assert grain(after[MOUTH]) < 0.8 * grain(always[MOUTH])
    for _ in range(30):
        later = transfer.enlarge(source, same)
    assert np.abs(later.astype(int) - always).mean() < 0.5


def test_agreement_tells_the_mouth_from_the_skin() -> None:
    found = agreement(small(crop()), small(crop(mouth_open=1.0, seed=1)).astype(np.float32))
    assert found[70, 48] < 0.05
    assert found[60, 12] > 0.95
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("size", [(30, 24), (96, 96), (500, 380)])
def test_any_size_of_face_will_do(size: tuple[int, int]) -> None:
    source = cv2.resize(crop(), size[::-1])
    result = DetailTransfer(25).enlarge(source, small(source).astype(np.float32))
    assert result.shape == source.shape
    assert result.dtype == np.uint8
    assert np.abs(result.astype(int) - source).mean() < 6


def test_a_part_is_what_the_whole_has_there() -> None:
    part = np.s_[100:230, 20:171]
    wanted = small(crop(mouth_open=1.0, grain=0)).astype(np.float32)
    for made in (small(crop()).astype(np.float32), wanted, np.full((96, 96, 3), 255, np.float32)):
        whole = DetailTransfer(25).enlarge(crop(), made)[part]
        assert np.abs(DetailTransfer(25).enlarge(crop(), made, part).astype(int) - whole).max() <= 1
