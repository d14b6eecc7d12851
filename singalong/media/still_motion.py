"""A still that is alive: a slow drift and zoom of the whole picture, on a path that closes after PERIOD_S; pure.

The decoder shows a still this way as if it were a video, so faces are found in, and lips are put on, what is seen. The
picture is enlarged by at least the share it drifts, so its edges never come into view.

    zoom(t)  = 1 + share (1.5 - 0.5 cos p)       between 1 + share and 1 + 2 share
    drift(t) = share (0.4 sin p, 0.25 sin(2p + 1)) of the sides, p = 2 pi t / PERIOD_S
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import cos, pi, sin

import numpy as np
from PIL import Image

from singalong.media.frames import U8, YuvFrame

PERIOD_S = 24
"""Seconds until the path closes: with a share of 0.02, a picture 1280 pixels wide drifts 3 pixels a second at most."""

_DIGITS = 9
"""Of times on the path, so that a moment of every round is the same one, whatever was rounded on the way there."""


def moving_id(sha256: str, share: float, fps: Fraction) -> str:
    """Hash that stands for a picture in motion, as its own hash stands for it at rest: 64 lower-case hex digits."""
    return hashlib.sha256(f"{sha256} moves {share!r} of {PERIOD_S} s at {fps} fps, 1".encode()).hexdigest()


def path_s(time_s: float) -> float:
    """Where on the path a time falls: seconds in [0, PERIOD_S)."""
    return round(time_s % PERIOD_S, _DIGITS) % PERIOD_S


def path_times_s(fps: Fraction) -> list[float]:
    """Times of all frames of one round at so many whole frames a second."""
    return [path_s(float(n / fps)) for n in range(int(PERIOD_S * fps))]


def moved_frame(still: YuvFrame, share: float, time_s: float) -> YuvFrame:
    """The still as it stands at a time, with planes of its own; `pts_s` is the time on the path."""
    y, u, v = (_moved(plane, share, time_s) for plane in (still.y, still.u, still.v))
    return YuvFrame(y, u, v, path_s(time_s), still.color)


def moved_picture(bgr: U8, share: float, time_s: float) -> U8:
    """A picture (h, w, 3) of any size as it stands at a time: the same view as `moved_frame` gives, for analysis."""
    return _moved(bgr, share, time_s)


def view_at(share: float, time_s: float) -> tuple[float, float, float]:
    """Zoom, and drift as shares of width and height, at a time."""
    phase = 2 * pi * path_s(time_s) / PERIOD_S
    return 1 + share * (1.5 - 0.5 * cos(phase)), 0.4 * share * sin(phase), 0.25 * share * sin(2 * phase + 1)


def _moved(plane: U8, share: float, time_s: float) -> U8:
    """Pixels (h, w) or (h, w, 3) of the view at a time.

    Pillow's resampling, as it does not round places (OpenCV does, to 1/32 pixel), and takes half the time.
    """
    height, width = plane.shape[:2]
    zoom, drift_x, drift_y = view_at(share, time_s)
    left, top = ((1 - 1 / zoom) / 2 + drift_x) * width, ((1 - 1 / zoom) / 2 + drift_y) * height
    box = (left, top, left + width / zoom, top + height / zoom)
    return np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS, box=box))
