"""Small tools to draw with arrays: head-unit grids, humps, ramps, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32


@dataclass(frozen=True)
class Canvas:
    """A window on head space: x in [left, right), y in [top, bottom), `scale` pixels a unit."""

    left: float
    top: float
    right: float
    bottom: float
    scale: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in head units."""
        return self.left, self.top, self.right, self.bottom

    @property
    def width(self) -> int:
        """Width in pixels."""
        return max(2, round((self.right - self.left) * self.scale))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return max(2, round((self.bottom - self.top) * self.scale))

    @cached_property
    def x(self) -> Floats:
        """Horizontal position of the pixel centres, (1, width) float32."""
        return (self.left + (np.arange(self.width, dtype=np.float32) + 0.5) / self.scale)[None].astype(np.float32)

    @cached_property
    def y(self) -> Floats:
        """Vertical position of the pixel centres, (height, 1) float32."""
        return (self.top + (np.arange(self.height, dtype=np.float32) + 0.5) / self.scale)[:, None].astype(np.float32)

    def to_px(self, points: Floats) -> Floats:
        """Head coordinates (n, 2) to pixel positions (n, 2), where a pixel's centre is a whole number."""
        return (np.asarray(points, np.float32) - [self.left, self.top]) * self.scale - 0.5

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Row and column slices of a part of this canvas, clipped to it."""
        first = np.round((np.array([left, top]) - [self.left, self.top]) * self.scale).astype(int)
        last = np.round((np.array([right, bottom]) - [self.left, self.top]) * self.scale).astype(int)
        columns = slice(max(0, int(first[0])), min(self.width, int(last[0])))
        return slice(max(0, int(first[1])), min(self.height, int(last[1]))), columns

    def part(self, rows: slice, columns: slice) -> Canvas:
        """The canvas of a window."""
        return Canvas(
            self.left + columns.start / self.scale,
            self.top + rows.start / self.scale,
            self.left + columns.stop / self.scale,
            self.top + rows.stop / self.scale,
            self.scale,
        )

    def fill(self, points: Floats) -> Floats:
        """Coverage in [0, 1] of a polygon given in head units, antialiased, (height, width) float32."""
        image = np.zeros((self.height * 2, self.width * 2), np.uint8)
        pixels = np.round((self.to_px(points) * 2 + 0.5) * 16).astype(np.int32)
        cv2.fillPoly(image, [pixels], 255, lineType=cv2.LINE_AA, shift=4)
        small = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255

    def strokes(self, lines: Floats, thickness: float) -> Floats:
        """Coverage in [0, 1] of polylines (k, points, 2) `thickness` units wide, antialiased."""
        image = np.zeros((self.height * 2, self.width * 2), np.uint8)
        pixels = np.round((self.to_px(lines) * 2 + 0.5) * 16).astype(np.int32)
        wide = max(1, round(thickness * self.scale * 2))
        cv2.polylines(image, list(pixels), False, 255, wide, lineType=cv2.LINE_AA, shift=4)
        small = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255 * min(1.0, thickness * self.scale * 2 / wide)


def hump(x: Floats, y: Floats, cx: float, cy: float, sx: float, sy: float) -> Floats:
    """Gaussian hump of height 1; separable, so cheap on open grids."""
    return np.exp(-0.5 * ((x - cx) / sx) ** 2) * np.exp(-0.5 * ((y - cy) / sy) ** 2)


def ramp(low: float | Floats, high: float | Floats, value: Floats) -> Floats:
    """Smooth step from 0 at low to 1 at high."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def blur(image: Floats, sigma_px: float) -> Floats:
    """Gaussian blur; nothing below a fifth of a pixel."""
    if sigma_px < 0.2:
        return image
    if sigma_px > 6:  # blur a smaller copy: the same within a grey level, much faster
        factor = sigma_px / 3
        size = (max(2, round(image.shape[1] / factor)), max(2, round(image.shape[0] / factor)))
        small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 3.0)
        return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(image, (0, 0), sigma_px)


def cloud(rng: np.random.Generator, height: int, width: int, grain_px: float) -> Floats:
    """Smooth noise of unit variance whose spots are about `grain_px` wide, (height, width) float32."""
    size = (int(height / grain_px) + 4, int(width / grain_px) + 4)
    small = rng.standard_normal(size, dtype=np.float32)
    full = (int(size[1] * grain_px) + 1, int(size[0] * grain_px) + 1)
    return cv2.resize(small, full, interpolation=cv2.INTER_CUBIC)[:height, :width] * 1.3


def fibres(rng: np.random.Generator, height: int, width: int, grain_px: float, stretch: float = 3.0) -> Floats:
    """Noise like `cloud` whose spots are `stretch` times taller than wide: short hairs."""
    long = cloud(rng, max(2, round(height / stretch)), width, grain_px)
    return f32(cv2.resize(long, (width, height), interpolation=cv2.INTER_CUBIC))


def smooth_curve(points: Floats, num: int, *, closed: bool = False) -> Floats:
    """Catmull-Rom curve through points (k, 2): (num, 2) float32."""
    points = np.asarray(points, np.float32)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
        segments = len(points)
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
        segments = len(points) - 1
    place = np.linspace(0, segments, num, endpoint=not closed)
    index = np.minimum(place.astype(int), segments - 1)
    t = (place - index)[:, None]
    p0, p1, p2, p3 = (padded[index + shift] for shift in range(4))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return f32(curve)


def over(below: Floats, color: Floats | tuple[float, ...], coverage: Floats) -> Floats:
    """Lay a colour (3,) or image (h, w, 3) over another with coverage (h, w)."""
    alpha = coverage[..., None]
    return below + (np.asarray(color, np.float32) - below) * alpha
