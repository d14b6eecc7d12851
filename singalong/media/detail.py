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

from singalong.media.frames import YuvFrame, bgr_values, chroma_of, whole_chroma, yuv_values
from singalong.media.geometry import NETWORK_SIDE_PX, Box, Part, part_of, to_levels
from singalong.media.layers import Layer, finished_chroma

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
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
_FINE_PX = 1.5
"""Detail finer than this blur is compared to tell whether a drawing lacks any."""
_LACKING = 0.25
"""A drawing that lacks so much of the clip's detail (as a ratio, less one) gets the full steepening."""


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
        shown, coarse = _shrunk(source)
        layer = Layer(source, part, made=made, shift=_halved(made) - coarse, agreed=self._agreed(shown, made))
        return to_levels(layer.finished(self._strength_for(layer)))

    def enlarge_samples(self, frame: YuvFrame, box: Box, made: F32, part: Part) -> tuple[F32, F32]:
        """The same in a frame's own samples of 8 bits, half as many numbers: luma (h, w) and chroma (h', w', 2).

        `made` is BGR of a whole box; `part` names rows and columns of the box. Luma is that of the part, chroma of its
        `whole_chroma`, both float32, neither rounded nor cut.
        """
        x1, y1, x2, y2 = box
        luma, chroma = frame.y[y1:y2, x1:x2], chroma_of(frame, whole_chroma(frame, box))
        (shown, coarse), (shown_uv, coarse_uv) = _shrunk(luma), _shrunk(chroma)
        agreed = self._agreed(bgr_values(frame, np.dstack((shown, shown_uv))), made)
        drawn, *uv = (np.asarray(plane, np.float32) for plane in cv2.split(yuv_values(frame, made)))
        layer = Layer(luma, part, made=drawn, shift=_halved(drawn) - coarse, agreed=agreed)
        strength = self._strength_for(layer)
        drawn_uv, samples = np.asarray(cv2.merge(uv), np.float32), whole_chroma(frame, part_of(box, part))
        below = finished_chroma(
            chroma_of(frame, samples),
            box,
            samples,
            made=drawn_uv,
            shift=_halved(drawn_uv) - coarse_uv,
            agreed=agreed,
            strength=strength,
        )
        return layer.finished(strength), below

    def _agreed(self, shown: F32, made: F32) -> F32:
        """Where drawing and clip agree, (N, N), as far as that has come back since they last did not."""
        now = agreement(shown, made)
        if self._agreement is not None:
            now = np.minimum(now, self._agreement + self._recover * (now - self._agreement))
        self._agreement = now
        return now

    def _strength_for(self, layer: Layer) -> float:
        """How much to steepen, 0 to 1, from the detail of clip and drawing: never to more than the clip has."""
        if layer.changed is None:
            return 0.0
        where, source = np.float32(1) - layer.kept[layer.changed], layer.source[layer.changed].astype(np.float32)
        theirs, ours = (_energy(_fine(face), where) for face in (source, layer.plain))
        lacking = math.sqrt(theirs / max(ours, 1e-6)) - 1 if theirs > 0 else 0.0
        now = min(max(lacking / _LACKING, 0.0), 1.0)
        last = now if self._strength is None else self._strength
        self._strength = last + self._recover * (now - last)
        return self._strength


def agreement(shown: U8 | F32, made: F32) -> F32:
    """Where a drawing only repeats what was shown, float32 (N, N) from 0, changed, to 1, the same; smooth."""
    differing = np.abs(cv2.GaussianBlur(made - shown, (0, 0), 1.5))  # grain cancels out, shapes do not
    blue, green, red = cv2.split(differing)
    off = cv2.max(cv2.max(blue, green), red)
    off = cv2.dilate(off, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1,) * 2))
    t = np.clip((off - _SAME_LEVELS) / (_OTHER_LEVELS - _SAME_LEVELS), 0, 1)
    return np.asarray(cv2.GaussianBlur(1 - t * t * (3 - 2 * t), (0, 0), 2.0), np.float32)


def _shrunk(source: U8) -> tuple[F32, F32]:
    """Samples at the network's size (N, N[, C]), and without its last octave (N / 2, N / 2[, C])."""
    face, side = source.astype(np.float32), NETWORK_SIDE_PX
    small = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    # means of means are means, but not where a small crop was enlarged
    return small, _halved(small if min(face.shape[:2]) >= side else face)


def _halved(face: F32) -> F32:
    """A face without the network's last octave, (N / 2, N / 2[, C])."""
    return np.asarray(cv2.resize(face, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA), np.float32)


def _fine(face: F32) -> F32:
    """The finest octave or two of a face's luma, told from all colours or luma itself."""
    gray = face if face.ndim == 2 else cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    return np.asarray(gray - cv2.GaussianBlur(gray, (0, 0), _FINE_PX), np.float32)


def _energy(fine: F32, where: F32) -> float:
    """Sum of squares, each as it counts."""
    return float(np.vdot(cv2.multiply(fine, where), fine))
