"""Hair: where it grows, how it lies, how it shines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, cloud, hump, ramp
from singalong.synthetic.relief import base_height, face_outline, radial


@dataclass(frozen=True)
class _Cut:
    """A hair style: how far it stands off the skull, and how low it hangs at the sides (head units)."""

    volume: float
    side_y: float
    wave: float = 0.0
    back_width: float = 0.0
    back_y: float = 0.0
    side_in: float = 0.0


_CUTS = {
    "buzz": _Cut(0.025, -0.1),
    "receding": _Cut(0.05, -0.05),
    "short": _Cut(0.1, -0.05),
    "side_part": _Cut(0.13, -0.02),
    "fringe": _Cut(0.11, 0.0),
    "curly": _Cut(0.2, 0.12, wave=1.0, back_width=0.95, back_y=0.5),
    "afro": _Cut(0.38, 0.1, wave=1.0, back_width=1.0, back_y=0.35),
    "bob": _Cut(0.13, 0.72, back_width=0.92, back_y=0.85, side_in=0.06),
    "long": _Cut(0.12, 1.5, wave=0.3, back_width=0.95, back_y=1.8, side_in=0.05),
    "bun": _Cut(0.06, -0.05),
}


def hair_cover(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of the hair in front of the ears' plane, (h, w) float32."""
    cut = _CUTS.get(person.hair_style)
    if cut is None:
        return np.zeros((canvas.height, canvas.width), np.float32)
    rng = np.random.default_rng([person.seed, 91])
    grain = 0.09 if cut.wave > 0.5 else 0.03
    rough = cloud(rng, canvas.height, canvas.width, max(1.5, grain * canvas.scale))
    rough = rough * (0.05 if cut.wave > 0.5 else 0.012)
    outline = face_outline(person)
    outer = radial(outline, canvas, cut.volume)
    side, y = np.abs(canvas.x), canvas.y
    edge = canvas.scale * 0.9
    inside = np.clip((1 - outer + rough) * edge + 0.5, 0, 1)
    line = _hairline(person, cut, canvas) + 0.6 * rough
    above = np.clip((line - y) * edge * 0.7 + 0.5, 0, 1)
    hanging = np.clip((cut.side_y + 0.1 * rough / 0.012 * 0.1 - y) * edge * 0.5 + 0.5, 0, 1)
    cover = inside * above * np.where(y > -0.45, hanging, 1.0)
    if cut.side_y > 0.4:
        inner = person.face_width * (0.97 - cut.side_in - 0.1 * ramp(0.3, 1.0, y) + 0.03 * np.sin(y * 7 + person.seed))
        outer_x = person.face_width + cut.volume + 0.1 * ramp(0.0, 1.2, y)
        strip = np.clip((side - inner) * edge + 0.5, 0, 1) * np.clip((outer_x - side) * edge + 0.5, 0, 1)
        cover = np.maximum(cover, strip * hanging * ramp(-0.6, -0.4, y))
    if person.hair_style == "bun":
        knot = np.hypot(canvas.x / 0.3, (y - person.skull_top - 0.02) / 0.26)
        cover = np.maximum(cover, np.clip((1 - knot + rough) * edge * 0.25 + 0.5, 0, 1))
    density = 0.78 if person.hair_style == "buzz" else 1.0
    return (cover * density).astype(np.float32)


def _hairline(person: Identity, cut: _Cut, canvas: Canvas) -> Floats:
    """The height above which hair grows, for each column (1, w), and per row at the temples."""
    x = canvas.x
    side = np.abs(x)
    style = person.hair_style
    middle: Floats = f32(person.hairline)
    if style == "receding":
        peak = 0.28 * np.exp(-0.5 * ((side - 0.36) / 0.16) ** 2)
        middle = middle - 0.12 - peak
    elif style == "fringe":
        strands = np.sin(x * 37 + person.seed) * 0.012 + np.sin(x * 17 + 2 * person.seed) * 0.012
        middle = -0.6 + 0.05 * (x / 0.5) ** 2 + strands
    elif style == "side_part":
        part = -0.3 if person.seed % 2 else 0.3
        middle = middle + 0.12 * np.clip((x - part) * np.sign(-part), 0, 0.6) * 1.6
    elif style in ("bob", "long"):
        middle = middle - 0.08 * np.exp(-0.5 * (x / 0.08) ** 2) + 0.25 * (side / 0.6) ** 2
    else:
        middle = middle + 0.07 * (side / 0.5) ** 2
    temple = ramp(0.5, 0.66, side)
    low = 0.25 if cut.side_y <= 0.4 else 2.0
    return np.asarray(middle + (low - middle) * temple)


def hair_height(person: Identity, canvas: Canvas, cover: Floats) -> Floats:
    """Height of the hair's surface, (h, w): the skull grown by the style's volume, with strands or curls."""
    cut = _CUTS.get(person.hair_style, _Cut(0.0, 0.0))
    body = base_height(radial(face_outline(person), canvas, cut.volume + 0.02)) + 0.6 * cut.volume
    return (body + blur(cover, 0.02 * canvas.scale) * 0.05 + _strands(person, canvas, cut) * 0.6).astype(np.float32)


def _strands(person: Identity, canvas: Canvas, cut: _Cut) -> Floats:
    """Relief of single strands (combed from the parting down) or of curls."""
    rng = np.random.default_rng([person.seed, 92])
    if cut.wave > 0.5:
        curls = cloud(rng, canvas.height, canvas.width, max(2.0, 0.07 * canvas.scale))
        fine = cloud(rng, canvas.height, canvas.width, max(1.5, 0.03 * canvas.scale))
        return 0.032 * curls + 0.014 * fine
    if person.hair_style == "buzz":
        return 0.004 * cloud(rng, canvas.height, canvas.width, max(1.3, 0.014 * canvas.scale))
    part_x = {"side_part": -0.3 if person.seed % 2 else 0.3, "bun": 0.0}.get(person.hair_style, 0.05)
    top = person.skull_top + (0.6 if person.hair_style in ("short", "receding", "fringe") else 0.1)
    angle = np.arctan2(canvas.x - part_x, np.maximum(canvas.y - top, -2) + 0.35)
    hang = canvas.x * 1.6 + 0.05 * np.sin(canvas.y * 6 + person.seed) * (1 + 3 * cut.wave)
    flow = np.where(canvas.y < -0.5, angle, angle + (hang - angle) * ramp(-0.5, 0.1, canvas.y))
    lines = np.zeros_like(flow)
    for wide, depth in ((0.11, 0.016), (0.035, 0.008)):
        table = rng.standard_normal(512).astype(np.float32)
        place = (flow + 4) / wide
        index = np.floor(place).astype(int)
        share = place - index
        share = share * share * (3 - 2 * share)
        lines += depth * (table[index % 512] * (1 - share) + table[(index + 1) % 512] * share)
    return lines


def hair_albedo(person: Identity, canvas: Canvas) -> Floats:
    """Linear BGR of the hair, (h, w, 3): strands of slightly different colour, darker at the roots and underneath."""
    rng = np.random.default_rng([person.seed, 93])
    cut = _CUTS.get(person.hair_style, _Cut(0.0, 0.0))
    base = np.square(np.array(person.hair, np.float32))
    tint = 1 + 9.0 * _strands(person, canvas, cut)
    tint = tint * (1 + 0.06 * cloud(rng, canvas.height, canvas.width, max(2.0, 0.15 * canvas.scale)))
    under = 1 - 0.35 * ramp(-0.3, 0.8, canvas.y)
    return (base * np.clip(tint * under, 0.3, 2.2)[..., None]).astype(np.float32)


def hair_shine(person: Identity, canvas: Canvas) -> Floats:
    """The band of light over smooth hair, (h, w)."""
    cut = _CUTS.get(person.hair_style, _Cut(0.0, 0.0))
    if cut.wave > 0.5 or person.hair_style in ("buzz", "bald"):
        return np.zeros((canvas.height, canvas.width), np.float32)
    band = np.exp(-0.5 * ((canvas.y - person.skull_top - 0.3 - 0.35 * canvas.x**2) / 0.1) ** 2)
    lower = 0.5 * hump(np.abs(canvas.x), canvas.y, person.face_width, 0.1, 0.2, 0.15)
    return (np.clip(0.5 + 22 * _strands(person, canvas, cut), 0, 1.4) * (band + lower)).astype(np.float32)


def back_hair(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of the hair behind the neck, (h, w)."""
    cut = _CUTS.get(person.hair_style)
    if cut is None or cut.back_width == 0:
        return np.zeros((canvas.height, canvas.width), np.float32)
    rng = np.random.default_rng([person.seed, 94])
    rough = cloud(rng, canvas.height, canvas.width, max(2.0, 0.1 * canvas.scale)) * (0.06 if cut.wave > 0.5 else 0.02)
    half = cut.back_width * (0.95 + 0.08 * np.sin(canvas.y * 3 + person.seed))
    half = half * np.sqrt(np.clip(1 - np.clip((canvas.y - cut.back_y + 0.3) / 0.32, 0, 1) ** 2, 0, 1))
    cover = np.clip((half - np.abs(canvas.x) + rough) * canvas.scale + 0.5, 0, 1) * ramp(-0.75, -0.45, canvas.y)
    return f32(cover)
