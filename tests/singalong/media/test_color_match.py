"""Colours of painted faces."""

from __future__ import annotations

import cv2
import numpy as np

from singalong.media.color_match import ColorMatch, apply_shift, color_shift
from tests.painted_faces import BOX, face_bgr, with_cast


def crop(**options: float) -> np.ndarray:
    x1, y1, x2, y2 = BOX
    return cv2.resize(face_bgr(**options)[y1:y2, x1:x2], (96, 96))  # type: ignore[arg-type]


def error(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(cv2.GaussianBlur(made.astype(np.float32) - wanted, (0, 0), 2)).mean())


def test_a_cast_is_taken_off_and_a_drawing_without_one_is_left() -> None:
    shown = crop()
    assert error(with_cast(shown), shown) > 2
    assert error(apply_shift(with_cast(shown), color_shift(shown, with_cast(shown))), shown) < 0.5
    assert error(apply_shift(shown, color_shift(shown, shown)), shown) < 0.1


def test_a_cast_of_one_side_is_taken_off() -> None:
    shown = crop()
    tilted = np.clip(shown + np.linspace(-8, 8, 96)[None, :, None], 0, 255).astype(np.uint8)
    assert error(apply_shift(tilted, color_shift(shown, tilted)), shown) < 1


def test_a_mouth_that_opens_has_no_say() -> None:
    shown, wide = crop(), crop(mouth_open=1.0)
    naive = shown.mean(axis=(0, 1)) - wide.mean(axis=(0, 1))  # matching means: the dark mouth would brighten the skin
    assert naive.max() > 2
    assert np.abs(color_shift(shown, wide)).max() < 0.5
    # with a cast: the skin's comes off, and the mouth's inside keeps its own colour under it
    matched = apply_shift(with_cast(wide), color_shift(shown, with_cast(wide)))
    assert error(matched, wide) < 0.7


def test_a_drawing_that_repeats_nothing_is_left_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    flat = np.full((96, 96, 3), 128, np.uint8)
    for drawing in (noise, flat):
        assert np.abs(apply_shift(drawing, color_shift(crop(), drawing)) - drawing).max() < 3


def test_no_correction_is_beyond_its_limits() -> None:
    shown = crop()
    dark = (shown * 0.5).astype(np.uint8)
    assert np.abs(apply_shift(dark, color_shift(shown, dark)) - dark).max() <= 24 + 0.25 * 128 + 32


def test_colours_do_not_flicker_when_the_estimate_does() -> None:
    shown = crop()
    rng = np.random.default_rng(1)
    match = ColorMatch(fps=25)
    naive, ours = [], []
    for _ in range(30):
        made = np.clip(shown + 6.0 + rng.normal(0, 2, 3), 0, 255).astype(np.uint8)
        fixed = made.astype(np.float32).mean(axis=(0, 1))
        naive.append(fixed + color_shift(shown, made)[:, 0] - fixed)
        before = made.astype(np.float32)
        ours.append((match.match(shown, made) - before).mean(axis=(0, 1)))
    assert np.abs(np.diff(ours[5:], axis=0)).mean() < 0.3 * np.abs(np.diff(naive[5:], axis=0)).mean()


def test_another_shot_starts_afresh() -> None:
    shown = crop()
    match = ColorMatch(fps=25)
    for _ in range(10):
        match.match(shown, with_cast(shown))
    match.cut()
    assert error(match.match(shown, shown), shown) < 0.1
