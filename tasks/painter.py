"""Giving frames new lips: cut the face out, let the generator draw, lay the drawing back.

`tasks.lipsync` streams a shard through a painter; whoever wants to see a single frame uses one the same way.
Legend: n frames, S mel steps of the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from singalong.config import LipsyncSettings
from singalong.media.frames import YuvFrame, face_region_to_bgr, paste_bgr
from singalong.media.geometry import Box, fit_to_box, network_crop, pad_box, paste_mask
from singalong.media.warp import apply_warp
from singalong.tracks import ChosenFace
from tasks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.engine import Drawing, Engine

_MIN_BOX_PX = 8
"""A box with less than this inside the frame shows no mouth."""


@dataclass(frozen=True)
class Spot:
    """Where a frame gets new lips.

    Attributes:
        box: what the generator is shown, inside the frame: the face's box with the pads of the settings.
        landmarks: eyes, nose and mouth corners (5, 2) in pixels of the frame, see TRACKS_SCHEMA; None: not known.
        shot: frames of other shots have nothing to do with each other.
    """

    box: Box
    landmarks: NDArray[np.float64] | None = None
    shot: int = 0


@dataclass(frozen=True)
class Painted:
    """What became of some frames.

    Attributes:
        frames: one for each given; those without a spot are the very ones given.
        faces: the drawn face by index of its frame, BGR uint8 (h, w, 3): of the network's size where it was painted
            anew, of the box's where it was bent.
    """

    frames: list[YuvFrame]
    faces: dict[int, NDArray[np.uint8]]


class FacePainter:
    """Gives new lips to frames of one clip, in the order in which they are shown."""

    def __init__(self, settings: LipsyncSettings, generator: Engine, watch: Stopwatch | None = None) -> None:
        """`watch` is told the time that goes into the stages crop, generate and paste."""
        self.settings, self.generator = settings, generator
        self._watch = watch or Stopwatch()

    def spot_at(self, face: ChosenFace, pts_s: float, *, width: int, height: int) -> Spot | None:
        """Where the source frame at this time gets lips; None where the face is not there, or hardly in the frame."""
        found = face.box_at(pts_s)
        if found is None:
            return None
        x1, y1, x2, y2 = box = pad_box(found, self.settings.pads, width=width, height=height)
        if x2 - x1 < _MIN_BOX_PX or y2 - y1 < _MIN_BOX_PX:
            return None
        return Spot(box, face.landmarks_at(pts_s), face.shot_at(pts_s))

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
            crops = {
                index: face_region_to_bgr(frame, spot.box)
                for index, (frame, spot) in enumerate(zip(frames, spots, strict=True))
                if spot is not None
            }
        faces = self._draw(crops, mels, sung)
        with self._watch.stage("paste"):
            outputs = [
                frame if spot is None else self._paste(frame, spot, faces[index])
                for index, (frame, spot) in enumerate(zip(frames, spots, strict=True))
            ]
        return Painted(outputs, faces)

    def _draw(
        self, crops: dict[int, NDArray[np.uint8]], mels: NDArray[np.float32], sung: NDArray[np.float32] | None
    ) -> dict[int, NDArray[np.uint8]]:
        if not crops:
            return {}
        with self._watch.stage("crop"):
            small = np.stack([network_crop(crop) for crop in crops.values()])
        with self._watch.stage("generate"):
            indices = list(crops)
            drawings = self.generator.generate(mels[indices], small, None if sung is None else sung[indices])
            return {
                index: _drawn(crop, drawing) for (index, crop), drawing in zip(crops.items(), drawings, strict=True)
            }

    def _paste(self, frame: YuvFrame, spot: Spot, face: NDArray[np.uint8]) -> YuvFrame:
        output = frame.copy()  # the source may be shown again, and its lips are scored too
        x1, y1, x2, y2 = spot.box
        mask = paste_mask(x2 - x1, y2 - y1, style=self.settings.mask, feather=self.settings.feather)
        paste_bgr(output, spot.box, fit_to_box(face, spot.box), mask)
        return output


def _drawn(face_bgr: NDArray[np.uint8], drawing: Drawing) -> NDArray[np.uint8]:
    """The new face: of the network's size where it was painted, of its own size where it was bent."""
    if isinstance(drawing, np.ndarray):
        return drawing
    return apply_warp(face_bgr, drawing.flow, drawing.patch)
