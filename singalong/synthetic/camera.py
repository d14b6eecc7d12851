"""The camera: exposure, white balance, focus, noise and compression, the same for every frame of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SHIFT_PX = 128


@dataclass(frozen=True)
class Quality:
    """Image quality. blur_px: sigma; noise: standard deviation in grey levels; jpeg: 0 for none, else 1 to 100."""

    gain: float = 1.0
    contrast: float = 1.0
    warmth: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0
    jpeg: int = 0

    @classmethod
    def from_seed(cls, seed: int) -> Quality:
        """Mostly clean, sometimes soft, noisy or compressed."""
        rng = np.random.default_rng([seed, 131])
        return cls(
            gain=float(np.exp(rng.normal(0, 0.1))),
            contrast=float(rng.uniform(0.9, 1.12)),
            warmth=float(rng.normal(0, 0.03)),
            blur_px=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.35 else 0.0,
            noise=float(rng.uniform(0.5, 5.0)) if rng.random() < 0.6 else 0.0,
            jpeg=int(rng.integers(45, 92)) if rng.random() < 0.35 else 0,
        )


class Camera:
    """Applies a quality to frames; the noise differs by frame index and is the same for the same index."""

    def __init__(self, quality: Quality, *, width: int, height: int, seed: int) -> None:
        self._quality, self._seed = quality, seed
        self._table = _table(quality)
        self._noise: np.ndarray | None = None
        if quality.noise > 0:
            rng = np.random.default_rng([seed, 132])
            noise = rng.standard_normal((height + _SHIFT_PX, width + _SHIFT_PX, 3), dtype=np.float32) * quality.noise
            self._noise = np.clip(np.round(noise + 128), 0, 255).astype(np.uint8)

    def expose(self, image: np.ndarray, index: int) -> np.ndarray:
        """What the camera makes of an ideal (h, w, 3) uint8 BGR image."""
        quality = self._quality
        out = cv2.LUT(image, self._table)
        if quality.blur_px > 0:
            out = cv2.GaussianBlur(out, (0, 0), quality.blur_px)
        if self._noise is not None:
            out = cv2.addWeighted(out, 1.0, self._noise_for(index, out.shape), 1.0, -128.0)
        if quality.jpeg:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality.jpeg])
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return np.asarray(out)

    def _noise_for(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        assert self._noise is not None
        top, left = ((index * step + self._seed) % _SHIFT_PX for step in (37, 61))
        return self._noise[top : top + shape[0], left : left + shape[1]]


def _table(quality: Quality) -> np.ndarray:
    level = np.arange(256, dtype=np.float32) / 255
    channels = []
    for tint in (1 - quality.warmth, 1.0, 1 + quality.warmth):
        value = np.clip(0.5 + (level * np.sqrt(quality.gain) * tint - 0.5) * quality.contrast, 0, 1)
        channels.append(value)
    return (np.stack(channels, axis=1)[:, None].transpose(1, 0, 2) * 255 + 0.5).astype(np.uint8)
