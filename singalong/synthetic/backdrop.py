"""What is behind people: gradients, lights out of focus, rooms, the open air. Nothing that looks like a face."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.grid import blur, cloud

BACKDROPS = ("gradient", "bokeh", "room", "outdoors", "studio")


def paint_backdrop(kind: str, width: int, height: int, *, seed: int) -> np.ndarray:
    """A backdrop, (height, width, 3) uint8 BGR."""
    rng = np.random.default_rng([seed, 121])
    image = {"gradient": _gradient, "bokeh": _bokeh, "room": _room, "outdoors": _outdoors, "studio": _studio}[kind](
        width, height, rng
    )
    grain = 0.008 * cloud(rng, height, width, 2.0)
    return (np.clip(image + grain[..., None], 0, 1) * 255 + 0.5).astype(np.uint8)


def _color(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Floats:
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb[::-1], np.float32)


def _axes(width: int, height: int) -> tuple[Floats, Floats]:
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    return x, y


def _gradient(width: int, height: int, rng: np.random.Generator) -> Floats:
    x, y = _axes(width, height)
    angle = rng.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    first, last = _color(rng, (0.1, 0.6), (0.2, 0.9)), _color(rng, (0.1, 0.6), (0.2, 0.9))
    return f32(first + (last - first) * share)


def _studio(width: int, height: int, rng: np.random.Generator) -> Floats:
    x, y = _axes(width, height)
    base = _color(rng, (0.0, 0.35), (0.3, 0.8))
    spot = np.exp(-(((x - rng.uniform(0.3, 0.7)) / 0.55) ** 2) - ((y - 0.4) / 0.6) ** 2)
    return base * (0.45 + 0.75 * spot)[..., None]


def _bokeh(width: int, height: int, rng: np.random.Generator) -> Floats:
    image = np.zeros((height, width, 3), np.float32) + _color(rng, (0.3, 0.7), (0.08, 0.25))
    side = max(width, height)
    for _ in range(int(rng.integers(14, 32))):
        layer = np.zeros((height, width), np.uint8)
        centre = (int(rng.uniform(0, width) * 16), int(rng.uniform(0, height) * 16))
        cv2.circle(layer, centre, int(side * rng.uniform(0.015, 0.06) * 16), 255, -1, cv2.LINE_AA, 4)
        image += (
            _color(rng, (0.2, 0.7), (0.15, 0.6)) * (layer.astype(np.float32) / 255)[..., None] * rng.uniform(0.3, 0.8)
        )
    return blur(np.clip(image, 0, 1), side * 0.004)


def _room(width: int, height: int, rng: np.random.Generator) -> Floats:
    _, y = _axes(width, height)
    wall = _color(rng, (0.05, 0.35), (0.5, 0.9))
    image = np.zeros((height, width, 3), np.float32) + wall * (1.05 - 0.25 * y)[..., None]
    for _ in range(int(rng.integers(2, 6))):
        left, top = rng.uniform(-0.1, 0.95) * width, rng.uniform(-0.1, 0.7) * height
        right, bottom = left + rng.uniform(0.1, 0.35) * width, top + rng.uniform(0.12, 0.5) * height
        frame = np.array([left, top, right, bottom]).astype(int)
        border = max(1, int(0.012 * width))
        dark, fill = _color(rng, (0.1, 0.5), (0.15, 0.5)), _color(rng, (0.1, 0.6), (0.3, 0.95))
        cv2.rectangle(image, frame[:2].tolist(), frame[2:].tolist(), dark.tolist(), -1)
        cv2.rectangle(image, (frame[:2] + border).tolist(), (frame[2:] - border).tolist(), fill.tolist(), -1)
    if rng.random() < 0.6:
        line = int(rng.uniform(0.72, 0.95) * height)
        image[line:] = _color(rng, (0.2, 0.5), (0.2, 0.5))
    return blur(image, max(width, height) * rng.uniform(0.006, 0.02))


def _outdoors(width: int, height: int, rng: np.random.Generator) -> Floats:
    x, y = _axes(width, height)
    sky = np.array(colorsys.hsv_to_rgb(rng.uniform(0.53, 0.62), rng.uniform(0.15, 0.5), 0.95)[::-1], np.float32)
    image = sky * (0.85 + 0.2 * y)[..., None] + np.zeros((height, width, 3), np.float32)
    clouds = np.clip(cloud(rng, height, width, max(3.0, width * 0.16)), 0, 1)
    image += (0.15 * clouds * (y < 0.6))[..., None]
    horizon = rng.uniform(0.45, 0.75) + 0.08 * np.interp(
        x[0], np.linspace(0, 1, 9), rng.standard_normal(9)
    ) * rng.uniform(0.2, 1)
    green = np.array(colorsys.hsv_to_rgb(rng.uniform(0.2, 0.38), rng.uniform(0.3, 0.6), 0.5)[::-1], np.float32)
    leaves = 1 + 0.25 * cloud(rng, height, width, max(2.0, width * 0.03))
    ground = np.clip((y - horizon) * 30 + 0.5, 0, 1)
    image += (green * (leaves * (0.55 + 0.5 * y))[..., None] - image) * ground[..., None]
    return blur(np.clip(image, 0, 1), max(width, height) * rng.uniform(0.006, 0.015))
