"""Matching the colours of a painted face to those of the clip.

A generator repeats most of what it is shown, but often a little brighter, flatter or of another hue. How much is
measured where it does nothing but repeat: on the upper half of the crop and on the cheeks, never on the mouth.

Legend: N = 96, the network's side; P = 4 parameters of a channel: offset, contrast, slope across, slope down.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

_SIDE = 32
"""Cells in which colours are compared: detail does not matter here, and a generator's is never quite in place."""
_LIMITS = np.array([24.0, 0.25, 16.0, 16.0])
"""No correction exceeds this, in levels (and in shares, of the contrast): what is further off is no repetition."""
_RIDGE = np.array([1e-6, 0.02, 0.02, 0.02])
"""Pull of contrast and slopes to zero, relative to the data's own pull: a flat picture tells only an offset."""
_ROUNDS = 4
_FIT_LEVELS, _MISFIT_LEVELS = 8.0, 20.0
"""Median misfit in levels up to which a correction counts in full, and from which on not at all. An L1 of 0.01 to 0.02,
as generators are trained to, is 3 to 5 levels; the untrained one misses by 40 and more."""
_SMOOTH_S = 0.4
"""A generator's cast changes with the shot, not with the syllable; two or three syllables smooth its estimate."""


class ColorMatch:
    """Corrects the colours of one face's drawings, frame by frame in order."""

    def __init__(self, fps: float) -> None:
        self._keep = math.exp(-1 / (fps * _SMOOTH_S))
        self._shift_3P: F64 | None = None

    def cut(self) -> None:
        """What follows is another shot: forget."""
        self._shift_3P = None

    def match(self, shown: U8, made: U8) -> F32:
        """The drawing `made` in the colours of what the generator was `shown`, float32 (N, N, 3) in [0, 255].

        Both uint8 (N, N, 3), BGR, of the same crop.
        """
        now_3P = color_shift(shown, made)
        if self._shift_3P is not None:
            now_3P = self._keep * self._shift_3P + (1 - self._keep) * now_3P
        self._shift_3P = now_3P
        return apply_shift(made, now_3P)


def color_shift(shown: U8, made: U8) -> F64:
    """What to add to a drawing, (3, P), told from one frame; all 0 where the drawing does not repeat what was shown."""
    source, drawn = (
        cv2.resize(cv2.GaussianBlur(face, (0, 0), 1.5), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        .reshape(-1, 3)
        .astype(np.float64)
        for face in (shown, made)
    )
    fits = [_fit(source[:, channel], drawn[:, channel]) for channel in range(3)]
    # One channel that does not fit means that none is to be trusted.
    misfit = max(misfit for _, misfit in fits)
    trust = _smooth_fall((misfit - _FIT_LEVELS) / (_MISFIT_LEVELS - _FIT_LEVELS))
    return trust * np.clip(np.stack([shift for shift, _ in fits]), -_LIMITS, _LIMITS)


def apply_shift(made: U8, shift_3P: F64) -> F32:
    """A drawing uint8 (N, N, 3) with a shift (3, P) added, float32 in [0, 255]."""
    offset, contrast, across, down = shift_3P.T.astype(np.float32)
    place = _places(made.shape[1]), _places(made.shape[0])
    field = offset + across * place[0][None, :, None] + down * place[1][:, None, None]
    return np.asarray(np.clip(made + field + contrast * (made - np.float32(128)), 0, 255), np.float32)


def _fit(source: F64, drawn: F64) -> tuple[F64, float]:
    """Parameters (P,) of one channel and the median misfit, by least squares that give outliers no say."""
    place = _places(_SIDE).astype(np.float64)
    x, y = np.tile(place, _SIDE), np.repeat(place, _SIDE)
    terms = np.stack([np.ones_like(x), drawn - 128, x, y], axis=1)
    missing, weight = source - drawn, _BELIEF
    shift, misfit = np.zeros(terms.shape[1]), np.abs(missing)
    for _ in range(_ROUNDS):
        weighted = terms * weight[:, None]
        square = weighted.T @ terms
        square += np.diag(_RIDGE * np.diag(square) + 1e-9)
        shift = np.asarray(np.linalg.solve(square, weighted.T @ missing), np.float64)
        misfit = np.abs(missing - terms @ shift)
        spread = max(1.0, 1.5 * float(np.median(misfit[_BELIEF > 0])))
        weight = _BELIEF * np.clip(1 - (misfit / (3 * spread)) ** 2, 0, 1) ** 2  # Tukey's biweight
    return shift, float(np.median(misfit[_BELIEF > 0]))


def _places(num: int) -> F32:
    """Where cells lie, -1 to 1."""
    return ((np.arange(num) + 0.5) * (2 / num) - 1).astype(np.float32)


def _smooth_fall(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return 1 - t * t * (3 - 2 * t)


def _belief() -> F64:
    """How much each cell says of the cast, (cells,): most on the lower face, which is pasted, nothing on the mouth."""
    x, y = np.meshgrid(_places(_SIDE), _places(_SIDE))
    mouth = (np.abs(x) < 0.62) & (y > 0.02)
    edge = (np.abs(x) > 0.94) | (np.abs(y) > 0.94)  # a network's borders are worse than its middle
    return np.where(mouth | edge, 0.0, np.where(y > 0, 2.0, 1.0)).ravel()


_BELIEF = _belief()
