"""The cast: every person follows from a seed.

Lengths are in head units: the face's half-height, from hairline to chin, is 1; x runs right, y down, the origin lies
between the eyes and the nose's tip. Colours are BGR in [0, 1], square-root (gamma 2) encoded, unless said otherwise.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

Color = tuple[float, float, float]

# From the palest to the darkest, RGB: the span of Monk's skin tone scale (2022), as skin looks in neutral light.
_SKIN_RGB = np.array(
    [
        (250, 224, 206), (244, 208, 184), (236, 192, 162), (222, 172, 136), (200, 146, 108),
        (172, 118, 82), (140, 92, 64), (110, 71, 50), (82, 54, 40), (62, 43, 34),
    ]
) / 255.0  # fmt: skip

HAIR_STYLES = ("bald", "buzz", "receding", "short", "side_part", "fringe", "curly", "afro", "bob", "long", "bun")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square", "thin")
CLOTHES = ("crew", "v_neck", "shirt", "suit", "turtleneck", "stripes")


@dataclass(frozen=True)
class Identity:
    """One person's looks; see the module's docstring for the units."""

    seed: int
    skin_tone: float
    skin: Color
    redness: float
    freckles: float
    age: float
    feminine: bool
    face_width: float
    jaw_width: float
    chin_width: float
    skull_top: float
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: Color
    lashes: float
    brow_y: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_tip_y: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip: Color
    gloss: float
    tooth_length: float
    tooth: Color
    hair_style: str
    hair: Color
    hairline: float
    beard: str
    glasses: str
    glasses_color: Color
    earrings: bool
    clothes: str
    cloth: Color
    cloth_2: Color

    @classmethod
    def from_seed(cls, seed: int, **changes: object) -> Identity:
        """A random person; `changes` replaces fields, e.g. `beard="full"`."""
        rng = np.random.default_rng([seed, 61])
        feminine = bool(rng.random() < 0.5)
        age = float(rng.beta(1.3, 1.8))
        looks = {**_skin(rng), **_shape(rng, feminine), **_mouth(rng, feminine, age)}
        looks |= _eyes(rng, feminine, looks["skin_tone"])  # type: ignore[arg-type]
        looks |= _hair(rng, feminine, age, float(looks["skin_tone"])) | _extras(rng, feminine)  # type: ignore[arg-type]
        looks |= _lip_color(rng, feminine, looks["skin"])  # type: ignore[arg-type]
        person = cls(seed=seed, age=age, feminine=feminine, **looks)  # type: ignore[arg-type]
        return replace(person, **changes)  # type: ignore[arg-type]


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _skin(rng: np.random.Generator) -> dict[str, object]:
    tone = _u(rng, 0.0, 8.7)
    rgb = np.array([np.interp(tone, np.arange(len(_SKIN_RGB)), _SKIN_RGB[:, channel]) for channel in range(3)])
    rgb = np.clip(rgb * (1 + rng.normal(0, 0.02, 3)), 0.05, 0.97)
    return {
        "skin_tone": tone,
        "skin": tuple(float(value) for value in rgb[::-1]),
        "redness": _u(rng, 0.2, 1.0),
        "freckles": _u(rng, 0.3, 1.0) if tone < 4 and rng.random() < 0.2 else 0.0,
    }


def _shape(rng: np.random.Generator, feminine: bool) -> dict[str, object]:
    return {
        "face_width": _u(rng, 0.7, 0.81) - 0.02 * feminine,
        "jaw_width": _u(rng, 0.51, 0.64) - 0.05 * feminine,
        "chin_width": _u(rng, 0.2, 0.32) - 0.04 * feminine,
        "skull_top": _u(rng, -1.32, -1.2),
        "nose_width": _u(rng, 0.12, 0.19) - 0.015 * feminine,
        "nose_tip_y": _u(rng, 0.17, 0.27),
        "nose_height": _u(rng, 0.65, 1.2) - 0.1 * feminine,
    }


def _eyes(rng: np.random.Generator, feminine: bool, tone: float) -> dict[str, object]:
    hue, kind = _u(rng, 0, 1), rng.random()
    if kind < 0.4 + 0.12 * tone:
        iris = colorsys.hsv_to_rgb(0.06 + 0.03 * hue, _u(rng, 0.55, 0.8), _u(rng, 0.2, 0.45))
    elif kind < 0.75 + 0.05 * tone:
        iris = colorsys.hsv_to_rgb(0.57 + 0.05 * hue, _u(rng, 0.3, 0.55), _u(rng, 0.5, 0.75))
    else:
        iris = colorsys.hsv_to_rgb(0.22 + 0.15 * hue, _u(rng, 0.25, 0.45), _u(rng, 0.4, 0.55))
    return {
        "eye_x": _u(rng, 0.29, 0.345),
        "eye_y": _u(rng, -0.2, -0.13),
        "eye_width": _u(rng, 0.125, 0.155),
        "eye_height": _u(rng, 0.048, 0.068) + 0.006 * feminine,
        "eye_tilt": _u(rng, -0.02, 0.03),
        "iris": iris[::-1],
        "lashes": _u(rng, 0.5, 1.0) if feminine else _u(rng, 0.1, 0.4),
        "brow_y": _u(rng, -0.42, -0.36) - 0.02 * feminine,
        "brow_thickness": _u(rng, 0.028, 0.045) if feminine else _u(rng, 0.04, 0.065),
        "brow_arch": _u(rng, 0.01, 0.06) + 0.015 * feminine,
    }


def _mouth(rng: np.random.Generator, feminine: bool, age: float) -> dict[str, object]:
    white = _u(rng, 0.88, 0.97) - 0.06 * age
    return {
        "mouth_y": _u(rng, 0.53, 0.6),
        "mouth_width": _u(rng, 0.25, 0.325),
        "upper_lip": _u(rng, 0.05, 0.095) - 0.015 * age,
        "lower_lip": _u(rng, 0.07, 0.125) - 0.015 * age,
        "gloss": _u(rng, 0.2, 0.9) if feminine else _u(rng, 0.1, 0.4),
        "tooth_length": _u(rng, 0.05, 0.08),
        "tooth": (white * _u(rng, 0.84, 0.95), white * 0.97, white),
    }


def _lip_color(rng: np.random.Generator, feminine: bool, skin: Color) -> dict[str, object]:
    base = np.array(skin)
    if feminine and rng.random() < 0.5:
        rgb = colorsys.hsv_to_rgb((0.97 + _u(rng, 0, 0.05)) % 1, _u(rng, 0.5, 0.75), _u(rng, 0.5, 0.8))
        share = _u(rng, 0.55, 0.9)
        base = (1 - share) * base * 0.8 + share * np.array(rgb[::-1])
    else:
        base = base * np.array([0.7, 0.64, 0.86]) * _u(rng, 0.92, 1.04) + np.array([0.025, 0.02, 0.06])
    return {"lip": tuple(float(value) for value in base)}


def _hair(rng: np.random.Generator, feminine: bool, age: float, tone: float) -> dict[str, object]:
    if feminine:
        styles = {"short": 1, "side_part": 1, "fringe": 1.5, "curly": 1.5, "afro": 0.6, "bob": 2, "long": 3, "bun": 1.5}
    else:
        styles = {"bald": 1.2, "buzz": 1.5, "receding": 1 + age, "short": 3, "side_part": 2, "fringe": 0.7}
        styles |= {"curly": 1, "afro": 0.5, "long": 0.4}
    weights = np.array(list(styles.values()))
    style = str(rng.choice(list(styles), p=weights / weights.sum()))
    if style == "afro" and tone < 4.5:
        style = "curly"
    if rng.random() < 0.75 * max(0.0, age - 0.45) * 2:
        rgb = np.array([0.62, 0.62, 0.64]) * _u(rng, 0.7, 1.2)
    elif tone > 4.6 or rng.random() < 0.4:
        rgb = np.array([0.17, 0.13, 0.115]) * _u(rng, 0.7, 1.5)
    else:
        palette = [(0.34, 0.22, 0.14), (0.48, 0.32, 0.2), (0.8, 0.66, 0.42), (0.52, 0.3, 0.2), (0.28, 0.19, 0.13)]
        rgb = np.array(palette[int(rng.integers(len(palette)))]) * _u(rng, 0.85, 1.1)
    beard = "none"
    if not feminine:
        beard = str(rng.choice(BEARDS, p=[0.5, 0.2, 0.08, 0.08, 0.14]))
    return {
        "hair_style": style,
        "hair": tuple(float(value) for value in rgb[::-1]),
        "hairline": _u(rng, -0.9, -0.78),
        "beard": beard,
    }


def _extras(rng: np.random.Generator, feminine: bool) -> dict[str, object]:
    def color(low: float, high: float, saturation: float) -> Color:
        rgb = colorsys.hsv_to_rgb(_u(rng, 0, 1), _u(rng, 0, saturation), _u(rng, low, high))
        return rgb[2], rgb[1], rgb[0]

    dark_rim = (0.1, 0.09, 0.09)
    return {
        "glasses": str(rng.choice(GLASSES, p=[0.8, 0.07, 0.07, 0.06])),
        "glasses_color": dark_rim if rng.random() < 0.7 else color(0.2, 0.5, 0.7),
        "earrings": bool(feminine and rng.random() < 0.4),
        "clothes": str(rng.choice(CLOTHES)),
        "cloth": color(0.15, 0.85, 0.75),
        "cloth_2": color(0.5, 0.95, 0.5),
    }
