"""Skin, brows, beards and ears: what colour the bare head has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, cloud, fibres, hump, over, ramp


def skin_albedo(person: Identity, canvas: Canvas) -> Floats:
    """Linear BGR reflectance of the head with its beard but no brows, (h, w, 3) float32."""
    rng = np.random.default_rng([person.seed, 81])
    x, y = canvas.x, canvas.y
    side = np.abs(x)
    base = np.square(np.array(person.skin, np.float32))
    mottle = 1 + 0.035 * cloud(rng, canvas.height, canvas.width, max(2.0, 0.09 * canvas.scale))
    mottle = mottle * (1 + 0.022 * cloud(rng, canvas.height, canvas.width, max(1.5, 0.03 * canvas.scale)))
    pores = 1 + 0.04 * cloud(rng, canvas.height, canvas.width, max(1.2, 0.012 * canvas.scale))
    color = base * (mottle * pores)[..., None]
    flush = hump(side, y, 0.42, 0.18, 0.15, 0.13) + 0.9 * hump(x, y, 0, person.nose_tip_y, 0.12, 0.09)
    flush = (0.16 * person.redness * (flush + 0.4 * hump(x, y, 0, 0.9, 0.16, 0.08)))[..., None]
    color = color * (1 - flush * np.array([1.0, 0.9, 0.1], np.float32))
    tired = hump(side, y, person.eye_x - 0.02, person.eye_y + 0.09, 0.1, 0.04) * (0.12 + 0.2 * person.age)
    tired = tired + 0.12 * hump(side, y, person.eye_x - 0.12, person.eye_y - 0.02, 0.07, 0.07)
    color = color * (1 - tired[..., None] * np.array([0.7, 1.0, 0.9], np.float32))
    color = color * (1 - 0.75 * _nostrils(person, side, y))[..., None]
    if person.freckles:
        color = _freckle(color, person, canvas, rng)
    return f32(_beard(color, person, canvas, rng))


def _nostrils(person: Identity, side: Floats, y: Floats) -> Floats:
    spot = hump(side, y, person.nose_width * 0.5, person.nose_tip_y + 0.085, 0.034, 0.016)
    return np.asarray(np.clip(spot * 1.3, 0, 1))


def _freckle(color: Floats, person: Identity, canvas: Canvas, rng: np.random.Generator) -> Floats:
    spots = cloud(rng, canvas.height, canvas.width, max(2.0, 0.022 * canvas.scale))
    spots = ramp(1.1, 1.9, spots) * hump(np.abs(canvas.x), canvas.y, 0.3, 0.08, 0.25, 0.14)
    return color * (1 - 0.45 * person.freckles * spots[..., None] * np.array([1.0, 0.75, 0.45], np.float32))


def brow_cover(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of both brows: a tapered arch of short hairs that lean outwards."""
    rng = np.random.default_rng([person.seed, 82])
    num = 70
    part = np.sort(rng.uniform(-0.02, 0.98, num))
    rise = np.sin(np.clip(part, 0, 1) ** 1.1 * 2.6)
    middle = person.brow_y + 0.03 - (0.012 + 0.75 * person.brow_arch) * rise
    half = person.brow_thickness * (0.62 + 0.38 * np.cos(np.clip(part, 0, 1) * 2.2)) * 0.72
    start_x = person.eye_x - 0.2 + 0.4 * part
    start_y = middle + half * rng.uniform(-0.75, 1.0, num)
    length = half * rng.uniform(0.9, 1.6, num)
    lean = 0.35 + 0.9 * part + rng.normal(0, 0.15, num)
    ends = np.stack([start_x + length * np.sin(lean), start_y - length * np.cos(lean)], axis=1)
    starts = np.stack([start_x, start_y], axis=1)
    hairs = np.zeros((canvas.height, canvas.width), np.float32)
    for sign in (-1.0, 1.0):
        flip = np.array([sign, 1.0])
        lines = np.stack([starts * flip, ends * flip], axis=1)
        hairs = np.maximum(hairs, canvas.strokes(lines, 0.016))
    body = np.clip(blur(hairs, 0.02 * canvas.scale) * 1.25, 0, 1)
    return f32(np.clip(0.75 * body + 0.5 * hairs, 0, 0.95))


def _beard(color: Floats, person: Identity, canvas: Canvas, rng: np.random.Generator) -> Floats:
    if person.beard == "none":
        return color
    cover = beard_cover(person, canvas)
    grain = fibres(rng, canvas.height, canvas.width, max(1.3, 0.016 * canvas.scale))
    hair = np.square(np.array(person.hair, np.float32))
    if person.beard == "stubble":
        dots = cloud(rng, canvas.height, canvas.width, max(1.3, 0.015 * canvas.scale))
        return over(color, hair + 0.1 * color, np.clip(cover * (0.36 + 0.06 * grain + 0.07 * dots), 0, 0.6))
    locks = fibres(rng, canvas.height, canvas.width, max(2.0, 0.05 * canvas.scale))
    tone = np.clip(1 + 0.15 * grain + 0.1 * locks, 0.5, 1.6)[..., None]
    edge = np.clip(cover * 1.15 + 0.12 * grain * (cover < 0.9) * (cover > 0.05), 0, 0.97)
    return f32(color + (hair * tone - color) * edge[..., None])


def beard_cover(person: Identity, canvas: Canvas) -> Floats:
    """Where the beard grows, 0 to 1."""
    x, y = canvas.x, canvas.y
    side = np.abs(x)
    moustache_y = person.mouth_y - 0.115 + 0.16 * np.clip(side / 0.4, 0, 1) ** 2
    moustache = (1 - ramp(0.05, 0.09, np.abs(y - moustache_y))) * (1 - ramp(0.27, 0.36, side))
    chin = ramp(person.mouth_y + 0.1, person.mouth_y + 0.2, y + 0.35 * np.maximum(0, side - 0.14)) * (
        1 - ramp(0.24, 0.36, side)
    )
    line_y = 0.66 - 0.85 * ramp(0.36, 0.74, side)
    cheeks = ramp(line_y - 0.03, line_y + 0.1, y)
    bare = hump(x, y, 0.0, person.mouth_y + 0.02, 0.22, 0.085)
    if person.beard == "moustache":
        return f32(moustache)
    if person.beard == "goatee":
        link = (1 - ramp(0.04, 0.08, np.abs(side - 0.33))) * ramp(0.5, 0.58, y) * (1 - ramp(0.85, 0.9, y))
        return f32(np.clip(np.maximum(np.maximum(moustache, chin), link), 0, 1))
    cheeks = cheeks * (1 - ramp(person.face_width - 0.03, person.face_width + 0.01, side) * (y < 0.35))
    return f32(np.clip(np.maximum(moustache, cheeks) - 0.9 * bare, 0, 1))


def ears(person: Identity, canvas: Canvas) -> tuple[Floats, Floats]:
    """Coverage and heights of both ears, each (h, w); they lie behind the head's outline."""
    x, y = np.abs(canvas.x), canvas.y
    cx, cy = person.face_width + 0.015, 0.02
    lean = x - cx - 0.1 * (cy - y) * 0.6
    ring = np.sqrt((lean / 0.105) ** 2 + ((y - cy) / 0.235) ** 2)
    cover = np.clip((1 - ring) * 0.105 * canvas.scale + 0.5, 0, 1)
    bowl = np.exp(-0.5 * ((ring - 0.45) / 0.22) ** 2)
    return cover.astype(np.float32), (0.1 * np.sqrt(np.clip(1 - ring**2, 0, 1)) - 0.045 * bowl).astype(np.float32)


def earring_cover(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of a small round stud or drop under each ear."""
    x, y = np.abs(canvas.x), canvas.y
    ring = np.hypot(x - person.face_width - 0.02, y - 0.27) / 0.045
    return np.clip((1 - ring) * 0.045 * canvas.scale + 0.5, 0, 1).astype(np.float32)


def soften(image: Floats, scale: float) -> Floats:
    """Take the pixel edge off a texture."""
    return np.asarray(blur(image, 0.003 * scale), np.float32)


def layer(color: Floats, cover: Floats) -> NDArray[np.uint8]:
    """A layer (h, w, 4) uint8 of display-coded colours times their coverage, and the coverage."""
    coded = to_srgb(color) * cover[..., None]
    return (np.dstack([coded, cover]) * 255 + 0.5).astype(np.uint8)


def to_srgb(linear: Floats) -> Floats:
    """Linear to the square-root code used for display, clipped softly at white."""
    lifted = np.sqrt(np.maximum(linear, 0))
    return np.asarray(np.where(lifted > 0.8, 0.8 + 0.2 * np.tanh((lifted - 0.8) / 0.2), lifted), np.float32)
