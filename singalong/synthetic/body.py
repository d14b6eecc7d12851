"""Neck, shoulders and clothes: painted once, then shifted a little with the head."""

from __future__ import annotations

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, fibres, over, ramp, smooth_curve
from singalong.synthetic.relief import Light, shade
from singalong.synthetic.skin import layer


def paint_body(person: Identity, light: Light, scale: float, bottom: float) -> tuple[Canvas, np.ndarray]:
    """Body down to y = `bottom`: its canvas and (h, w, 4) uint8 BGR times coverage, and coverage."""
    canvas = Canvas(-2.5, 0.35, 2.5, max(bottom, 1.6), scale)
    x, y = canvas.x, canvas.y
    neck_half = (0.4 - 0.06 * person.feminine) * person.face_width / 0.72
    shoulder = 1.9 - 0.25 * person.feminine
    half = _half_width(y, neck_half, shoulder)
    cover = np.clip((half - np.abs(x)) * scale + 0.5, 0, 1).astype(np.float32)
    ratio = np.clip(np.abs(x) / np.maximum(half, 0.01), 0, 1)
    height = 0.45 * half**0.5 * np.sqrt(np.maximum(0, 1 - ratio**2.4))
    height = height - 0.03 * np.exp(-0.5 * ((np.abs(x) - 0.11 - 0.25 * (1.35 - y)) / 0.035) ** 2) * ramp(1.5, 1.2, y)
    fabric = _fabric_cover(person, canvas)
    rng = np.random.default_rng([person.seed, 111])
    creases = fibres(rng, canvas.height, canvas.width, max(3.0, 0.25 * scale)) * 0.016
    sleeve = 0.1 * np.exp(-0.5 * ((np.abs(x) - 0.74 * shoulder + 0.03 * (y - 2.6)) / 0.045) ** 2) * ramp(2.0, 2.9, y)
    height = height + fabric * (0.05 + creases * ramp(1.5, 2.4, y) - sleeve)
    glow, gloss = shade(height.astype(np.float32), light, scale, seed=person.seed + 2)
    skin = np.square(np.array(person.skin, np.float32)) * glow + (0.02 * gloss)[..., None]
    color = over(skin, _fabric_color(person, canvas) * glow, fabric)
    chin = 1 - 0.62 * (1 - ramp(0.95, 1.45, y - 0.12 * np.abs(x))) * (1 - 0.5 * ramp(0.5, 0.9, np.abs(x)))
    color = color * np.clip(chin, 0, 1)[..., None]
    return canvas, layer(color, cover)


def _half_width(y: Floats, neck: float, shoulder: float) -> Floats:
    right = [
        (neck * 1.02, 0.1), (neck, 0.7), (neck, 1.0), (neck * 1.1, 1.2), (neck * 1.6, 1.37), (shoulder * 0.7, 1.52),
        (shoulder * 0.9, 1.68), (shoulder, 1.95), (shoulder * 1.05, 2.4), (shoulder * 1.07, 3.2),
        (shoulder * 1.08, 4.4), (shoulder * 1.08, 5.8), (shoulder * 1.08, 7.4),
    ]  # fmt: skip
    curve = smooth_curve(np.array(right), 300)
    return f32(np.interp(y, curve[:, 1], curve[:, 0]))


def _fabric_cover(person: Identity, canvas: Canvas) -> Floats:
    x, y = np.abs(canvas.x), canvas.y
    collar = {
        "crew": 1.5 - 0.55 * x**2,
        "stripes": 1.55 - 0.6 * x**2,
        "v_neck": 1.95 - 1.3 * x,
        "shirt": 1.62 - 0.95 * x,
        "suit": 1.55 - 0.8 * x,
        "turtleneck": 1.16 + 0.05 * x,
    }[person.clothes]
    line = np.maximum(collar, 1.12 + 0.0 * x)
    return np.clip((y - line) * canvas.scale + 0.5, 0, 1).astype(np.float32)


def _fabric_color(person: Identity, canvas: Canvas) -> Floats:
    """Linear BGR of the clothes, (h, w, 3)."""
    x, y = np.abs(canvas.x), canvas.y
    main = np.square(np.array(person.cloth, np.float32)) * 0.9
    second = np.square(np.array(person.cloth_2, np.float32)) * 0.9
    color = np.broadcast_to(main, (canvas.height, canvas.width, 3)).copy()
    edge = canvas.scale
    if person.clothes == "stripes":
        wave = np.sin(y * 22 + 1.2 * x**2)
        color = over(color, second, np.clip(wave * edge * 0.04 + 0.5, 0, 1) + 0 * x)
    elif person.clothes == "shirt":
        flap = np.clip((0.2 - np.abs(x - 0.36 + 0.55 * (y - 1.4))) * edge * 0.6 + 0.5, 0, 1) * (y < 1.85)
        color = over(color, main * 1.25, flap)
        color = over(color, main * 0.5, 0.6 * np.clip((0.012 - np.abs(x - 0.02)) * edge + 0.5, 0, 1) * (y > 1.6))
    elif person.clothes == "suit":
        white = np.array([0.8, 0.82, 0.82], np.float32)
        color = over(color * 0.35, white, np.clip((0.62 - 0.28 * (y - 1.2) - x) * edge + 0.5, 0, 1))
        tie = np.clip((0.085 + 0.03 * (y - 1.6) - x) * edge + 0.5, 0, 1) * (y > 1.52)
        color = over(color, second * 0.7, tie)
    elif person.clothes in ("crew", "v_neck", "turtleneck"):
        seam = {"crew": 1.5 - 0.55 * x**2, "v_neck": 1.95 - 1.3 * x, "turtleneck": 1.45 + 0.05 * x}[person.clothes]
        rib = np.exp(-0.5 * ((y - np.maximum(seam, 1.14) - 0.07) / 0.012) ** 2)
        color = color * (1 - 0.35 * rib * (1 - ramp(0.45, 0.7, x)))[..., None]
    return np.asarray(blur(color, 0.006 * canvas.scale))
