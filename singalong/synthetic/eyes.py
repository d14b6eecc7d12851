"""Eyes and glasses, drawn into the head's texture; they change with blinks and gaze only, so the last ones are kept."""

from __future__ import annotations

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.grid import Canvas, hump, over, ramp
from singalong.synthetic.head import Head

_WHITE = np.array([0.86, 0.9, 0.92], np.float32)


class EyePainter:
    """Paints both eyes (and glasses) of one head for a blink and a gaze."""

    def __init__(self, head: Head) -> None:
        person = head.person
        self._person = person
        self._rows, self._columns = head.canvas.window(-0.76, person.eye_y - 0.3, 0.76, person.eye_y + 0.33)
        self._canvas = head.canvas.part(self._rows, self._columns)
        self._skin = head.image[self._rows, self._columns, :3].astype(np.float32) / 255
        self._light = head.light[self._rows, self._columns]
        self._rims = _glasses(head, self._canvas)
        self._kept: dict[tuple[int, int, int], np.ndarray] = {}

    def paint(self, image: np.ndarray, *, blink: float, gaze_x: float, gaze_y: float) -> None:
        """Draw into a head image (h, w, 4) uint8. blink 0 open to 1 shut; gaze -1 to 1, x right, y down."""
        key = (round(blink * 24), round(gaze_x * 24), round(gaze_y * 24))
        patch = self._kept.get(key)
        if patch is None:
            if len(self._kept) > 40:
                self._kept.clear()
            patch = self._kept[key] = self._draw(key[0] / 24, key[1] / 24, key[2] / 24)
        image[self._rows, self._columns, :3] = patch

    def _draw(self, blink: float, gaze_x: float, gaze_y: float) -> np.ndarray:
        color = self._skin.copy()
        for sign in (-1.0, 1.0):
            reach = self._person.eye_width + 0.09
            centre = sign * self._person.eye_x
            rows, columns = self._canvas.window(
                centre - reach, self._person.eye_y - 0.17, centre + reach, self._person.eye_y + 0.14
            )
            part = self._canvas.part(rows, columns)
            light = self._light[rows, columns]
            color[rows, columns] = self._eye(color[rows, columns], part, light, sign, blink, gaze_x, gaze_y)
        if self._rims is not None:
            rims, glint = self._rims
            color = over(color, self._person.glasses_color, rims) + glint[..., None]
        return (np.clip(color, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _eye(
        self, skin: Floats, canvas: Canvas, light: Floats, sign: float, blink: float, gaze_x: float, gaze_y: float
    ) -> Floats:
        person, scale = self._person, canvas.scale
        along = sign * (canvas.x - sign * person.eye_x) / person.eye_width  # -1 at the nose, +1 at the temple
        x = canvas.x - sign * person.eye_x
        y = canvas.y - person.eye_y + person.eye_tilt * along
        arch = np.sqrt(np.clip(1 - along**2, 0, 1)) ** 1.25
        skew = 1 + 0.22 * along
        low = person.eye_height * 0.62 * arch * (1 + 0.25 * along)
        up = -person.eye_height * 1.22 * arch / skew ** (0.5)
        lid = up + (low - up) * blink
        inside = _cover(y - lid, scale) * _cover(low - y, scale) * (np.abs(along) < 1)
        shade_up = 0.5 + 0.5 * ramp(0.0, 0.06, y - lid)
        roundness = 1 - 0.28 * np.abs(along) ** 2.5
        ball = _WHITE * (shade_up * roundness)[..., None] * np.clip(light * 1.05, 0.35, 1.05)
        ball = self._iris(ball, x - 0.032 * gaze_x, y + 0.008 - 0.018 * gaze_y, shade_up, scale)
        tear = hump(along, y, -0.93, 0.006, 0.09, 0.014)
        ball = over(ball, np.array(person.skin, np.float32) * [0.7, 0.66, 0.95], 0.8 * tear)
        color = self._lids(skin, along, y, lid, low, blink, arch)
        color = over(color, ball, inside)
        lash = np.exp(-0.5 * ((y - lid + 0.004) / (0.007 + 0.007 * person.lashes)) ** 2) * (np.abs(along) < 1.04)
        lash = lash * (0.45 + 0.5 * person.lashes) * ramp(-1.15, -0.5, along)
        under = 0.3 * np.exp(-0.5 * ((y - low) / 0.007) ** 2) * (np.abs(along) < 0.95)
        dark = np.array(person.skin, np.float32) * 0.14
        return over(color, dark, np.clip(lash + under * (1 - blink), 0, 0.95))

    def _lids(
        self, skin: Floats, along: Floats, y: Floats, lid: Floats, low: Floats, blink: float, arch: Floats
    ) -> Floats:
        """Crease above the eye, and the upper lid's own shade when it comes down."""
        crease_y = -self._person.eye_height * 1.22 * arch - 0.03 - 0.012 * self._person.age
        crease = 0.3 * np.exp(-0.5 * ((y - crease_y) / 0.011) ** 2) * (np.abs(along) < 1.05) * (1 - 0.5 * blink)
        lid_part = ramp(crease_y - 0.01, crease_y + 0.02, y) * (
            1 - ramp(-0.006, 0.006, y - np.maximum(lid, low * blink))
        )
        tone = 1 - crease - 0.1 * lid_part * (np.abs(along) < 1.0)
        return f32(skin * tone[..., None])

    def _iris(self, ball: Floats, x: Floats, y: Floats, shade_up: Floats, scale: float) -> Floats:
        radius = 0.068
        away = np.hypot(x, y) / radius
        color = np.array(self._person.iris, np.float32)
        spokes = 1 + 0.12 * np.sin(np.arctan2(y, x) * 17 + self._person.seed)
        ring = (1 - 0.55 * ramp(0.75, 1.0, away)) * (0.75 + 0.5 * ramp(0.35, 0.8, away)) * spokes
        iris = color * (ring * (0.45 + 0.55 * shade_up) * (1 + 0.35 * np.clip(y / radius, -1, 1)))[..., None]
        ball = over(ball, iris, np.clip((1 - away) * radius * scale + 0.5, 0, 1))
        ball = over(ball, (0.03, 0.025, 0.025), np.clip((0.42 - away) * radius * scale + 0.5, 0, 1))
        glint = np.clip((0.26 - np.hypot(x + 0.022, y + 0.024) / radius) * radius * scale + 0.5, 0, 1)
        return over(ball, (0.97, 0.98, 0.98), 0.92 * glint)


def _cover(distance: Floats, scale: float) -> Floats:
    return np.clip(distance * scale + 0.5, 0, 1)


def _glasses(head: Head, canvas: Canvas) -> tuple[Floats, Floats] | None:
    """Coverage of the rims and brightness of the lenses' glints."""
    person = head.person
    if person.glasses == "none":
        return None
    power, rx, ry, thick = {
        "round": (2.0, 0.2, 0.185, 0.021),
        "square": (4.5, 0.215, 0.15, 0.026),
        "thin": (3.0, 0.205, 0.15, 0.014),
    }[person.glasses]
    side = np.abs(canvas.x)
    y = canvas.y - person.eye_y - 0.03
    away = (np.abs((side - person.eye_x - 0.005) / rx) ** power + np.abs(y / ry) ** power) ** (1 / power)
    rim = np.clip((thick / 2 - np.abs(away - 1) * min(rx, ry)) * canvas.scale + 0.5, 0, 1)
    bridge = np.clip((thick * 0.45 - np.abs(y + 0.045 + 1.2 * side**2)) * canvas.scale + 0.5, 0, 1)
    bridge = bridge * (side < person.eye_x - rx)
    arm = np.clip((thick * 0.45 - np.abs(y + 0.04)) * canvas.scale + 0.5, 0, 1) * (side > person.eye_x + rx)
    lens = np.clip((1 - away) * 8, 0, 1)
    glint = 0.06 * lens * np.exp(-0.5 * ((canvas.x - 0.4 * y - np.sign(canvas.x) * person.eye_x + 0.08) / 0.03) ** 2)
    cover = np.maximum(np.maximum(rim, bridge), arm * (side < person.face_width))
    return cover.astype(np.float32), (glint + 0.004 * lens).astype(np.float32)
