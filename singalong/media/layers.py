"""What becomes of some samples of a face (all three colours, or luma alone) where a drawing is laid over them; and of
the coarser chroma beneath luma.

Legend: N = 96, the network's side; h, w the samples wanted; C colours, not there for luma.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.geometry import NETWORK_SIDE_PX, Box, Part

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_ALL_KEPT = 0.995
"""From here on a pixel is the clip's own to less than a level."""
_NONE_KEPT = 0.002
"""Up to here nothing of the clip is seen, by half a level."""
_STEEPER = 1.0
"""Strength of the steepening of edges; beyond it mouths look drawn in ink. Overshoot is cut off in any case."""
_EDGE_CELLS = 0.6
"""Deviation of the blur that edges are steepened against, in cells of the network."""
_AROUND = np.ones((3, 3), np.uint8)


class Layer:
    """A part of a box of pixels, all their colours or luma.

    Attributes:
        source: the clip's own, uint8 (h, w[, C]).
        kept: how much of the clip's own detail each pixel keeps, float32 (h, w) in [0, 1].
        changed: the rows and columns of the part that are not the clip's own; None if all are.
        plain: the drawing there, only enlarged, float32.
    """

    def __init__(self, box: U8, part: Part, *, made: F32, shift: F32, agreed: F32) -> None:
        """Prepare a part of `box`, uint8 (H, W[, C]).

        made (N, N[, C]) is the drawing, shift (N / 2, N / 2[, C]) how its coarse colours differ from the clip's,
        agreed (N, N) where it only repeats.
        """
        self._size, self._part = (box.shape[1], box.shape[0]), part
        self._made, self._shift = made, shift
        self.source = box[part]
        self.kept = self._enlarged(agreed, cv2.INTER_LINEAR)
        left, top, width, height = cv2.boundingRect(np.asarray(self.kept < _ALL_KEPT, np.uint8))
        self.changed: Part | None = np.s_[top : top + height, left : left + width] if height else None
        self.plain = np.ascontiguousarray(self._enlarged(made)[self.changed]) if self.changed else made[:0]

    def finished(self, strength: float) -> F32:
        """The clip's detail where it is kept and the drawing, its edges steepened, elsewhere; float32 (h, w[, C])."""
        if self.changed is None:
            return self._repeated()
        steep = self._steep(self.changed, strength)
        if self.kept.max() < _NONE_KEPT:
            return steep
        result = self._repeated()
        kept = np.ascontiguousarray(self.kept[self.changed])
        repeated = np.ascontiguousarray(result[self.changed])
        result[self.changed] = cv2.blendLinear(repeated, steep, kept, np.float32(1) - kept)
        return result

    def _repeated(self) -> F32:
        """The clip's detail on the drawing's coarse colours: the clip, plus what differs coarsely."""
        return np.asarray(cv2.add(self.source, self._enlarged(self._shift), dtype=cv2.CV_32F), np.float32)

    def _steep(self, part: Part, strength: float) -> F32:
        """The enlarged drawing with steeper edges, which never go beyond the colours beside them in the drawing."""
        scale = min(self._size) / NETWORK_SIDE_PX
        if scale <= 1 or strength <= 0:
            return self.plain
        low, high = (
            self._enlarged(np.asarray(edge(self._made, _AROUND), np.float32), cv2.INTER_LINEAR)[part]
            for edge in (cv2.erode, cv2.dilate)
        )
        blur = _EDGE_CELLS * scale
        reach = 2 * math.ceil(3 * blur) + 1
        blurred = np.asarray(cv2.GaussianBlur(self.plain, (reach, reach), blur), np.float32)
        return _between(low, _away(self.plain, blurred, strength), high)

    def _enlarged(self, field: F32, interpolation: int = cv2.INTER_CUBIC) -> F32:
        """The part of a field over the whole box; the whole is enlarged, as cv2 enlarges no part to the same values."""
        return np.asarray(cv2.resize(field, self._size, interpolation=interpolation)[self._part], np.float32)


def finished_chroma(source: U8, box: Box, samples: Box, *, made: F32, shift: F32, agreed: F32, strength: float) -> F32:
    """The same for chroma `source`, uint8 (h, w, 2): of the `samples` that `frames.whole_chroma` names, in a `box`.

    Chroma is half as fine as luma, so all is made ready in the network's cells and enlarged once.
    """
    if min(box[2] - box[0], box[3] - box[1]) > NETWORK_SIDE_PX and strength > 0:
        low, high = (np.asarray(edge(made, _AROUND), np.float32) for edge in (cv2.erode, cv2.dilate))
        blurred = np.asarray(cv2.GaussianBlur(made, (0, 0), _EDGE_CELLS), np.float32)
        made = _between(low, _away(made, blurred, strength), high)
    shift = np.asarray(cv2.resize(shift, made.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    drawn = cv2.blendLinear(shift, made, agreed, np.float32(1) - agreed)
    field = _over_samples(np.asarray(cv2.merge((agreed, *cv2.split(drawn))), np.float32), box, samples)
    kept, *drawn_uv = cv2.split(field)
    own_uv = (cv2.multiply(plane, kept, dtype=cv2.CV_32F) for plane in cv2.split(source))
    planes = [cv2.add(own, drawn) for own, drawn in zip(own_uv, drawn_uv, strict=True)]
    return np.asarray(cv2.merge(planes), np.float32)


def _over_samples(field: F32, box: Box, samples: Box) -> F32:
    """A field over the pixels of a box, which may lie between samples, at some chroma samples, bilinear."""
    (x1, y1, x2, y2), (left, top, right, bottom) = box, samples
    across, down = field.shape[1] / (x2 - x1), field.shape[0] / (y2 - y1)
    # sample i stands for the pixels 2 i and 2 i + 1, and lies where they meet
    matrix = np.array(
        [
            [2 * across, 0, (2 * left + 1 - x1) * across - 0.5],
            [0, 2 * down, (2 * top + 1 - y1) * down - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (right - left, bottom - top)
    return np.asarray(cv2.warpAffine(field, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _away(plain: F32, blurred: F32, strength: float) -> F32:
    """Twice the distance from the blurred, at full strength; written into `blurred`."""
    amount = _STEEPER * strength
    return np.asarray(cv2.addWeighted(plain, 1 + amount, blurred, -amount, 0, dst=blurred), np.float32)


def _between(low: F32, values: F32, high: F32) -> F32:
    return np.asarray(cv2.min(cv2.max(values, low, dst=values), high, dst=values), np.float32)
