"""How a head moves in front of the camera while its owner talks: place, turn, blinks, gaze, brows."""

from __future__ import annotations

import numpy as np

from singalong.synthetic.arrays import Floats
from singalong.synthetic.dsp import smooth

POSE_NAMES = ("x", "y", "half_height", "yaw", "pitch", "roll", "blink", "gaze_x", "gaze_y", "brow")
"""Columns of a pose track. x, y: where the head's origin is, shares of the frame's width and height; half_height: of
the face, hairline to chin, as a share of the frame's height; yaw (+ to the picture's right), pitch (+ down), roll (+
clockwise): radians; blink: 0 open to 1 shut; gaze: -1 to 1, right and down; brow: -1 frown to 1 raised."""


def pose_track(
    num_frames: int,
    *,
    fps: float,
    seed: int,
    half_height: float | None = None,
    centre: tuple[float, float] | None = None,
    liveliness: float | None = None,
    max_yaw: float = 0.4,
) -> Floats:
    """A natural head movement, (n, 10) float32, columns POSE_NAMES.

    half_height: 0.16 to 0.38 at random if not given. liveliness: 0 stands still, 1 is lively. max_yaw: radians.
    """
    rng = np.random.default_rng([seed, 141])
    size = float(rng.uniform(0.16, 0.38)) if half_height is None else half_height
    live = float(rng.uniform(0.2, 1.0)) if liveliness is None else liveliness
    centre = centre or (float(rng.uniform(0.38, 0.62)), float(np.clip(rng.normal(0.47, 0.04), size + 0.1, 1.02 - size)))
    time_s = np.arange(num_frames) / fps

    def sway(amount: float, period_s: float) -> Floats:
        return amount * live * _wander(time_s, period_s, rng)

    base_yaw = float(np.clip(rng.normal(0, 0.4 * max_yaw), -0.75 * max_yaw, 0.75 * max_yaw))
    yaw = np.clip(base_yaw + sway(0.13, 1.5), -max_yaw, max_yaw)
    pitch = np.clip(rng.normal(0.0, 0.06) + sway(0.07, 1.1), -0.24, 0.24)
    roll = np.clip(rng.normal(0.0, 0.06) + sway(0.05, 1.4), -0.35, 0.35)
    track = {
        "x": centre[0] + sway(0.05 * size, 1.8) + 0.06 * size * (yaw - base_yaw),
        "y": centre[1] + sway(0.045 * size, 1.2),
        "half_height": size * (1 + sway(0.012, 2.0)),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "blink": _blinks(time_s, rng),
        "gaze_x": np.clip(_glances(time_s, rng) - 0.9 * yaw, -1, 1),
        "gaze_y": np.clip(0.6 * _glances(time_s, rng) - 0.9 * pitch, -1, 1),
        "brow": np.clip(0.8 * sway(1.0, 0.9), -0.7, 1),
    }
    return np.stack([track[name] for name in POSE_NAMES], axis=1).astype(np.float32)


def _wander(time_s: Floats, period_s: float, rng: np.random.Generator) -> Floats:
    """Smooth noise of about unit variance."""
    num = int(time_s[-1] / period_s) + 6 if len(time_s) else 6
    knots = rng.standard_normal(num)
    dense = np.interp(np.linspace(0, num - 1, num * 16), np.arange(num), knots)
    return np.interp(time_s / period_s + 1.5 + rng.uniform(0, 1), np.arange(num * 16) / 16, 1.4 * smooth(dense, 7.0))


def _blinks(time_s: Floats, rng: np.random.Generator) -> Floats:
    blink = np.full(len(time_s), float(np.clip(rng.normal(0.12, 0.05), 0.0, 0.25)))
    at_s = rng.uniform(0.2, 3.0)
    while len(time_s) and at_s < time_s[-1]:
        shut = np.exp(-0.5 * ((time_s - at_s) / 0.055) ** 2) * 1.15
        blink = np.maximum(blink, np.minimum(shut, 1))
        at_s += rng.uniform(1.4, 5.0)
    return blink


def _glances(time_s: Floats, rng: np.random.Generator) -> Floats:
    gaze = np.zeros(len(time_s))
    at_s = 0.0
    while len(time_s) and at_s < time_s[-1]:
        gaze[time_s >= at_s] = rng.normal(0, 0.22)
        at_s += rng.uniform(0.5, 2.2)
    return smooth(gaze, 0.7) if len(gaze) else gaze
