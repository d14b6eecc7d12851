"""Paints the mouth: moves the skin around it, then draws lips, teeth and tongue."""

from __future__ import annotations

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.grid import Canvas, ramp
from singalong.synthetic.head import Head
from singalong.synthetic.lips import (
    MOUTH_BOX,
    LipCurves,
    MouthShape,
    lip_curves,
    mouth_shape,
    skin_motion,
    upper_teeth_y,
)

_DARK = np.array([0.1, 0.075, 0.17], np.float32)
_TONGUE = np.array([0.42, 0.4, 0.72], np.float32)


class MouthPainter:
    """Moves the lower face of one head and draws its mouth, for any row of a mouth track."""

    def __init__(self, head: Head, key: tuple[float, float]) -> None:
        """key: direction of the light in the picture, x right and y down, for the lips' highlights."""
        self._person, self._key = head.person, key
        rows, columns = head.canvas.window(*MOUTH_BOX)
        self._rows, self._columns = rows, columns
        self._canvas = head.canvas.part(rows, columns)
        self._skin = np.ascontiguousarray(head.image[rows, columns])
        self._fold = head.fold[rows, columns]
        self._light = head.light[rows, columns]
        self._map_x, self._map_y = np.meshgrid(
            np.arange(self._canvas.width, dtype=np.float32), np.arange(self._canvas.height, dtype=np.float32)
        )
        self._coarse = Canvas(*self._canvas.box, 16.0)
        rng = np.random.default_rng([head.person.seed, 101])
        self._creases = (1 + 0.07 * np.interp(np.linspace(0, 40, 256), np.arange(41), rng.standard_normal(41))).astype(
            np.float32
        )
        self._kept: tuple[bytes, np.ndarray] | None = None

    def paint(self, image: np.ndarray, mouth: Floats) -> None:
        """Draw into a head image (h, w, 4) uint8. mouth: (9,) row of a mouth track."""
        shape = mouth_shape(self._person, mouth)
        patch = self._move_skin(shape)
        top = shape.upper_y - shape.upper_lip - 0.06
        bottom = max(shape.lower_y + shape.lower_lip, shape.corner_y) + 0.12
        reach = shape.half_width + 0.07
        rows, columns = self._canvas.window(-reach, top, reach, bottom)
        part = self._canvas.part(rows, columns)
        color = patch[rows, columns, :3].astype(np.float32) * np.float32(1 / 255)
        light = self._light[rows, columns]
        color = self._lips(color, part, light, shape)
        patch[rows, columns, :3] = (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)
        image[self._rows, self._columns] = patch

    def _move_skin(self, shape: MouthShape) -> np.ndarray:
        """Skin pulled along by jaw, lips and corners, and the fold beside a wide mouth."""
        move_x, move_y = skin_motion(self._person, shape, self._coarse.x, self._coarse.y)
        size = (self._canvas.width, self._canvas.height)
        scale = np.float32(self._canvas.scale)
        map_x = self._map_x - scale * cv2.resize(move_x, size, interpolation=cv2.INTER_CUBIC)
        map_y = self._map_y - scale * cv2.resize(move_y, size, interpolation=cv2.INTER_CUBIC)
        moved = cv2.remap(self._skin, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        spread = max(0.0, (shape.half_width / shape.rest_half_width - 1) * 1.2 + 0.25 * max(0.0, shape.smile))
        if spread > 0.02:
            dim = np.clip(256 * (1 - 0.4 * min(spread, 1.0) * self._fold), 0, 255).astype(np.uint8)
            moved[..., :3] = cv2.multiply(moved[..., :3], cv2.merge([dim, dim, dim]), scale=1 / 256)
        return np.asarray(moved)

    def _lips(self, color: Floats, canvas: Canvas, light: Floats, shape: MouthShape) -> Floats:
        x, y = canvas.x, canvas.y
        curves = lip_curves(shape, x[0])
        scale = np.float32(canvas.scale)
        lips = _band(y, curves.upper_outer, curves.lower_outer, canvas, soft=0.7)
        lips *= np.clip((shape.half_width + 0.022 - np.abs(x)) * scale + 0.5, 0, 1)
        below = np.exp(-0.5 * ((y - curves.lower_outer - 0.03) / 0.028) ** 2) * 0.3 * np.clip(curves.inside * 1.6, 0, 1)
        color = color * (1 - below)[..., None]
        upper = (y - curves.upper_outer) / np.maximum(curves.upper_inner - curves.upper_outer, 0.004)
        lower = (y - curves.lower_inner) / np.maximum(curves.lower_outer - curves.lower_inner, 0.004)
        is_upper = np.clip((0.5 * (curves.upper_inner + curves.lower_inner) - y) * scale + 0.5, 0, 1)
        tone_up = 0.94 - 0.24 * np.clip(upper, 0, 1) ** 2
        tone_low = 0.82 + 0.34 * np.sin(np.clip(lower, 0, 1) * 2.6 + 0.25)
        tone = tone_low + (tone_up - tone_low) * is_upper
        lanes = self._creases[np.clip((x[0] / shape.half_width * 0.45 + 0.5) * 255, 0, 255).astype(int)]
        lip = np.array(self._person.lip, np.float32) * (tone * lanes)[..., None] * light
        shine_x = np.exp(-0.5 * ((x / shape.half_width - 0.3 * self._key[0]) / 0.42) ** 2)
        shine = np.exp(-0.5 * ((lower - 0.38) / 0.16) ** 2) * (1 - is_upper) * shine_x
        shine += 0.35 * np.exp(-0.5 * ((upper - 0.25) / 0.16) ** 2) * is_upper * shine_x
        lip += (0.22 * self._person.gloss * shine)[..., None] * light
        color = color + (lip - color) * lips[..., None]
        return self._inside(color, canvas, light, shape, curves)

    def _inside(self, color: Floats, canvas: Canvas, light: Floats, shape: MouthShape, curves: LipCurves) -> Floats:
        x, y = canvas.x, canvas.y
        gap = curves.lower_inner - curves.upper_inner
        seam = np.exp(-0.5 * ((y - curves.upper_inner) / 0.011) ** 2) * np.clip(curves.inside * 6, 0, 1)
        seam = seam * np.exp(-gap / 0.035) * 0.75
        corner = np.exp(
            -0.5 * ((np.abs(x) - shape.half_width) / 0.018) ** 2 - 0.5 * ((y - shape.corner_y) / 0.016) ** 2
        )
        color = color * (1 - np.maximum(seam, 0.5 * corner))[..., None]
        if shape.gap < 0.004:
            return color
        cavity = _band(y, curves.upper_inner, curves.lower_inner, canvas, soft=1.0)
        cavity *= (np.abs(x) < shape.half_width) * np.clip(gap * canvas.scale, 0, 1)
        brightness = np.clip(light.mean(axis=2, keepdims=True), 0.35, 1.1)
        depth = np.clip((y - curves.upper_inner) / np.maximum(gap, 0.01), 0, 1)
        inner = _DARK * (0.55 + 0.6 * depth * depth)[..., None] * brightness
        inner = self._tongue_and_lower_teeth(inner, canvas, shape, brightness, curves)
        inner = self._upper_teeth(inner, canvas, shape, brightness, curves)
        inner = self._tongue_tip(inner, canvas, shape, brightness)
        return f32(color + (inner - color) * cavity[..., None])

    def _upper_teeth(
        self, inner: Floats, canvas: Canvas, shape: MouthShape, brightness: Floats, curves: LipCurves
    ) -> Floats:
        person = self._person
        x, y = canvas.x, canvas.y
        bite_y = upper_teeth_y(person) - 0.4 * x * x
        u = np.abs(x) / (person.mouth_width * 1.08)
        lobes = 0.006 * np.cos(x * (2 * np.pi / 0.062) + np.pi)
        cover = np.clip((bite_y + lobes - y) * canvas.scale + 0.5, 0, 1) * np.clip((1 - u) * 8, 0, 1)
        gaps = 1 - 0.2 * np.exp(-0.5 * (np.sin(x * np.pi / 0.062) / 0.16) ** 2)
        shadow = 0.42 + 0.58 * ramp(0.0, 0.07, y - curves.upper_inner)
        tone = gaps * shadow * (1 - 0.7 * shape.rounding) * (1 - 0.55 * np.clip(u, 0, 1) ** 2)
        teeth = np.array(person.tooth, np.float32) * tone[..., None] * brightness
        return inner + (teeth - inner) * cover[..., None]

    def _tongue_tip(self, inner: Floats, canvas: Canvas, shape: MouthShape, brightness: Floats) -> Floats:
        """The tongue's tip between the teeth, as in "th"."""
        out = float(ramp(0.75, 0.95, f32(shape.tongue)))
        if out == 0:
            return inner
        edge_y = self._person.mouth_y + self._person.tooth_length * 0.4
        away = np.hypot(canvas.x / (0.5 * shape.rest_half_width), (canvas.y - edge_y - 0.05) / 0.06)
        cover = np.clip((1 - away) * 0.06 * canvas.scale + 0.5, 0, 1) * out
        tip = _TONGUE * (1.15 - 0.35 * np.clip(away, 0, 1) ** 2)[..., None] * brightness
        return f32(inner + (tip - inner) * cover[..., None])

    def _tongue_and_lower_teeth(
        self, inner: Floats, canvas: Canvas, shape: MouthShape, brightness: Floats, curves: LipCurves
    ) -> Floats:
        person = self._person
        x, y = canvas.x, canvas.y
        wide = 0.62 * shape.rest_half_width
        dome = shape.tongue_y + 0.16 * (x / wide) ** 2
        tongue = np.clip((y - dome) * canvas.scale * 0.5 + 0.5, 0, 1) * np.clip((wide * 1.25 - np.abs(x)) * 12, 0, 1)
        groove = 1 - 0.18 * np.exp(-0.5 * (x / 0.022) ** 2)
        tone = (
            groove * (0.55 + 0.4 * ramp(0.0, 0.07, y - dome)) * (0.55 + 0.45 * ramp(0.0, 0.12, y - curves.upper_inner))
        )
        inner = inner + (_TONGUE * tone[..., None] * brightness - inner) * (0.9 * tongue)[..., None]
        u = np.abs(x) / (person.mouth_width * 0.85)
        top = shape.floor_y + 0.012 + 0.3 * x * x
        lower = np.clip((y - top) * canvas.scale + 0.5, 0, 1) * np.clip((1 - u) * 8, 0, 1)
        teeth_tone = (1 - 0.2 * np.exp(-0.5 * (np.sin(x * np.pi / 0.045) / 0.2) ** 2)) * (
            0.8 - 0.5 * np.clip(u, 0, 1) ** 2
        )
        teeth = np.array(person.tooth, np.float32) * 0.9 * (teeth_tone + 0 * y)[..., None] * brightness
        return f32(inner + (teeth - inner) * lower[..., None])


def _band(y: Floats, top: Floats, bottom: Floats, canvas: Canvas, *, soft: float) -> Floats:
    """Coverage between two curves y = top(x) and y = bottom(x), antialiased across their slope."""
    scale = np.float32(canvas.scale * soft)
    upper = scale / np.sqrt(1 + np.square(np.gradient(top) * canvas.scale))
    lower = scale / np.sqrt(1 + np.square(np.gradient(bottom) * canvas.scale))
    cover = np.clip((y - top) * upper + 0.5, 0, 1) * np.clip((bottom - y) * lower + 0.5, 0, 1)
    return np.asarray(cover, np.float32)
