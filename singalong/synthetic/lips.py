"""Where lips, teeth and chin are for any row of a mouth track: geometry only, head units.

The upper teeth belong to the skull and stay where they are; the lower ones, the tongue's root and the chin go with the
jaw; the lips open and close between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.cast import Identity
from singalong.synthetic.grid import ramp
from singalong.synthetic.phonemes import MOUTH_NAMES

TRUTH_NAMES = ("gap", "half_width", "jaw", "upper_teeth", "lower_teeth", "tongue")
"""Columns of `mouth_truth`, head units: gap between the lips at the middle, half the distance of the inner corners,
drop of the chin, and how much of upper teeth, lower teeth and tongue shows at the middle, top to bottom."""

MAX_GAP = 0.36
"""Gap between the lips at opening 1, head units."""

JAW_DROP = 0.2
"""How far the chin moves down at jaw 1, head units."""

MOUTH_BOX = (-0.95, 0.08, 0.95, 1.45)
"""The part of head space that a mouth track can change: left, top, right, bottom."""


@dataclass(frozen=True)
class MouthShape:
    """Geometry of one mouth, head units.

    mouth_y: of the lips at rest; half_width: to the corners of the inner lips; upper_y and lower_y: inner lips at the
    middle; upper_lip, lower_lip: thickness; jaw: chin's drop; curve: exponent of the inner outline (0.5 is an ellipse).
    """

    mouth_y: float
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
    def floor_y(self) -> float:
        """Root of the lower teeth and of the tongue."""
        return self.mouth_y + 0.045 + self.jaw

    @property
    def tongue_y(self) -> float:
        """Top of the tongue at the middle."""
        return self.floor_y + 0.02 - 0.2 * self.jaw - self.tongue * (self.floor_y - self.mouth_y - 0.01)

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
    gap += v["bite"] * (0.075 - min(gap, 0.075)) * (1 - v["press"])
    lift = min(gap, 0.2 * gap + 0.045 * v["teeth"] * min(1.0, gap / 0.03) * (1 - v["rounding"]) + 0.03 * v["bite"])
    jaw = JAW_DROP * v["jaw"]
    thin = (1 - 0.55 * v["press"]) * (1 - 0.22 * min(1.0, v["opening"])) * (1 - 0.15 * max(0.0, v["width"]))
    upper_y = person.mouth_y - lift + 0.022 * v["rounding"]
    corner = person.mouth_y + 0.4 * (gap - lift) - 0.5 * lift - 0.014 - 0.06 * v["smile"] - 0.02 * max(0.0, v["width"])
    return MouthShape(
        mouth_y=person.mouth_y,
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


def mouth_truth(person: Identity, mouths: Floats) -> Floats:
    """What a person's mouth shows, (n, 6) float32 with columns TRUTH_NAMES, for a mouth track (n, 9)."""
    rows = []
    for mouth in mouths:
        shape = mouth_shape(person, mouth)
        top, bottom = shape.upper_y, shape.lower_y
        bite, floor, tip = upper_teeth_y(person), shape.floor_y, shape.tongue_y
        upper = max(0.0, min(bite, bottom) - top)
        lower = max(0.0, bottom - max(floor + 0.012, top, bite))
        tongue = max(0.0, min(bottom, floor + 0.012) - max(tip, bite, top))
        rows.append((shape.gap, shape.half_width, shape.jaw, upper, lower, tongue))
    return f32(np.array(rows).reshape(-1, len(TRUTH_NAMES)))


def upper_teeth_y(person: Identity) -> float:
    """Where the upper teeth end at the middle; they never move."""
    return person.mouth_y + 0.75 * person.tooth_length
