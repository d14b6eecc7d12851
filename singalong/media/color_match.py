"""Matching the colours of a painted face to those of the clip.

A generator repeats most of what it is shown, but often a little brighter, flatter or of another hue. How much is
measured where it does nothing but repeat: on the upper half of the crop and on the cheeks, never on the mouth.

Legend: N = 96, the network's side; P = 4 parameters of a channel: offset, contrast, slope across, slope down; C cells
that tell.
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
    source_C3, drawn_C3 = (  # blurred in floats, which takes a third of the time of whole levels
        cv2.resize(cv2.GaussianBlur(face.astype(np.float32), (0, 0), 1.5), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        .reshape(-1, 3)[_TELLING]
        .astype(np.float64)
        for face in (shown, made)
    )
    shift_3P, misfit_3 = _fit(source_C3.T, drawn_C3.T)
    # One channel that does not fit means that none is to be trusted.
    trust = _smooth_fall((float(misfit_3.max()) - _FIT_LEVELS) / (_MISFIT_LEVELS - _FIT_LEVELS))
    return np.asarray(trust * np.clip(shift_3P, -_LIMITS, _LIMITS))


def apply_shift(made: U8, shift_3P: F64) -> F32:
    """A drawing uint8 (N, N, 3) with a shift (3, P) added, float32 in [0, 255]."""
    height, width = made.shape[:2]
    offset_3, contrast_3, across_3, down_3 = shift_3P.T.astype(np.float32)
    # Rows of all channels side by side: long rows are what numpy is fast at.
    row = (offset_3 - 128 * contrast_3 + across_3 * _places(width)[:, None]).ravel()
    column = np.outer(_places(height), np.tile(down_3, width))
    levels = made.reshape(height, -1) * np.tile(1 + contrast_3, width) + row + column
    return np.asarray(np.clip(levels, 0, 255, out=levels).reshape(made.shape), np.float32)


def _fit(source_3C: F64, drawn_3C: F64) -> tuple[F64, F64]:
    """Parameters (3, P) and median misfits (3,) of the channels, by least squares that give outliers no say."""
    missing_3C = source_3C - drawn_3C
    terms_3PC = np.empty((3, 4, missing_3C.shape[1]))
    terms_3PC[:, 0], terms_3PC[:, 1], terms_3PC[:, 2:] = 1, drawn_3C - 128, _CELLS_2C
    weight_3C, diagonal = _WEIGHT_C, np.arange(4)
    for _ in range(_ROUNDS):
        weighted_3PC = terms_3PC * weight_3C[..., None, :]
        square_3PP = weighted_3PC @ terms_3PC.transpose(0, 2, 1)
        square_3PP[:, diagonal, diagonal] += _RIDGE * square_3PP[:, diagonal, diagonal] + 1e-9
        shift_3P1 = np.linalg.solve(square_3PP, weighted_3PC @ missing_3C[..., None])
        misfit_3C = np.abs(missing_3C - (shift_3P1.transpose(0, 2, 1) @ terms_3PC)[:, 0])
        spread_3 = np.maximum(1.0, 1.5 * _medians(misfit_3C))
        # Tukey's biweight
        weight_3C = _WEIGHT_C * np.maximum(1 - (misfit_3C / (3 * spread_3[:, None])) ** 2, 0) ** 2
    return np.asarray(shift_3P1[..., 0], np.float64), _medians(misfit_3C)


def _medians(values_3C: F64) -> F64:
    """Medians of the rows, (3,): `np.median` without its care for NaN and for odd numbers, which takes most of it."""
    half = values_3C.shape[1] // 2
    ordered = np.partition(values_3C, (half - 1, half), axis=1)
    return np.asarray((ordered[:, half - 1] + ordered[:, half]) / 2)


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


_TELLING = np.flatnonzero(_belief())
"""Cells that say anything."""
_WEIGHT_C = _belief()[_TELLING]
_CELLS_2C = np.stack([np.tile(_places(_SIDE), _SIDE), np.repeat(_places(_SIDE), _SIDE)])[:, _TELLING].astype(np.float64)
assert len(_TELLING) % 2 == 0  # as `_medians` wants it
