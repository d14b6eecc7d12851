"""Giving a painted face of 96x96 the sharpness of the face it replaces.

Where the drawing agrees with the clip (skin that is only repeated), all that is finer than the network paints well is
the clip's own. Elsewhere (the mouth) the drawing is enlarged and its edges are steepened without overshooting.

Legend: N = 96, the network's side; h, w the box.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.geometry import NETWORK_SIDE_PX, to_levels

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Part = tuple[slice, slice]
"""Rows and columns."""
WHOLE: Part = (slice(None), slice(None))

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
_NONE_KEPT = 0.002
"""Up to here nothing of the clip is seen, by half a level."""
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

    def enlarge(self, source: U8, made: F32, part: Part = WHOLE) -> U8:
        """The drawing `made`, float32 (N, N, 3) in [0, 255], at the size of the crop `source`, uint8 (h, w, 3).

        `part`: the rows and columns of it that are wanted, and returned; what is seen of a drawing is less than half.
        """
        size = source.shape[1], source.shape[0]
        shown, shown_coarse = _shrunk(source)
        now = agreement(shown, made)
        if self._agreement is not None:
            now = np.minimum(now, self._agreement + self._recover * (now - self._agreement))
        self._agreement = now
        kept = cv2.resize(now, size)[part]
        left, top, width, height = cv2.boundingRect(np.asarray(kept < _ALL_KEPT, np.uint8))
        if not height:
            return to_levels(self._repeated(source, made, shown_coarse, part))
        changed = np.s_[top : top + height, left : left + width]
        inside = _within(part, changed)
        large = _enlarged(made, size)
        strength = self._strength_for(source[inside], large[inside], np.float32(1) - kept[changed])
        painted = _steep(made, large, inside, strength)
        if kept.max() < _NONE_KEPT:
            return to_levels(painted)
        result = self._repeated(source, made, shown_coarse, part)
        result[changed] = cv2.blendLinear(
            np.ascontiguousarray(result[changed]), painted, kept[changed], np.float32(1) - kept[changed]
        )
        return to_levels(result)

    @staticmethod
    def _repeated(source: U8, made: F32, shown_coarse: F32, part: Part) -> F32:
        """The clip's detail on the drawing's coarse colours: the clip, plus what differs coarsely."""
        delta = _enlarged(_halved(made) - shown_coarse, (source.shape[1], source.shape[0]))
        return np.asarray(cv2.add(source[part], delta[part], dtype=cv2.CV_32F), np.float32)

    def _strength_for(self, source: U8, large: F32, where: F32) -> float:
        """How much to steepen, 0 to 1, from the detail of clip and drawing: never to more than the clip has."""
        theirs, ours = (_energy(_fine(face), where) for face in (source.astype(np.float32), large))
        lacking = math.sqrt(theirs / max(ours, 1e-6)) - 1 if theirs > 0 else 0.0
        now = min(max(lacking / _LACKING, 0.0), 1.0)
        last = now if self._strength is None else self._strength
        self._strength = last + self._recover * (now - last)
        return self._strength


def agreement(shown: U8 | F32, made: F32) -> F32:
    """Where a drawing only repeats what was shown, float32 (N, N) from 0, changed, to 1, the same; smooth."""
    off = np.abs(cv2.GaussianBlur(made - shown, (0, 0), 1.5)).max(axis=2)  # grain cancels out, shapes do not
    off = cv2.dilate(off, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1,) * 2))
    t = np.clip((off - _SAME_LEVELS) / (_OTHER_LEVELS - _SAME_LEVELS), 0, 1)
    return np.asarray(cv2.GaussianBlur(1 - t * t * (3 - 2 * t), (0, 0), 2.0), np.float32)


def _enlarged(face: F32, size: tuple[int, int]) -> F32:
    return np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _shrunk(source: U8) -> tuple[F32, F32]:
    """A crop at the network's size (N, N, 3), and without its last octave (N / 2, N / 2, 3)."""
    face, side = source.astype(np.float32), NETWORK_SIDE_PX
    small = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    # means of means are means, but not where a small crop was enlarged
    return small, _halved(small if min(face.shape[:2]) >= side else face)


def _halved(face: F32) -> F32:
    """A face without the network's last octave, (N / 2, N / 2, 3)."""
    return np.asarray(cv2.resize(face, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA), np.float32)


def _fine(face: F32) -> F32:
    """The finest octave or two of a face's luma."""
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), _FINE_PX), np.float32)


def _energy(fine: F32, where: F32) -> float:
    """Sum of squares, each as it counts."""
    return float(np.vdot(cv2.multiply(fine, where), fine))


def _within(outer: Part, inner: Part) -> Part:
    """A part of a part, as a part of the whole."""
    rows, columns = (
        slice((out.start or 0) + part.start, (out.start or 0) + part.stop)
        for out, part in zip(outer, inner, strict=True)
    )
    return rows, columns


def _steep(made: F32, large: F32, part: Part, strength: float) -> F32:
    """A part of the enlarged drawing with steeper edges, which never go beyond the colours beside them in `made`."""
    size = large.shape[1], large.shape[0]
    scale = min(size) / NETWORK_SIDE_PX
    plain = np.ascontiguousarray(large[part])
    if scale <= 1 or strength <= 0:
        return plain
    around = np.ones((3, 3), np.uint8)
    low, high = (cv2.resize(edge(made, around), size)[part] for edge in (cv2.erode, cv2.dilate))
    blur = 0.6 * scale
    reach = 2 * math.ceil(3 * blur) + 1
    blurred = cv2.GaussianBlur(plain, (reach, reach), blur)
    amount = _STEEPER * strength
    steep = cv2.addWeighted(plain, 1 + amount, blurred, -amount, 0, dst=blurred)
    return np.asarray(cv2.min(cv2.max(steep, low, dst=steep), high, dst=steep), np.float32)
