"""The head without eyes and mouth, painted once for a person, a light and a size; `render` then moves it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from singalong.synthetic import hair, skin
from singalong.synthetic.arrays import Floats
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, blur, hump, over
from singalong.synthetic.relief import Light, base_height, face_height, face_outline, fold, radial, shade

HEAD_BOX = (-1.3, -1.95, 1.3, 1.5)
"""Part of head space that a head texture covers: left, top, right, bottom."""

_DEPTH_STEP = 0.04


@dataclass(frozen=True, eq=False)
class Head:
    """Layers of a painted head.

    image: (h, w, 4) uint8 BGR times coverage, and coverage, display-coded, without eyes and mouth.
    light: (h, w, 3) float32, the square root of the light on the bare skin. fold: (h, w) strength of the fold from
    nose to mouth. depth: coarse map of heights for parallax over HEAD_BOX, one value each `depth_step` units.
    extent: of what is drawn: left, top, right, bottom. back: hair behind, its canvas and (h, w, 4) uint8, or None.
    """

    person: Identity
    canvas: Canvas
    image: np.ndarray
    light: Floats
    fold: Floats
    depth: Floats
    depth_step: float
    extent: tuple[float, float, float, float]
    back: tuple[Canvas, np.ndarray] | None


@lru_cache(maxsize=4)
def paint_head(person: Identity, light: Light, scale: float) -> Head:
    """Paint a head at `scale` pixels a head unit. Tens of milliseconds; cached for the last few people."""
    canvas = Canvas(*HEAD_BOX, scale)
    outline = face_outline(person)
    ratio = radial(outline, canvas)
    face = np.clip((1 - ratio) * scale * 0.9 + 0.5, 0, 1).astype(np.float32)
    height = face_height(person, canvas, ratio)
    ear_cover, ear_height = skin.ears(person, canvas)
    surface = np.where(face > 0.5, height, ear_height).astype(np.float32)
    glow, gloss = shade(surface, light, scale, seed=person.seed)
    glow = glow * _exposure(person)
    albedo = skin.skin_albedo(person, canvas)
    shiny = 0.035 + 0.014 * person.skin_tone
    matte = 1 - 0.8 * skin.beard_cover(person, canvas) if person.beard not in ("none", "stubble") else 1.0
    color = albedo * glow + (shiny * gloss * matte)[..., None] * np.array([0.95, 1.0, 1.0], np.float32)
    brows = skin.brow_cover(person, canvas)
    color = over(color, np.square(np.array(person.hair, np.float32)) * 0.7 * glow, brows)
    cover = np.maximum(face, ear_cover)
    if person.earrings:
        stud = skin.earring_cover(person, canvas)
        color, cover = over(color, (0.25, 0.6, 0.75), stud), np.maximum(cover, stud)
    color, cover = _with_hair(person, canvas, light, color, cover, height)
    return Head(
        person=person,
        canvas=canvas,
        image=skin.layer(color, cover),
        light=np.sqrt(np.maximum(glow, 0)),
        fold=fold(person, np.abs(canvas.x), canvas.y).astype(np.float32),
        depth=_depth(person, outline),
        depth_step=_DEPTH_STEP,
        extent=canvas.part(*_drawn(cover)).box,
        back=_back(person, canvas, light),
    )


def _drawn(cover: Floats) -> tuple[slice, slice]:
    """Rows and columns in which anything is drawn."""
    rows, columns = (np.flatnonzero(cover.max(axis=axis) > 0.002) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _exposure(person: Identity) -> np.float32:
    """Cameras open up for darker faces and close for pale ones."""
    return np.float32(0.9 + 0.055 * max(0.0, person.skin_tone - 3.0))


def _with_hair(
    person: Identity, canvas: Canvas, light: Light, color: Floats, cover: Floats, height: Floats
) -> tuple[Floats, Floats]:
    mask = hair.hair_cover(person, canvas)
    if not mask.any():
        return color, cover
    relief = hair.strands(person, canvas)
    surface = np.maximum(hair.hair_height(person, canvas, mask, relief), height)
    glow, gloss = shade(surface, light, canvas.scale, seed=person.seed + 1)
    tint = np.square(np.array(person.hair, np.float32))
    shine = (0.25 * gloss + 0.5 * hair.hair_shine(person, canvas, relief))[..., None] * (0.35 * tint + 0.035)
    painted = hair.hair_albedo(person, canvas, relief) * glow * 1.15 + shine * np.sqrt(np.maximum(glow, 0))
    shadow = np.clip(blur(mask, 0.045 * canvas.scale) - 0.0, 0, 1) * (1 - mask)
    shadow = cv2.warpAffine(shadow, np.array([[1, 0, 0], [0, 1, 0.03 * canvas.scale]], np.float32), shadow.shape[::-1])
    color = color * (1 - 0.6 * np.clip(shadow, 0, 1))[..., None]
    both = np.maximum(cover, mask)
    return over(color, painted, np.clip(mask / np.maximum(both, 0.02), 0, 1)), both


def _back(person: Identity, canvas: Canvas, light: Light) -> tuple[Canvas, np.ndarray] | None:
    mask = hair.back_hair(person, canvas)
    if not mask.any():
        return None
    dim = 0.35 + 0.25 * np.clip(np.abs(canvas.x) - 0.4, 0, 1) + 0.0 * canvas.y
    relief = hair.strands(person, canvas)
    color = hair.hair_albedo(person, canvas, relief) * dim[..., None] * (np.array(light.key, np.float32) * 0.6 + 0.3)
    drawn = _drawn(mask)
    return canvas.part(*drawn), skin.layer(color[drawn], mask[drawn])


def _depth(person: Identity, outline: Floats) -> Floats:
    """Smooth heights for parallax; hair and ears lie near the silhouette's plane."""
    coarse = Canvas(*HEAD_BOX, 1 / _DEPTH_STEP)
    ratio = radial(outline, coarse)
    height = base_height(ratio) * 0.95
    height += 0.2 * hump(coarse.x, coarse.y, 0.0, person.nose_tip_y - 0.03, 0.1, 0.12) * person.nose_height
    height += 0.1 * hump(coarse.x, coarse.y, 0.0, 0.0, 0.09, 0.16) * person.nose_height
    height -= 0.05 * hump(np.abs(coarse.x), coarse.y, person.eye_x, person.eye_y, 0.14, 0.09)
    return blur(height.astype(np.float32), 1.3)
