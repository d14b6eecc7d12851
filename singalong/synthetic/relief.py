"""The head as a landscape of heights, and the light that falls on it.

Everything a camera and a face detector know a face by - nose, eye sockets, cheekbones, folds, chin - is height here,
in head units towards the camera; one lamp, a dimmer fill and the sky then shade it, with cast shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, cloud, hump, ramp, smooth_curve

_DEPTH = 0.72
_CENTRE_Y = -0.15


@dataclass(frozen=True)
class Light:
    """Where the light comes from. azimuth: radians, + from the picture's right; colours are linear BGR gains."""

    azimuth: float = -0.5
    elevation: float = 0.6
    key: tuple[float, float, float] = (0.95, 1.0, 1.04)
    fill: tuple[float, float, float] = (0.3, 0.28, 0.26)
    hardness: float = 0.7

    @classmethod
    def from_seed(cls, seed: int) -> Light:
        """A random light: from above, of one side or the other, warm or cool."""
        rng = np.random.default_rng([seed, 71])
        warmth = rng.uniform(-0.1, 0.12)
        strength = rng.uniform(0.85, 1.1)
        key = (strength * (1 - warmth), strength, strength * (1 + warmth))
        ambient = rng.uniform(0.26, 0.42)
        cool = rng.uniform(-0.06, 0.06)
        return cls(
            azimuth=float(rng.uniform(0.2, 0.95) * rng.choice([-1, 1])),
            elevation=float(rng.uniform(0.35, 0.95)),
            key=key,
            fill=(ambient * (1 + cool), ambient, ambient * (1 - cool)),
            hardness=float(rng.uniform(0.45, 0.9)),
        )

    @property
    def direction(self) -> Floats:
        """Unit vector to the lamp: x right, y down, z to the camera."""
        flat = np.cos(self.elevation)
        vector = [np.sin(self.azimuth) * flat, -np.sin(self.elevation), np.cos(self.azimuth) * flat]
        return np.array(vector, np.float32)


def face_outline(person: Identity, num: int = 200) -> Floats:
    """Closed outline of the bare head, (num, 2) head units."""
    wide, jaw, chin = person.face_width, person.jaw_width, person.chin_width
    dome = -0.3 - person.skull_top
    right = [
        (0.0, 1.0), (chin, 0.955), (jaw * 0.86, 0.74), (jaw * 1.08, 0.45), (wide * 0.97, 0.1), (wide, -0.3),
        (wide * 0.9, -0.3 - 0.47 * dome), (wide * 0.55, -0.3 - 0.86 * dome), (0.0, person.skull_top),
    ]  # fmt: skip
    left = [(-x, y) for x, y in right[-2:0:-1]]
    return smooth_curve(np.array(right + left), num, closed=True)


def radial(outline: Floats, canvas: Canvas, grow: float = 0.0) -> Floats:
    """How far out each pixel lies: 0 at the head's middle, 1 on its outline (grown by `grow` units)."""
    offset = outline - [0.0, _CENTRE_Y]
    angle = np.arctan2(offset[:, 0], offset[:, 1])
    radius = np.hypot(offset[:, 0], offset[:, 1]) + grow
    order = np.argsort(angle)
    angle, radius = angle[order], radius[order]
    angle = np.concatenate([angle[-1:] - 2 * np.pi, angle, angle[:1] + 2 * np.pi])
    radius = np.concatenate([radius[-1:], radius, radius[:1]])
    here = np.arctan2(canvas.x, canvas.y - np.float32(_CENTRE_Y))
    table = np.interp(np.linspace(-np.pi, np.pi, 721), angle, radius).astype(np.float32)
    place = ((here + np.pi) * (720 / (2 * np.pi))).astype(np.float32)
    at = cv2.remap(table[None], place, np.zeros_like(place), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.hypot(canvas.x, canvas.y - np.float32(_CENTRE_Y)) / at


def base_height(ratio: Floats) -> Floats:
    """The bare egg: depth of the head where `ratio` is from `radial`."""
    return np.float32(_DEPTH) * np.sqrt(np.maximum(0, 1 - np.minimum(ratio, 1) ** 2.3)).astype(np.float32)


def face_height(person: Identity, canvas: Canvas, ratio: Floats) -> Floats:
    """Heights of the whole bare face, (h, w) float32."""
    x, y = canvas.x, canvas.y
    side = np.abs(x)
    height = base_height(ratio) + _nose(person, x, y) + _brows_and_eyes(person, side, y)
    height += 0.055 * hump(side, y, 0.43, 0.1, 0.15, 0.13)
    height -= (0.008 + 0.035 * person.age) * hump(side, y, 0.5, 0.42, 0.12, 0.2)
    height -= 0.04 * hump(side, y, 0.7, -0.45, 0.1, 0.2)
    height += 0.06 * hump(x, y, 0.0, person.mouth_y - 0.01, 0.26, 0.17)
    height -= 0.018 * hump(x, y, 0.0, person.mouth_y - 0.16, 0.028, 0.06)
    height -= 0.05 * hump(x, y, 0.0, person.mouth_y + 0.185, 0.17, 0.045)
    height += 0.075 * hump(x, y, 0.0, 0.88, 0.15, 0.09)
    return (height - _lines(person, side, x, y)).astype(np.float32)


def _nose(person: Identity, x: Floats, y: Floats) -> Floats:
    tip, wide = person.nose_tip_y, person.nose_width
    along = np.clip((y + 0.28) / (tip + 0.28), 0, 1)
    rise = (0.05 + 0.21 * along**1.45) * ramp(-0.42, -0.2, y) * (1 - ramp(tip + 0.01, tip + 0.11, y))
    ridge = rise * np.exp(-0.5 * (x / (0.055 + 0.45 * wide * along**2 * 0.75)) ** 2)
    side = np.abs(x)
    ball = 0.07 * hump(x, y, 0.0, tip, 0.07, 0.055)
    wings = 0.085 * hump(side, y, wide * 0.78, tip + 0.045, 0.042, 0.05)
    return f32(person.nose_height * (ridge + ball + wings))


def _brows_and_eyes(person: Identity, side: Floats, y: Floats) -> Floats:
    brow = 0.05 * (1.15 - 0.4 * person.feminine)
    out = brow * hump(side, y, person.eye_x, person.brow_y + 0.02, 0.17, 0.055)
    out -= 0.19 * hump(side, y, person.eye_x - 0.06, person.eye_y - 0.03, 0.15, 0.085)
    out += 0.045 * hump(side, y, person.eye_x, person.eye_y, 0.09, 0.07)
    return out - (0.008 + 0.02 * person.age) * hump(side, y, person.eye_x - 0.01, person.eye_y + 0.12, 0.1, 0.022)


def fold(person: Identity, side: Floats, y: Floats) -> Floats:
    """The fold from the nose's wing to beside the mouth's corner, strength 0 to 1."""
    part = np.clip((y - person.nose_tip_y - 0.02) / 0.36, 0, 1)
    line_x = person.nose_width + 0.03 + (person.mouth_width + 0.09 - person.nose_width - 0.03) * part**1.2
    strength = ramp(person.nose_tip_y - 0.02, person.nose_tip_y + 0.08, y) * (1 - ramp(0.56, 0.74, y))
    return f32(strength * np.exp(-0.5 * ((side - line_x) / 0.03) ** 2))


def _lines(person: Identity, side: Floats, x: Floats, y: Floats) -> Floats:
    """Depth of folds and of the lines that age draws."""
    depth = (0.006 + 0.03 * person.age) * fold(person, side, y)
    if person.age < 0.3:
        return depth
    rng = np.random.default_rng([person.seed, 72])
    worn = 0.014 * (person.age - 0.3)
    for level in range(3):
        at = -0.5 - 0.085 * level + 0.025 * np.cos(x * rng.uniform(3, 6) + rng.uniform(0, 6))
        depth = depth + worn * np.exp(-0.5 * ((y - at) / 0.011) ** 2) * (1 - ramp(0.25, 0.5, side))
    crow = np.exp(-0.5 * (np.mod((y - person.eye_y) * 1.0 + 0.35 * (side - 0.5), 0.05) / 0.008 - 3) ** 2)
    return depth + 0.8 * worn * crow * hump(side, y, person.eye_x + 0.21, person.eye_y, 0.04, 0.06)


def shade(height: Floats, light: Light, scale: float, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Light that arrives at each pixel and the gloss it throws back.

    height: (h, w) head units. Returns linear BGR (h, w, 3) to multiply a linear albedo by, and gloss (h, w).
    """
    height = blur(height, 0.008 * scale)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=scale / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=scale / 8)
    norm = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    lamp = light.direction
    facing = (lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) * norm
    hollow = np.clip(1 + 3.2 * (height - blur(height, 0.085 * scale)), 0.35, 1.2)
    hollow *= np.clip(1 + 1.3 * (height - blur(height, 0.22 * scale)), 0.5, 1.15)
    lit = cast_shadow(height, lamp, scale)
    lit = 1 - light.hardness * (1 - lit)
    sky = 0.75 - 0.25 * slope_y * norm
    red_wrap = np.array([0.12, 0.16, 0.26], np.float32)  # skin lets red light through: softer red shadows
    key = np.clip((facing[..., None] + red_wrap) / (1 + red_wrap), 0, None) * lit[..., None]
    total = key * np.array(light.key, np.float32) + (sky * hollow)[..., None] * np.array(light.fill, np.float32)
    half = lamp + np.array([0, 0, 1], np.float32)
    half = half / np.linalg.norm(half)
    mirror = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) * norm, 0, 1)
    rng = np.random.default_rng([seed, 73])
    pores = 1 + 0.12 * cloud(rng, height.shape[0], height.shape[1], max(1.5, 0.012 * scale))
    gloss = (0.75 * mirror**14 + 0.5 * mirror**50) * lit * pores
    return (total * hollow[..., None]).astype(np.float32), gloss.astype(np.float32)


def cast_shadow(height: Floats, lamp: Floats, scale: float) -> Floats:
    """Share of the lamp that reaches each pixel past what stands in its way, (h, w) in [0, 1]."""
    reach = 0.42
    factor = min(1.0, 40.0 / scale)
    size = (max(2, round(height.shape[1] * factor)), max(2, round(height.shape[0] * factor)))
    small = cv2.resize(height, size, interpolation=cv2.INTER_AREA)
    worst = np.zeros_like(small)
    steps = 12
    for step in range(1, steps + 1):
        far = reach * step / steps
        move = np.array([[1, 0, lamp[0] * far * scale * factor], [0, 1, lamp[1] * far * scale * factor]], np.float32)
        there = cv2.warpAffine(
            small, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        worst = np.maximum(worst, (there - small - lamp[2] * far) / (0.05 + 0.25 * far))
    soft = blur(1 - np.clip(worst, 0, 1), 0.9)
    return np.clip(cv2.resize(soft, (height.shape[1], height.shape[0]), interpolation=cv2.INTER_LINEAR), 0, 1)
