"""A drawn face with its landmarks, and generators that draw by a function, for tests of paste-back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.frames import ColorInfo, YuvFrame, bgr_to_frame
from tasks.painter import Spot

Image = NDArray[np.uint8]

BT709 = ColorInfo(1, 1, 1, 1)
SIZE = (320, 320)
BOX = (60, 40, 260, 280)
LANDMARKS = np.array([[120.0, 130.0], [200.0, 130.0], [160.0, 175.0], [125.0, 215.0], [195.0, 215.0]])
SPOT = Spot(BOX, LANDMARKS)


class DrawingEngine:
    """An engine that paints by a function of the faces shown, (96, 96, 3) each."""

    mel_steps, can_rest = 16, False

    def __init__(self, draw: Callable[[Image], object]) -> None:
        self._draw = draw

    def generate(self, mel: object, faces: Sequence[Image], sung: object = None) -> list[object]:
        return [self._draw(face) for face in faces]


def mels(num: int) -> NDArray[np.float32]:
    return np.zeros((num, 80, 16), np.float32)


def face_bgr(*, mouth_open: float = 0.0, grain: float = 4.0, seed: int = 0, background: int = 90) -> Image:
    """A head of skin with grain before a grey wall, (320, 320, 3): eyes, nose and mouth as LANDMARKS say."""
    image = np.full((*SIZE, 3), background, np.uint8)
    cv2.ellipse(image, (160, 165), (92, 118), 0, 0, 360, (120, 150, 200), -1, cv2.LINE_AA)
    cv2.ellipse(image, (160, 90), (92, 50), 0, 180, 360, (30, 40, 60), -1, cv2.LINE_AA)
    for x in (120, 200):
        cv2.circle(image, (x, 130), 9, (40, 30, 30), -1, cv2.LINE_AA)
    cv2.circle(image, (160, 175), 6, (100, 125, 170), -1, cv2.LINE_AA)
    cv2.ellipse(image, (160, 215), (36, 9 + int(18 * mouth_open)), 0, 0, 360, (90, 80, 180), -1, cv2.LINE_AA)
    if mouth_open:
        cv2.ellipse(image, (160, 215), (28, int(18 * mouth_open)), 0, 0, 360, (20, 15, 30), -1, cv2.LINE_AA)
    light = np.linspace(0.85, 1.15, SIZE[1])[None, :, None]
    noise = np.random.default_rng(seed).normal(0, grain, (*SIZE, 1))
    return np.clip(image * light + noise, 0, 255).astype(np.uint8)


def face_frame(**options: float) -> YuvFrame:
    return bgr_to_frame(face_bgr(**options), pts_s=0.0, color=BT709)  # type: ignore[arg-type]


def with_cast(face: Image) -> Image:
    """8 levels brighter, 5 % flatter."""
    return np.clip(face * 0.95 + 8.5, 0, 255).astype(np.uint8)
