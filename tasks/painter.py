"""Giving frames new lips: cut the face out, let the generator draw, lay the drawing back.

`tasks.lipsync` streams a shard through a painter; whoever wants to see a single frame uses one the same way.
Legend: n frames, S mel steps of the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from singalong.media.align import add_detail, aligned_face, alignment
from singalong.media.color_match import ColorMatch
from singalong.media.detail import DetailTransfer
from singalong.media.frames import YuvFrame, face_region_to_bgr, paste_bgr
from singalong.media.geometry import Box, fit_to_box, network_crop, pad_box, paste_mask
from singalong.media.jaw import jaw_outline
from singalong.media.warp import apply_warp, hold_still
from singalong.settings import LipsyncSettings
from singalong.tracks import ChosenFace
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.engine import Drawing, Engine
    from models.enhancer import Enhancer

U8 = NDArray[np.uint8]

_MIN_BOX_PX = 8
"""A box with less than this inside the frame shows no mouth."""
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
        faces: the drawn face by index of its frame, BGR uint8 (h, w, 3): of the network's size where it was painted
            anew, of the box's where it was bent.
    """

    frames: list[YuvFrame]
    faces: dict[int, U8]


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
        outputs, faces = list(frames), {}
        if sittings:
            indices = list(sittings)
            with self._watch.stage("generate"):
                drawings = self.generator.generate(
                    mels[indices], np.stack(small), None if sung is None else sung[indices]
                )
            for (index, sitting), shown, drawing in zip(sittings.items(), small, drawings, strict=True):
                outputs[index], faces[index] = self._lay(sitting, shown, drawing)
        return Painted(outputs, faces)

    def _lay(self, sitting: _Sitting, shown: U8, drawing: Drawing) -> tuple[YuvFrame, U8]:
        """The frame with a drawing in it, and the drawn face."""
        with self._watch.stage("paste"):
            if isinstance(drawing, np.ndarray):
                made, face, mask = drawing, self._finished(sitting, shown, drawing), self.mask(sitting.spot)
            else:
                calm = hold_still(drawing.flow, drawing.patch, self._soft_mask(sitting.spot))
                made = face = apply_warp(sitting.crop, *calm)
                # Nothing else may change, not even by rounding; and what was bent ends where the flow does.
                mask = _changed(face, sitting.crop)
        if self.enhancer is not None and sitting.spot.landmarks is not None:
            with self._watch.stage("enhance"):
                face, mask = self._enhanced(sitting, face, mask, self.enhancer)
        with self._watch.stage("paste"):
            output = sitting.frame.copy()  # the source may be shown again, and its lips are scored too
            paste_bgr(output, sitting.spot.box, face, mask)
        return output, made

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
        return _lower_face(spot, self.settings.feather) * np.float32(spot.weight)

    def _soft_mask(self, spot: Spot) -> NDArray[np.float32]:
        """Where bends and enhancers act: within the lower face whatever the setting, as neither has a box to show."""
        return _lower_face(spot, max(self.settings.feather, _MIN_FADE)) * np.float32(spot.weight)

    def _finished(self, sitting: _Sitting, shown: U8, made: U8) -> U8:
        """A painted face at the size of its box, in the clip's colours and with its detail, if so set."""
        if sitting.spot.shot != self._shot:
            self._colors.cut()
            self._detail.cut()
            self._shot = sitting.spot.shot
        matched = self._colors.match(shown, made) if self.settings.match_color else made.astype(np.float32)
        if self.settings.keep_detail:
            return self._detail.enlarge(sitting.crop, matched)
        return fit_to_box((matched + 0.5).astype(np.uint8) if self.settings.match_color else made, sitting.spot.box)


def _lower_face(spot: Spot, feather: float) -> NDArray[np.float32]:
    x1, y1, x2, y2 = spot.box
    mask = paste_mask(x2 - x1, y2 - y1, style="lower_face", feather=feather)
    if spot.landmarks is None:
        return mask
    jaw = jaw_outline(spot.box, spot.landmarks, feather_px=feather * min(x2 - x1, y2 - y1))
    return mask if jaw is None else mask * jaw


def _changed(face: U8, crop: U8) -> NDArray[np.float32]:
    """1 where a face is not the clip's, float32 (h, w)."""
    return np.asarray((face != crop).any(axis=2), np.float32)


class _Sitting(NamedTuple):
    """A frame, where in it the face is, and the face, BGR uint8 (h, w, 3)."""

    frame: YuvFrame
    spot: Spot
    crop: U8
