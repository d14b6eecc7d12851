"""The mouth: what moves when somebody sings, in head units; skin, lips, teeth and tongue.

The upper teeth belong to the skull and stay where they are; the lower ones, the tongue's root and the chin go with the
jaw; the lips open and close between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import Canvas, ramp
from singalong.synthetic.head import Head
from singalong.synthetic.phonemes import MOUTH_NAMES

MAX_GAP = 0.36
"""Gap between the lips at opening 1, head units."""

JAW_DROP = 0.2
"""How far the chin moves down at jaw 1, head units."""

MOUTH_BOX = (-0.95, 0.08, 0.95, 1.45)
"""The part of head space that a mouth track can change: left, top, right, bottom."""

_DARK = np.array([0.1, 0.075, 0.17], np.float32)
_TONGUE = np.array([0.42, 0.4, 0.72], np.float32)


@dataclass(frozen=True)
class MouthShape:
    """Geometry of one mouth, head units.

    half_width: to the corners of the inner lips; corner_y; upper_y and lower_y: inner lips at the middle;
    upper_lip, lower_lip: thickness; jaw: chin's drop; curve: exponent of the inner outline (0.5 is an ellipse).
    """

    half_width: float
    corner_y: float
    upper_y: float
    lower_y: float
    upper_lip: float
    lower_lip: float
    jaw: float
    curve: float
    rounding: float
    tongue: float
    bite: float
    rest_half_width: float
    smile: float

    @property
    def gap(self) -> float:
        """Distance between the lips at the middle."""
        return self.lower_y - self.upper_y


def mouth_shape(person: Identity, mouth: Floats) -> MouthShape:
    """Geometry of a row of a mouth track (columns MOUTH_NAMES) on a person's face."""
    v = dict(zip(MOUTH_NAMES, (float(value) for value in mouth), strict=True))
    rest = person.mouth_width
    half = rest * (1 + 0.2 * v["width"] * (0.6 if v["width"] < 0 else 1.0) - 0.36 * v["rounding"] + 0.12 * v["smile"])
    gap = MAX_GAP * max(0.0, v["opening"] - 0.3 * v["press"])
    gap += v["bite"] * (0.06 - min(gap, 0.06)) * (1 - v["press"])
    lift = min(gap, 0.2 * gap + 0.045 * v["teeth"] * min(1.0, gap / 0.03) * (1 - v["rounding"]) + 0.02 * v["bite"])
    jaw = JAW_DROP * v["jaw"]
    thin = (1 - 0.55 * v["press"]) * (1 - 0.22 * min(1.0, v["opening"])) * (1 - 0.15 * max(0.0, v["width"]))
    upper_y = person.mouth_y - lift + 0.022 * v["rounding"]
    corner = person.mouth_y + 0.4 * (gap - lift) - 0.5 * lift - 0.014 - 0.06 * v["smile"] - 0.02 * max(0.0, v["width"])
    return MouthShape(
        half_width=half,
        corner_y=corner,
        upper_y=upper_y,
        lower_y=upper_y + gap,
        upper_lip=person.upper_lip * thin * (1 + 0.3 * v["rounding"]) * (1 - 0.25 * v["teeth"]),
        lower_lip=person.lower_lip * thin * (1 + 0.25 * v["rounding"]) * (1 - 0.5 * v["bite"]),
        jaw=max(jaw, 0.35 * (gap - lift)),
        curve=0.5 + 0.28 * max(0.0, v["width"]) * (1 - v["opening"]) + 0.1 * (1 - v["rounding"]),
        rounding=v["rounding"],
        tongue=v["tongue"],
        bite=v["bite"],
        rest_half_width=rest,
        smile=v["smile"],
    )


@dataclass(frozen=True)
class LipCurves:
    """The lips' four outlines over a row of x positions: outer and inner, upper and lower, (w,) float32."""

    inside: Floats
    upper_outer: Floats
    upper_inner: Floats
    lower_inner: Floats
    lower_outer: Floats


def lip_curves(shape: MouthShape, x: Floats) -> LipCurves:
    """Outlines of the lips at the given x (w,), head units."""
    u = x / shape.half_width
    inner = np.clip(1 - np.abs(u) ** 2.2, 0, 1) ** shape.curve
    uo = x / (shape.half_width + 0.022)
    outer = np.clip(1 - np.abs(uo) ** 2.0, 0, 1) ** (0.62 - 0.1 * shape.rounding)
    flat = np.clip(1 - np.abs(uo) ** 1.7, 0, 1)
    bow = np.exp(-0.5 * ((np.abs(u) - 0.24) / 0.14) ** 2) - 1.1 * np.exp(-0.5 * (u / 0.13) ** 2)
    bow = 0.2 * shape.upper_lip * bow * (1 - 0.5 * shape.rounding)
    closed_dip = 0.014 * np.exp(-0.5 * (u / 0.2) ** 2) - 0.006 * np.exp(-0.5 * ((np.abs(u) - 0.45) / 0.2) ** 2)
    dip = closed_dip * np.exp(-shape.gap / 0.05)
    upper_inner = shape.corner_y + (shape.upper_y - shape.corner_y) * inner + dip
    lower_inner = np.maximum(shape.corner_y + (shape.lower_y - shape.corner_y) * inner + dip, upper_inner)
    upper_top = shape.upper_y - shape.upper_lip
    upper_outer = shape.corner_y + (upper_top - shape.corner_y) * flat**0.8 - bow * flat
    lower_bottom = shape.lower_y + shape.lower_lip
    lower_outer = shape.corner_y + (lower_bottom - shape.corner_y) * outer
    return LipCurves(
        np.clip(1 - np.abs(u), 0, 1),
        np.minimum(upper_outer, upper_inner),
        upper_inner,
        lower_inner,
        np.maximum(lower_outer, lower_inner),
    )


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
        self._coarse = Canvas(*_box(self._canvas), 16.0)
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
        bite_y = person.mouth_y + person.tooth_length * 0.75 - 0.1 * x * x * 4
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
        floor_y = person.mouth_y + 0.045 + shape.jaw
        tip_y = floor_y + 0.02 - 0.2 * shape.jaw - shape.tongue * (floor_y - person.mouth_y - 0.01)
        wide = 0.62 * shape.rest_half_width
        dome = tip_y + 0.16 * (x / wide) ** 2
        tongue = np.clip((y - dome) * canvas.scale * 0.5 + 0.5, 0, 1) * np.clip((wide * 1.25 - np.abs(x)) * 12, 0, 1)
        groove = 1 - 0.18 * np.exp(-0.5 * (x / 0.022) ** 2)
        tone = (
            groove * (0.55 + 0.4 * ramp(0.0, 0.07, y - dome)) * (0.55 + 0.45 * ramp(0.0, 0.12, y - curves.upper_inner))
        )
        inner = inner + (_TONGUE * tone[..., None] * brightness - inner) * (0.9 * tongue)[..., None]
        u = np.abs(x) / (person.mouth_width * 0.85)
        top = floor_y + 0.012 + 0.1 * x * x * 3
        lower = np.clip((y - top) * canvas.scale + 0.5, 0, 1) * np.clip((1 - u) * 8, 0, 1)
        teeth_tone = (1 - 0.2 * np.exp(-0.5 * (np.sin(x * np.pi / 0.045) / 0.2) ** 2)) * (
            0.8 - 0.5 * np.clip(u, 0, 1) ** 2
        )
        teeth = np.array(person.tooth, np.float32) * 0.9 * (teeth_tone + 0 * y)[..., None] * brightness
        return f32(inner + (teeth - inner) * lower[..., None])


def skin_motion(person: Identity, shape: MouthShape, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How far the skin now at (x, y) has come from its rest, x and y, head units; grids may be open."""
    side = np.abs(x)
    rest_bottom = person.mouth_y + person.lower_lip
    lip_drop = shape.lower_y + shape.lower_lip - rest_bottom
    bottom = shape.lower_y + shape.lower_lip
    middle = ramp(person.mouth_y - 0.02, max(bottom, person.mouth_y + 0.06), y) * lip_drop
    middle = middle + (shape.jaw - lip_drop) * ramp(bottom, bottom + 0.3, y)
    flank = ramp(0.15, 0.95, y) * shape.jaw
    central = 1 - ramp(0.6, 1.25, side / max(shape.half_width, 0.15))
    down = (flank + (middle - flank) * central) * (1 - 0.65 * ramp(0.3, 0.8, side))
    raised = person.mouth_y - person.upper_lip - (shape.upper_y - shape.upper_lip)
    lift = raised * np.exp(-0.5 * ((y - person.mouth_y + 0.1) / 0.09) ** 2) * np.exp(-((side / 0.3) ** 2))
    pull = shape.half_width - shape.rest_half_width
    near = np.exp(-0.5 * ((side - shape.half_width - 0.04) / 0.13) ** 2) * np.exp(
        -0.5 * ((y - shape.corner_y) / 0.2) ** 2
    )
    cheek = 0.05 * shape.smile * np.exp(-0.5 * ((side - 0.4) / 0.13) ** 2) * np.exp(-0.5 * ((y - 0.38) / 0.15) ** 2)
    edge = ramp(MOUTH_BOX[1], MOUTH_BOX[1] + 0.15, y) * (1 - ramp(0.75, 0.94, side))
    move_x = (pull * near * np.sign(x) * edge).astype(np.float32)
    return move_x, ((down - lift - cheek) * edge).astype(np.float32)


def _band(y: Floats, top: Floats, bottom: Floats, canvas: Canvas, *, soft: float) -> Floats:
    """Coverage between two curves y = top(x) and y = bottom(x), antialiased across their slope."""
    scale = np.float32(canvas.scale * soft)
    upper = scale / np.sqrt(1 + np.square(np.gradient(top) * canvas.scale))
    lower = scale / np.sqrt(1 + np.square(np.gradient(bottom) * canvas.scale))
    cover = np.clip((y - top) * upper + 0.5, 0, 1) * np.clip((bottom - y) * lower + 0.5, 0, 1)
    return np.asarray(cover, np.float32)


def _box(canvas: Canvas) -> tuple[float, float, float, float]:
    return canvas.left, canvas.top, canvas.right, canvas.bottom
