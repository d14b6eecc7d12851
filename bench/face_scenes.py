"""Drawn scenes with several people and the truth of who is where, for bench/faces.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.encode import SegmentWriter
from singalong.media.frames import MATRIX_SMPTE170M, RANGE_LIMITED, ColorInfo, bgr_to_frame
from singalong.synthetic.articulation import still_mouth
from singalong.synthetic.backdrop import BACKDROPS, paint_backdrop
from singalong.synthetic.camera import Quality
from singalong.synthetic.cast import Identity
from singalong.synthetic.poses import pose_track
from singalong.synthetic.relief import Light
from singalong.synthetic.render import FaceRenderer, Scene

Image = NDArray[np.uint8]

FPS = Fraction(25, 2)
PANEL = 200, 240
"""Width and height of what one person takes of a picture."""

_HEAD_SHARE = 0.62, 0.6
"""Half axes of the oval cut out around a head, shares of the face's box: hair is in it."""


@dataclass(frozen=True)
class Shot:
    """People from left to right; None is an empty place."""

    people: tuple[int | None, ...]
    num_frames: int
    seed: int

    def frames(self) -> Iterator[Image]:
        """(240, 200 times places, 3) uint8 BGR: side by side in one light before one kind of backdrop."""
        rng = np.random.default_rng(self.seed)
        backdrop = BACKDROPS[int(rng.integers(len(BACKDROPS)))]
        scene = Scene(self.seed, backdrop, Light.from_seed(self.seed), Quality.from_seed(self.seed))
        panels = [self._panel(person, scene, place) for place, person in enumerate(self.people)]
        for images in zip(*panels, strict=True):
            yield np.concatenate(images, axis=1)

    def _panel(self, person: int | None, scene: Scene, place: int) -> Iterator[Image]:
        width, height = PANEL
        if person is None:
            empty = paint_backdrop(scene.backdrop, width, height, seed=scene.seed)
            yield from [empty] * self.num_frames
            return
        size = float(np.random.default_rng([self.seed, place]).uniform(0.17, 0.24))
        poses = pose_track(
            self.num_frames, fps=float(FPS), seed=self.seed + place, half_height=size, centre=(0.5, 0.47), max_yaw=0.4
        )
        renderer = FaceRenderer(Identity.from_seed(person), scene, width=width, height=height, face_px=60)
        mouth = still_mouth(1)[0]
        for index, pose in enumerate(poses):
            yield renderer.frame(pose, mouth, index)


def write_video(path: Path, frames: Iterator[Image], *, fps: Fraction = FPS) -> Path:
    """A video of the frames."""
    color, writer = ColorInfo(MATRIX_SMPTE170M, RANGE_LIMITED, 6, 6), None
    for index, bgr in enumerate(frames):
        if writer is None:
            height, width = bgr.shape[:2]
            writer = SegmentWriter(path, width=width, height=height, fps=fps, color=color, crf=18, preset="veryfast")
            writer.__enter__()
        writer.write(bgr_to_frame(bgr, pts_s=index / float(fps), color=color))
    assert writer is not None
    writer.__exit__(None, None, None)
    return path


@dataclass(frozen=True)
class Crossing:
    """Two people who pass before each other, the first in front; `turns` has them turn round where they meet."""

    people: tuple[int, int]
    seed: int
    turns: bool
    num_frames: int = 40

    size = 480, 270

    def centres(self) -> NDArray[np.float64]:
        """Where the heads' middles are, (frames, 2 people, x y)."""
        across = np.linspace(0, 1, self.num_frames)
        if self.turns:
            across = np.where(across < 0.5, across, 1 - across)
        left = 90 + 300 * across
        middle = np.full(self.num_frames, 125.0)
        front, behind = np.stack([left, middle], axis=1), np.stack([480 - left, middle + 6], axis=1)
        return np.stack([front, behind], axis=1)

    def frames(self) -> Iterator[Image]:
        """(270, 480, 3) uint8 BGR."""
        width, height = self.size
        backdrop = paint_backdrop("room", width, height, seed=self.seed)
        heads = [self._head(person) for person in self.people]
        for front, behind in self.centres():
            image = backdrop.astype(np.float32)
            for (head, alpha), centre in ((heads[1], behind), (heads[0], front)):
                _lay(image, head, alpha, centre)
            yield np.asarray(np.rint(image), np.uint8)

    def _head(self, person: int) -> tuple[Image, NDArray[np.float32]]:
        """A head cut out: picture and coverage, the head in the middle."""
        scene = Scene(seed=person, backdrop="studio")
        renderer = FaceRenderer(Identity.from_seed(person), scene, width=200, height=200, face_px=60)
        pose, mouth = (
            pose_track(1, fps=25, seed=person, half_height=0.28, centre=(0.5, 0.5), liveliness=0)[0],
            still_mouth(1)[0],
        )
        x1, y1, x2, y2 = renderer.geometry(pose, mouth).box
        alpha = np.zeros((200, 200), np.uint8)
        middle, axes = ((x1 + x2) / 2, (y1 + y2) / 2), (_HEAD_SHARE[0] * (x2 - x1), _HEAD_SHARE[1] * (y2 - y1))
        cv2.ellipse(alpha, [int(v) for v in middle], [int(v) for v in axes], 0, 0, 360, 255, -1)
        return renderer.frame(pose, mouth), cv2.GaussianBlur(alpha, (0, 0), 1.5).astype(np.float32)[..., None] / 255


def _lay(image: NDArray[np.float32], head: Image, alpha: NDArray[np.float32], centre: NDArray[np.float64]) -> None:
    x, y = (round(value) - 100 for value in centre)
    height, width = image.shape[:2]
    rows, columns = slice(max(y, 0), min(y + 200, height)), slice(max(x, 0), min(x + 200, width))
    part = slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)
    image[rows, columns] += alpha[part] * (head[part].astype(np.float32) - image[rows, columns])
