"""What detectors, cameras and microphones do to a face and a voice before the networks see them.

Everything is drawn once per window or clip, as one camera films all of its frames. Ranges of the crop are what
CenterFace was measured to do on renderings; the rest is chosen wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import MAX_ABS, NUM_BANDS
from tasks.training.clips import LOOSE_HEIGHT_PX, LOOSE_WIDTH_PX, MARGINS

SIDE_PX = 96
"""Side of the networks' face crop."""

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]

_USUAL_WIDTH_PX = LOOSE_WIDTH_PX / (1 + MARGINS[0] + MARGINS[2])
_USUAL_HEIGHT_PX = LOOSE_HEIGHT_PX / (1 + MARGINS[1] + MARGINS[3])
# Spread of CenterFace's edges about the usual box, and how far its bottom follows a chin at opening 1; shares of
# the box's sides.
_EDGE_SPREAD = np.array([0.032, 0.044, 0.035, 0.024])
_CHIN_FOLLOW = 0.1
_MAX_PAD = 0.12
_WOBBLE = 0.004
_DB_PER_UNIT = 100 / (2 * MAX_ABS)
_KNOTS = 6


@dataclass(frozen=True)
class CropJitter:
    """Where the crops of one clip lie: edges (4,) as shares of the usual box, the rest per window."""

    edges: NDArray[np.float64]
    chin_gain: float
    roll: float
    flip: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, *, amount: float = 1.0) -> CropJitter:
        """A random detector's habit; amount 0 is the usual box with the paper's pad below."""
        edges = np.clip(rng.normal(0, _EDGE_SPREAD * amount), -0.1, 0.1) + rng.normal(0, 0.02 * amount)
        edges[3] += rng.uniform(0, _MAX_PAD) if amount else 0.5 * _MAX_PAD
        return cls(edges, float(rng.uniform(0, 1.2)), float(rng.normal(0, 0.035 * amount)), bool(rng.random() < 0.5))

    def matrices(self, openings: Floats, rng: np.random.Generator, *, wobble: float = _WOBBLE) -> NDArray[np.float64]:
        """Affines (T, 2, 3) from pixels of the loose cut-out to pixels of the crop; openings (T,) of the mouth."""
        num = len(openings)
        edges = np.repeat(self.edges[None], num, axis=0)
        edges += np.cumsum(rng.normal(0, wobble, (num, 4)), axis=0)
        edges[:, 3] += self.chin_gain * _CHIN_FOLLOW * openings
        left = _USUAL_WIDTH_PX * (MARGINS[0] + edges[:, 0])
        top = _USUAL_HEIGHT_PX * (MARGINS[1] + edges[:, 1])
        right = _USUAL_WIDTH_PX * (1 + MARGINS[0] + edges[:, 2])
        bottom = _USUAL_HEIGHT_PX * (1 + MARGINS[1] + edges[:, 3])
        scale_x, scale_y = SIDE_PX / (right - left), SIDE_PX / (bottom - top)
        sign = -1.0 if self.flip else 1.0
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        middle = (SIDE_PX - 1) / 2
        matrices = np.zeros((num, 2, 3))
        matrices[:, 0, 0], matrices[:, 0, 1] = sign * cos * scale_x, -sign * sin * scale_y
        matrices[:, 1, 0], matrices[:, 1, 1] = sin * scale_x, cos * scale_y
        centres = np.stack([(left + right) / 2 - 0.5, (top + bottom) / 2 - 0.5], axis=1)
        matrices[:, :, 2] = middle - np.einsum("tij,tj->ti", matrices[:, :, :2], centres)
        return matrices


def crop(loose: U8, matrix: NDArray[np.float64], *, first_row: int = 0) -> U8:
    """Rows `first_row`... of the 96x96 crop of a loose cut-out (128, 112, 3)."""
    shifted = matrix.copy()
    shifted[1, 2] -= first_row
    size = (SIDE_PX, SIDE_PX - first_row)
    return np.asarray(cv2.warpAffine(loose, shifted, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def crop_flow(loose: Floats, matrix: NDArray[np.float64]) -> Floats:
    """A flow (128, 112, 2) in pixels of a loose cut-out as one (96, 96, 2) in pixels of its crop."""
    size = (SIDE_PX, SIDE_PX)
    moved = cv2.warpAffine(loose, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(moved @ matrix[:, :2].T, np.float32)


@dataclass(frozen=True)
class Film:
    """How one camera and its codec change a picture; the same for all frames of a window."""

    table: U8
    blur_px: float
    small: float
    noise: float
    jpeg: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Film:
        """A random camera: exposure, contrast, white balance, focus, resolution, noise, compression."""
        level = np.arange(256, dtype=np.float32) / 255
        gamma, contrast, bias = np.exp(rng.normal(0, 0.22)), np.exp(rng.normal(0, 0.15)), rng.normal(0, 0.05)
        tints = np.exp(rng.normal(0, 0.06, 3))
        curves = np.clip(((level[:, None] ** gamma - 0.5) * contrast + 0.5 + bias) * tints, 0, 1)
        if rng.random() < 0.08:
            curves = np.repeat(curves.mean(axis=1, keepdims=True), 3, axis=1)
        return cls(
            table=(curves * 255 + 0.5).astype(np.uint8)[None],
            blur_px=float(rng.uniform(0.3, 1.3)) if rng.random() < 0.3 else 0.0,
            small=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 1.0,
            noise=float(rng.uniform(1, 7)) if rng.random() < 0.35 else 0.0,
            jpeg=int(rng.integers(25, 90)) if rng.random() < 0.25 else 0,
        )

    def shoot(self, image: U8, rng: np.random.Generator) -> U8:
        """The picture (h, w, 3) as this camera delivers it."""
        size = (image.shape[1], image.shape[0])
        if self.blur_px:
            image = cv2.GaussianBlur(image, (0, 0), self.blur_px)  # type: ignore[assignment]
        if self.small < 1:
            tiny = cv2.resize(image, None, fx=self.small, fy=self.small, interpolation=cv2.INTER_AREA)
            image = cv2.resize(tiny, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        image = cv2.LUT(image, self.table)  # type: ignore[assignment]
        if self.noise:
            grain = rng.standard_normal(image.shape, dtype=np.float32) * self.noise
            image = np.clip(image + grain, 0, 255).astype(np.uint8)
        if self.jpeg:
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[assignment]
        return np.asarray(image, np.uint8)


def mix_mels(voice: Floats, band: Floats, level_db: float) -> Floats:
    """Log-mel of voice and band together, the band changed by `level_db`; phases are taken as independent."""
    power = _power(voice) + _power(band) * np.float32(10 ** (level_db / 10))
    return np.clip(_log(power), -MAX_ABS, MAX_ABS)


def record(voice: Floats, bands: list[Floats], rng: np.random.Generator) -> Floats:
    """A voice's mel (80, S) as it might reach us: band, room noise, equaliser, gain, another throat.

    bands: the song's own, and another song's of the same length; either, or none, plays.
    """
    mel = _other_throat(voice, rng) if rng.random() < 0.5 else voice
    kind = rng.random()
    if kind < 0.65:
        band = bands[0] if kind < 0.45 else bands[1]
        mel = mix_mels(mel, band, float(rng.uniform(-18, 3)))
    if rng.random() < 0.3:
        hiss = np.full_like(mel, rng.uniform(-3.8, -2.2)) + rng.normal(0, 0.15, mel.shape).astype(np.float32)
        mel = mix_mels(mel, hiss, 0.0)
    gain_db = float(rng.uniform(-22, 8))
    knots = rng.normal(0, 3.5, _KNOTS)
    curve_db = np.interp(np.linspace(0, _KNOTS - 1, NUM_BANDS), np.arange(_KNOTS), knots)
    mel = mel + ((gain_db + curve_db) / _DB_PER_UNIT)[:, None].astype(np.float32)
    if rng.random() < 0.15:
        mel[int(rng.integers(45, NUM_BANDS)) :] = -MAX_ABS
    return np.clip(mel, -MAX_ABS, MAX_ABS).astype(np.float32)


def _other_throat(mel: Floats, rng: np.random.Generator) -> Floats:
    """Formants shifted by up to a twelfth, as a longer or shorter vocal tract would."""
    place = np.clip(np.arange(NUM_BANDS) * np.exp(rng.uniform(-0.08, 0.08)) + rng.uniform(-1, 1), 0, NUM_BANDS - 1)
    low = np.minimum(place.astype(int), NUM_BANDS - 2)
    part = (place - low)[:, None].astype(np.float32)
    return np.asarray(mel[low] * (1 - part) + mel[low + 1] * part, np.float32)


def _power(mel: Floats) -> Floats:
    return np.asarray(10 ** ((mel + MAX_ABS) * np.float32(_DB_PER_UNIT / 10)), np.float32) - 1


def _log(power: Floats) -> Floats:
    return np.asarray(np.log10(power + 1) * np.float32(10 / _DB_PER_UNIT) - MAX_ABS, np.float32)
