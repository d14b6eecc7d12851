"""Hair: where it grows, how it lies, how it shines.

Hair in front is what lies within an outer outline (the skull's, grown by the style) but outside a window, the opening
in which the face shows. Both are polygons in head units whose edges are frayed like strands.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, cloud, hump, ramp, smooth_curve
from singalong.synthetic.relief import base_height, face_outline, radial


@dataclass(frozen=True)
class Cut:
    """A hair style, head units.

    top, side: how far it stands off the skull; down_y: where it ends at the sides; curl: 0 straight, 1 curly; fray:
    raggedness of its edges; comb: the point (x, y) that its strands run away from; back: half-width and end of the
    hair behind the neck, if any.
    """

    top: float
    side: float
    down_y: float
    curl: float = 0.0
    fray: float = 0.008
    comb: tuple[float, float] = (0.0, -0.2)
    back: tuple[float, float] | None = None

    @property
    def hangs(self) -> bool:
        """Whether the hair falls down beside the face."""
        return self.down_y > 0.4 and self.curl < 0.5


_CUTS = {
    "buzz": Cut(0.02, 0.015, 0.0, fray=0.003),
    "receding": Cut(0.06, 0.045, 0.05),
    "short": Cut(0.12, 0.05, 0.02, fray=0.014),
    "side_part": Cut(0.15, 0.07, 0.03),
    "fringe": Cut(0.13, 0.08, 0.1, fray=0.012, comb=(0.0, -2.0)),
    "curly": Cut(0.2, 0.22, 0.55, curl=1.0, fray=0.03, back=(0.84, 0.5)),
    "afro": Cut(0.36, 0.4, 0.5, curl=1.0, fray=0.02, back=(0.9, 0.4)),
    "bob": Cut(0.12, 0.13, 0.8, comb=(0.0, -0.95), back=(0.84, 0.85)),
    "long": Cut(0.12, 0.13, 1.42, comb=(0.0, -0.95), back=(0.86, 1.9)),
    "bun": Cut(0.05, 0.03, 0.0, comb=(0.0, 0.1)),
}


def hair_cover(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of the hair in front, (h, w) float32."""
    cut = _CUTS.get(person.hair_style)
    if cut is None:
        return np.zeros((canvas.height, canvas.width), np.float32)
    rng = np.random.default_rng([person.seed, 91])
    cover = canvas.fill(_frayed(_outer(person, cut), cut, rng)) - canvas.fill(_frayed(_window(person, cut), cut, rng))
    if person.hair_style == "bun":
        turn = np.linspace(0, 2 * np.pi, 60)
        knot = np.stack([0.27 * np.cos(turn), person.skull_top - 0.1 + 0.2 * np.sin(turn)], axis=1)
        cover = np.maximum(cover, canvas.fill(_frayed(knot, cut, rng)))
    cover = np.clip(cover, 0, 1)
    if person.hair_style == "buzz":  # shorn: the skin shines through, and the hairline is soft
        return f32(0.78 * np.minimum(blur(cover, 0.03 * canvas.scale) * 1.1, canvas.fill(_outer(person, cut))))
    return blur(cover, 0.006 * canvas.scale)


def _outer(person: Identity, cut: Cut) -> Floats:
    """Outline of all hair in front: the skull's grown, cut off at down_y or hanging down past the jaw."""
    if cut.curl > 0.5:
        top, wide = person.skull_top - cut.top, person.face_width + cut.side
        turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
        half = (cut.down_y - top) / 2
        return f32(np.stack([wide * np.sin(turn), top + half - half * np.cos(turn)], axis=1))
    skull = face_outline(person, 240)
    middle = np.array([0.0, -0.3], np.float32)
    away = skull - middle
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    taper = 0.25 + 0.75 * ramp(cut.down_y + 0.05, cut.down_y - 0.5, skull[:, 1])
    grow = (cut.side + (cut.top - cut.side) * ramp(-0.2, -1.0, skull[:, 1])) * taper
    grown = skull + away * grow[:, None]
    right = grown[(grown[:, 1] < min(cut.down_y, 0.1)) & (grown[:, 0] >= 0)]
    right = right[np.argsort(-right[:, 1])]
    if cut.hangs:
        wide, end = person.face_width + cut.side, cut.down_y
        flare = 0.1 if end > 1 else 0.03
        falls = [(0.3, end), (wide * 0.75, end + 0.02), (wide + flare, end - 0.06), (wide + 0.8 * flare, 0.6 * end)]
        right = np.concatenate([smooth_curve(np.array([*falls, (wide + 0.02, 0.15)]), 60), right])
    else:
        right = np.concatenate([[(0.0, cut.down_y)], right])
    return f32(np.concatenate([right, right[::-1] * [-1, 1]]))


def _window(person: Identity, cut: Cut) -> Floats:
    """The opening that shows the face, open at the bottom."""
    wide, line = person.face_width, person.hairline
    if cut.hangs:
        part = 0.0 if person.seed % 3 else 0.16
        sides = [(wide * 0.86, 3.0), (wide * 0.84, 0.9), (wide * 0.95, 0.35), (wide * 0.95, -0.2), (wide * 0.8, -0.56)]
        right = [*sides, (0.33, line + 0.04), (0.1 + part, line - 0.07)]
        left = [(-x, y) for x, y in [*sides, (0.33, line + 0.04)]]
        return smooth_curve(np.array(right + left[::-1]), 220)
    low = 0.08 if cut.curl > 0.5 else cut.down_y
    burn = [(2.5, 3.0), (2.5, low + 0.02), (wide + 0.03, low + 0.02), (wide * 0.95, low), (wide * 0.93, low - 0.2)]
    temple = [(wide * 0.93, -0.4), (wide * 0.83, -0.55)]
    top = {
        "fringe": [(wide * 0.8, -0.61), (0.3, -0.66), (0.0, -0.64), (-0.3, -0.66), (-wide * 0.8, -0.61)],
        "receding": [(0.52, -0.95), (0.34, -1.05), (0.0, line - 0.12), (-0.34, -1.05), (-0.52, -0.95)],
        "side_part": [(0.45, line + 0.08), (0.1, line + 0.01), (-0.3, line - 0.12), (-0.42, line + 0.02)],
    }.get(person.hair_style, [(0.46, line + 0.1), (0.24, line), (0.0, line - 0.02), (-0.24, line), (-0.46, line + 0.1)])
    if person.hair_style == "side_part" and person.seed % 2:
        top = [(-x, y) for x, y in top[::-1]]
    left = [(-x, y) for x, y in burn + temple]
    return smooth_curve(np.array(burn + temple + top + left[::-1]), 300)


def _frayed(outline: Floats, cut: Cut, rng: np.random.Generator) -> Floats:
    """The outline with its edge roughened at two sizes."""
    step = np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1)
    along = np.cumsum(step)
    dense = np.linspace(0, along[-1], max(120, int(along[-1] / 0.012)))
    points = np.stack([np.interp(dense, along, outline[:, axis]) for axis in (0, 1)], axis=1)
    middle = np.array([0.0, -0.3])
    away = points - middle
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-3)
    coarse = np.interp(
        dense, np.arange(0, along[-1] + 0.2, 0.1), rng.standard_normal(len(np.arange(0, along[-1] + 0.2, 0.1)))
    )
    fine = rng.standard_normal(len(dense))
    jitter = cut.fray * (0.5 * fine + coarse * (1.0 if cut.curl > 0.5 else 0.6))
    return f32(points + away * jitter[:, None])


def strands(person: Identity, canvas: Canvas) -> Floats:
    """Relief of the hair's strands or curls, about -1 to 1, (h, w) float32."""
    cut = _CUTS[person.hair_style]
    rng = np.random.default_rng([person.seed, 92])
    if person.hair_style == "buzz":
        return cloud(rng, canvas.height, canvas.width, max(1.3, 0.016 * canvas.scale)) * 0.4
    if cut.curl > 0.5:
        return _curls(canvas, rng)
    x = canvas.x + 0.02 * cloud(rng, canvas.height, canvas.width, max(2.0, 0.25 * canvas.scale))
    comb_x, comb_y = cut.comb
    if person.hair_style == "side_part":
        comb_x, comb_y = (0.55 if person.seed % 2 else -0.55), -0.5
    angle = np.arctan2(x - comb_x, comb_y - canvas.y) if comb_y > -0.5 else np.arctan2(x - comb_x, canvas.y - comb_y)
    hang = x * 1.5 + 0.04 * np.sin(canvas.y * 5 + person.seed)
    flow = angle + (hang - angle) * ramp(-0.45, 0.15, canvas.y) if cut.hangs else angle
    lines = np.zeros_like(flow)
    for wide, depth in ((0.16, 0.35), (0.06, 0.4), (0.022, 0.35)):
        table = rng.standard_normal(1024).astype(np.float32)
        place = (flow + 4) / wide
        index = np.floor(place).astype(int)
        share = place - index
        share = share * share * (3 - 2 * share)
        lines += depth * (table[index % 1024] * (1 - share) + table[(index + 1) % 1024] * share)
    return f32(lines)


def _curls(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Many small arcs, light over dark."""
    image = np.zeros((canvas.height, canvas.width), np.float32)
    num = 900
    centres = rng.uniform(0, 1, (num, 2)) * [canvas.width, canvas.height * 0.75]
    sizes = rng.uniform(0.035, 0.075, num) * canvas.scale
    for index in range(num):
        bright = -0.9 if index % 2 else 0.9
        start = float(rng.uniform(0, 360))
        centre = tuple(int(value * 16) for value in centres[index])
        radius = (int(sizes[index] * 16), int(sizes[index] * rng.uniform(0.5, 1.0) * 16))
        cv2.ellipse(image, centre, radius, start, 0, float(rng.uniform(120, 260)), bright,
                    max(1, round(0.022 * canvas.scale)), cv2.LINE_8, 4)  # fmt: skip
    return blur(image, 0.012 * canvas.scale)


def hair_height(person: Identity, canvas: Canvas, cover: Floats, relief: Floats) -> Floats:
    """Height of the hair's surface, (h, w): the skull grown by the style, and the strands on it."""
    cut = _CUTS[person.hair_style]
    grow = 0.5 * (cut.top + cut.side)
    body = base_height(radial(face_outline(person), canvas, grow + 0.03)) + 0.5 * grow
    depth = {"buzz": 0.006}.get(person.hair_style, 0.022 if cut.curl > 0.5 else 0.012)
    return f32(body + blur(cover, 0.03 * canvas.scale) * 0.06 + relief * depth)


def hair_albedo(person: Identity, canvas: Canvas, relief: Floats) -> Floats:
    """Linear BGR of the hair, (h, w, 3): strands of slightly different colour, darker underneath."""
    rng = np.random.default_rng([person.seed, 93])
    base = np.square(np.array(person.hair, np.float32))
    tint = 1 + 0.22 * relief + 0.05 * cloud(rng, canvas.height, canvas.width, max(2.0, 0.2 * canvas.scale))
    under = 1 - 0.4 * ramp(-0.4, 0.9, canvas.y)
    return f32(base * np.clip(tint * under, 0.3, 2.0)[..., None])


def hair_shine(person: Identity, canvas: Canvas, relief: Floats) -> Floats:
    """The band of light over smooth hair, (h, w)."""
    cut = _CUTS[person.hair_style]
    if cut.curl > 0.5 or person.hair_style == "buzz":
        return np.zeros((canvas.height, canvas.width), np.float32)
    band = np.exp(-0.5 * ((canvas.y - person.skull_top - 0.22 - 0.4 * canvas.x**2) / 0.09) ** 2)
    lower = 0.5 * hump(np.abs(canvas.x), canvas.y, person.face_width, 0.05, 0.2, 0.13) * cut.hangs
    return f32(np.clip(0.55 + 0.6 * relief, 0, 1.4) * (band + lower))


def back_hair(person: Identity, canvas: Canvas) -> Floats:
    """Coverage of the hair behind the neck, (h, w)."""
    cut = _CUTS.get(person.hair_style)
    if cut is None or cut.back is None:
        return np.zeros((canvas.height, canvas.width), np.float32)
    rng = np.random.default_rng([person.seed, 94])
    half, end = cut.back
    half = half * person.face_width / 0.75
    right = [(half * 0.6, -0.9), (half, -0.3), (half * 1.04, 0.3 * end), (half * 1.02, 0.75 * end), (half * 0.7, end)]
    points = np.array(right + [(-x, y) for x, y in right[::-1]])
    return canvas.fill(_frayed(smooth_curve(points, 160, closed=True), cut, rng))
