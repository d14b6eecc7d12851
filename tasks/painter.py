"""Giving frames new lips: cut the face out, let the generator draw, lay the drawing back.

`tasks.lipsync` streams a shard through a painter; whoever wants to see a single frame uses one the same way.
Legend: n frames, S mel steps of the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.align import add_detail, aligned_face, alignment
from singalong.media.color_match import ColorMatch
from singalong.media.detail import WHOLE, DetailTransfer
from singalong.media.frames import YuvFrame, face_region_to_bgr, paste_bgr, paste_samples
from singalong.media.geometry import Box, Part, fit_to_box, network_crop, pad_box, part_of, paste_mask
from singalong.media.jaw import jaw_outline
from singalong.media.warp import apply_warp, hold_still, warp_samples
from singalong.settings import LipsyncSettings
from singalong.tracks import ChosenFace
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.engine import Bend, Drawing, Engine
    from models.enhancer import Enhancer

U8 = NDArray[np.uint8]

_MIN_BOX_PX = 8
"""A box with less than this inside the frame shows no mouth."""
_UNSEEN = 1 / 2048
"""A share that changes no sample, not even one of 10 bits, by half a step."""
_MIN_FADE = 0.1
"""Share of the box over which a bend fades at least: two pixels that move apart by more than one would tear."""


@dataclass(frozen=True)
class Spot:
    """Where a frame gets new lips.

    Attributes:
        box: what the generator is shown, inside the frame: the face's box with the pads of the settings.
        landmarks: eyes, nose and mouth corners (5, 2) in pixels of the frame, see TRACKS_SCHEMA; None: not known.
        shot: frames of other shots have nothing to do with each other.
        weight: how much of the new lips is to be seen, 0 to 1: less where the face is about to turn away, or comes
            back, so that lips do not jump from the clip's own to the song's.
    """

    box: Box
    landmarks: NDArray[np.float64] | None = None
    shot: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class Painted:
    """What became of some frames.

    Attributes:
        frames: one for each given; those without a spot are the very ones given.
        faces: by index of the frame, who gives the drawn face, BGR uint8 (h, w, 3): of the network's size where it was
            painted anew, of the box's where it was bent.
    """

    frames: list[YuvFrame]
    faces: dict[int, Callable[[], U8]]


class FacePainter:
    """Gives new lips to frames of one clip, in the order in which they are shown.

    It remembers from frame to frame how the generator's colours are off and where it repeats the clip, so that neither
    flickers; not beyond a shot. How the frames are split into calls of `paint` changes no pixel.
    """

    def __init__(
        self,
        settings: LipsyncSettings,
        generator: Engine,
        *,
        fps: float,
        enhancer: Enhancer | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        """Paint with a generator and, if there is one, sharpen what it drew with an enhancer.

        `fps` is the rate at which frames are shown; `watch` is told the time of the stages crop, generate, paste and
        enhance.
        """
        self.settings, self.generator, self.enhancer = settings, generator, enhancer
        self._watch = watch or Stopwatch()
        self._colors, self._detail = ColorMatch(fps), DetailTransfer(fps)
        self._shot: int | None = None

    def spot_at(self, face: ChosenFace, pts_s: float, *, width: int, height: int) -> Spot | None:
        """Where the source frame at this time gets lips; None where the face is not there, or hardly in the frame."""
        found = face.box_at(pts_s)
        if found is None:
            return None
        x1, y1, x2, y2 = box = pad_box(found, self.settings.pads, width=width, height=height)
        if x2 - x1 < _MIN_BOX_PX or y2 - y1 < _MIN_BOX_PX:
            return None
        return Spot(box, face.landmarks_at(pts_s), face.shot_at(pts_s), face.weight_at(pts_s))

    def paint(
        self,
        frames: Sequence[YuvFrame],
        spots: Sequence[Spot | None],
        mels: NDArray[np.float32],
        sung: NDArray[np.float32] | None = None,
    ) -> Painted:
        """The frames with new lips where they have a spot.

        mels (n, 80, S), the sound of each frame; sung (n,) in [0, 1], how much of it is to be seen, for generators
        that can rest. Raises what `Engine.generate` raises.
        """
        with self._watch.stage("crop"):
            sittings = {
                index: _Sitting(frame, spot, face_region_to_bgr(frame, spot.box))
                for index, (frame, spot) in enumerate(zip(frames, spots, strict=True))
                if spot is not None
            }
            small = [network_crop(sitting.crop) for sitting in sittings.values()]
        outputs = list(frames)
        faces: dict[int, Callable[[], U8]] = {}
        if sittings:
            indices = list(sittings)
            with self._watch.stage("generate"):
                drawings = self.generator.generate(
                    mels[indices], np.stack(small), None if sung is None else sung[indices]
                )
            for (index, sitting), shown, drawing in zip(sittings.items(), small, drawings, strict=True):
                outputs[index], faces[index] = self._lay(sitting, shown, drawing)
        return Painted(outputs, faces)

    def _lay(self, sitting: _Sitting, shown: U8, drawing: Drawing) -> tuple[YuvFrame, Callable[[], U8]]:
        """The frame with a drawing in it, and who gives the drawn face."""
        spot, crop = sitting.spot, sitting.crop
        enhancer = self.enhancer if spot.landmarks is not None else None
        if enhancer is None and not sitting.frame.is_deep:  # enhancers see BGR, and HDR is not what its samples say
            with self._watch.stage("paste"):
                if not isinstance(drawing, np.ndarray):
                    bent = self._bent_samples(sitting, drawing)
                    return bent, partial(face_region_to_bgr, bent, spot.box)
                if self.settings.keep_detail:
                    return self._painted_samples(sitting, shown, drawing), lambda: drawing
        with self._watch.stage("paste"):
            if isinstance(drawing, np.ndarray):
                made, mask = drawing, self.mask(spot)
                part = _seen(mask, spot.box) if enhancer is None else WHOLE
                face, mask = self._finished(sitting, shown, drawing, part), mask[part]
            else:
                made = face = apply_warp(crop, *self._calm(spot, drawing))
                # Nothing else may change, not even by rounding; and what was bent ends where the flow does.
                mask, part = _changed(face, crop), WHOLE
        if enhancer is not None:
            with self._watch.stage("enhance"):
                face, mask = self._enhanced(sitting, face, mask, enhancer)
        with self._watch.stage("paste"):
            if part is WHOLE:
                part = _seen(mask, spot.box)
                face, mask = face[part], mask[part]
            output = sitting.frame.copy()  # the source may be shown again, and its lips are scored too
            paste_bgr(output, part_of(spot.box, part), face, mask)
        return output, lambda: made

    def _painted_samples(self, sitting: _Sitting, shown: U8, drawing: U8) -> YuvFrame:
        """The frame with a drawing in it, without ever making BGR of what is pasted."""
        box, mask = sitting.spot.box, self.mask(sitting.spot)
        part = _seen(mask, box)
        luma, chroma = self._detail.enlarge_samples(sitting.frame, box, self._matched(sitting, shown, drawing), part)
        output = sitting.frame.copy()  # the source may be shown again, and its lips are scored too
        paste_samples(output, part_of(box, part), luma, chroma, mask[part])
        return output

    def _bent_samples(self, sitting: _Sitting, bend: Bend) -> YuvFrame:
        """The frame with a bent face, without ever making BGR of it."""
        output = sitting.frame.copy()
        warp_samples(output, sitting.spot.box, *self._calm(sitting.spot, bend))
        return output

    def _calm(self, spot: Spot, bend: Bend) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A bend that ends where the lower face does."""
        cells = (bend.flow.shape[1], bend.flow.shape[0])
        return hold_still(bend.flow, bend.patch, self._soft_mask(spot, cells))

    def _enhanced(
        self, sitting: _Sitting, face: U8, mask: NDArray[np.float32], enhancer: Enhancer
    ) -> tuple[U8, NDArray[np.float32]]:
        """The lower face sharpened by the enhancer, and the mask to paste it with."""
        spot, crop = sitting.spot, sitting.crop
        assert spot.landmarks is not None
        pasted = (crop + (face - crop.astype(np.float32)) * mask[..., None] + 0.5).astype(np.uint8)
        matrix = alignment(spot.landmarks, enhancer.side)
        before = aligned_face(sitting.frame, spot.box, pasted, matrix, enhancer.side)
        weight = self._soft_mask(spot) * np.float32(self.settings.enhancer_weight)
        sharper = add_detail(pasted, spot.box, before, enhancer.enhance(before), matrix, weight)
        return sharper, _changed(sharper, crop)

    def mask(self, spot: Spot) -> NDArray[np.float32]:
        """How much of a painted face shows in each pixel of the box, float32 (h, w) in [0, 1]."""
        if self.settings.mask == "box":
            x1, y1, x2, y2 = spot.box
            return paste_mask(x2 - x1, y2 - y1, style="box", feather=self.settings.feather)
        return _weighed(_lower_face(spot, self.settings.feather), spot.weight)

    def _soft_mask(self, spot: Spot, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Where bends and enhancers act: within the lower face whatever the setting, as neither has a box to show."""
        return _weighed(_lower_face(spot, max(self.settings.feather, _MIN_FADE), size), spot.weight)

    def _matched(self, sitting: _Sitting, shown: U8, made: U8) -> NDArray[np.float32]:
        """A painted face in the clip's colours, if so set, float32 of the network's size."""
        if sitting.spot.shot != self._shot:
            self._colors.cut()
            self._detail.cut()
            self._shot = sitting.spot.shot
        return self._colors.match(shown, made) if self.settings.match_color else made.astype(np.float32)

    def _finished(self, sitting: _Sitting, shown: U8, made: U8, part: Part) -> U8:
        """A part of a painted face at the size of its box, in the clip's colours and with its detail, if so set."""
        matched = self._matched(sitting, shown, made)
        if self.settings.keep_detail:
            return self._detail.enlarge(sitting.crop, matched, part)
        whole = fit_to_box((matched + 0.5).astype(np.uint8) if self.settings.match_color else made, sitting.spot.box)
        return whole[part]


def _lower_face(spot: Spot, feather: float, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """The lower face in the pixels of the box, or in as many cells across and down as `size` says."""
    x1, y1, x2, y2 = spot.box
    width, height = size or (x2 - x1, y2 - y1)
    mask = paste_mask(width, height, style="lower_face", feather=feather)
    if spot.landmarks is None:
        return mask
    feather_px = feather * min(x2 - x1, y2 - y1)
    jaw = jaw_outline(spot.box, spot.landmarks, feather_px=feather_px, size=(width, height))
    return mask if jaw is None else mask * jaw


def _weighed(mask: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    return mask if weight == 1.0 else mask * np.float32(weight)


def _changed(face: U8, crop: U8) -> NDArray[np.float32]:
    """1 where a face is not the clip's, float32 (h, w)."""
    same = cv2.inRange(cv2.absdiff(face, crop), (0, 0, 0), (0, 0, 0))
    return np.asarray(same == 0, np.float32)


def _seen(mask: NDArray[np.float32], box: Box) -> Part:
    """The rows and columns of a box in which a mask shows anything, from even pixels of the frame to even ones.

    All of them where it shows nothing.
    """
    left, top, width, height = cv2.boundingRect(np.asarray(mask > _UNSEEN, np.uint8))
    if not height:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    x1, y1, x2, y2 = box
    first_row, last_row = max(0, top - (y1 + top) % 2), top + height + (y1 + top + height) % 2
    first_column, last_column = max(0, left - (x1 + left) % 2), left + width + (x1 + left + width) % 2
    return slice(first_row, min(last_row, y2 - y1)), slice(first_column, min(last_column, x2 - x1))


class _Sitting(NamedTuple):
    """A frame, where in it the face is, and the face, BGR uint8 (h, w, 3)."""

    frame: YuvFrame
    spot: Spot
    crop: U8
