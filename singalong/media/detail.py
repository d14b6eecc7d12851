"""Giving a painted face of 96x96 the sharpness of the face it replaces.

Where the drawing agrees with the clip (skin that is only repeated), all that is finer than the network paints well is
the clip's own. Elsewhere (the mouth) the drawing is enlarged and its edges are steepened without overshooting.

Legend: N = 96, the network's side; h, w the box.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.geometry import NETWORK_SIDE_PX

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_COARSE = NETWORK_SIDE_PX // 2
"""Cells across below whose pitch the clip's own detail is taken: a generator's finest octave is blurred."""
_SAME_LEVELS, _OTHER_LEVELS = 6.0, 16.0
"""Difference in levels between shown and drawn: up to the first they agree, from the second on they do not. An L1 of
0.01 to 0.02, as generators are trained to, is 3 to 5 levels; lips differ from the skin beside them by 20 and more."""
_REACH = 5
"""Cells of the network around a difference that count as different, too: a mouth's edge moves with it."""
_RECOVER_S = 0.2
"""Time in which agreement comes back after a change; it is lost at once. Without it grain would flicker at its edge."""
_ALL_KEPT = 0.995
"""From here on a pixel is the clip's own to less than a level."""
_FINE_PX = 1.5
"""Detail finer than this blur is compared to tell whether a drawing lacks any."""
_LACKING = 0.25
"""A drawing that lacks so much of the clip's detail (as a ratio, less one) gets the full steepening."""
_STEEPER = 1.0
"""Strength of the steepening of edges; beyond it mouths look drawn in ink. Overshoot is cut off in any case."""


class DetailTransfer:
    """Enlarges the drawings of one face, frame by frame in order."""

    def __init__(self, fps: float) -> None:
        self._recover = 1 - math.exp(-1 / (fps * _RECOVER_S))
        self._agreement: F32 | None = None
        self._strength: float | None = None

    def cut(self) -> None:
        """What follows is another shot: forget."""
        self._agreement = self._strength = None

    def enlarge(self, source: U8, made: F32) -> U8:
        """The drawing `made`, float32 (N, N, 3) in [0, 255], at the size of the crop `source`, uint8 (h, w, 3)."""
        side = NETWORK_SIDE_PX
        shown = np.asarray(cv2.resize(source, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        now = agreement(shown, made)
        if self._agreement is not None:
            now = np.minimum(now, self._agreement + self._recover * (now - self._agreement))
        self._agreement = now
        # The clip's detail on the drawing's coarse colours: the clip, plus what differs coarsely.
        size = source.shape[1], source.shape[0]
        result = source + _enlarged(_coarse(made) - _coarse(source), size)
        kept = np.asarray(cv2.resize(now, size), np.float32)
        top, bottom, left, right = _extent(kept < _ALL_KEPT)
        if bottom > top:
            changed = np.s_[top:bottom, left:right]
            kept = kept[changed]
            large = _enlarged(made, size)
            strength = self._strength_for(source[changed], large[changed], np.float32(1) - kept)
            painted = _steep(made, large, changed, strength)
            result[changed] = painted + (result[changed] - painted) * kept[..., None]
        return cast(U8, np.clip(result + 0.5, 0, 255).astype(np.uint8))

    def _strength_for(self, source: U8, large: F32, where: F32) -> float:
        """How much to steepen, 0 to 1, from the detail of clip and drawing: never to more than the clip has."""
        theirs, ours = (float((_fine(face) ** 2 * where).sum()) for face in (source.astype(np.float32), large))
        lacking = math.sqrt(theirs / max(ours, 1e-6)) - 1 if theirs > 0 else 0.0
        now = min(max(lacking / _LACKING, 0.0), 1.0)
        last = now if self._strength is None else self._strength
        self._strength = last + self._recover * (now - last)
        return self._strength


def agreement(shown: NDArray[np.uint8], made: F32) -> F32:
    """Where a drawing only repeats what was shown, float32 (N, N) from 0, changed, to 1, the same; smooth."""
    off = np.abs(cv2.GaussianBlur(made - shown, (0, 0), 1.5)).max(axis=2)  # grain cancels out, shapes do not
    off = cv2.dilate(off, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1,) * 2))
    t = np.clip((off - _SAME_LEVELS) / (_OTHER_LEVELS - _SAME_LEVELS), 0, 1)
    return np.asarray(cv2.GaussianBlur(1 - t * t * (3 - 2 * t), (0, 0), 2.0), np.float32)


def _enlarged(face: F32, size: tuple[int, int]) -> F32:
    return np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _coarse(face: U8 | F32) -> F32:
    """A face without the network's last octave, (N / 2, N / 2, 3)."""
    small = cv2.resize(face.astype(np.float32), (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _fine(face: F32) -> F32:
    """The finest octave or two of a face's luma."""
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), _FINE_PX), np.float32)


def _extent(where: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last + 1 row and column that hold a true value; all 0 where none does."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if len(rows) else (0, 0, 0, 0)


def _steep(made: F32, large: F32, part: tuple[slice, slice], strength: float) -> F32:
    """A part of the enlarged drawing with steeper edges, which never go beyond the colours beside them in `made`."""
    size = large.shape[1], large.shape[0]
    scale = min(size) / NETWORK_SIDE_PX
    if scale <= 1 or strength <= 0:
        return large[part]
    around = np.ones((3, 3), np.uint8)
    low, high = (cv2.resize(edge(made, around), size)[part] for edge in (cv2.erode, cv2.dilate))
    blurred = cv2.GaussianBlur(large[part], (0, 0), 0.6 * scale)
    return np.asarray(np.clip(large[part] + _STEEPER * strength * (large[part] - blurred), low, high), np.float32)
