"""Renders people: a pose track and a mouth track in, frames out.

The same pose track with another mouth track gives the same pictures but for the lower face, to the last bit where the
mouth's motion does not reach: what same-pose pairs for training need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.backdrop import BACKDROPS, paint_backdrop
from singalong.synthetic.body import paint_body
from singalong.synthetic.camera import Camera, Quality
from singalong.synthetic.cast import Identity
from singalong.synthetic.eyes import EyePainter
from singalong.synthetic.grid import Canvas
from singalong.synthetic.head import Head, paint_head
from singalong.synthetic.lips import JAW_DROP, lip_curves, mouth_shape
from singalong.synthetic.mouth import MouthPainter
from singalong.synthetic.poses import POSE_NAMES
from singalong.synthetic.relief import Light
from singalong.synthetic.turn import Turn, sample_depth

_SIZE = POSE_NAMES.index("half_height")
_SCALE_STEP = 1.19
_OVERSAMPLING = 1.2
_MARGIN = 0.1


@dataclass(frozen=True)
class Scene:
    """Everything about a picture but the person: backdrop, light, camera."""

    seed: int = 0
    backdrop: str = "studio"
    light: Light = field(default_factory=Light)
    quality: Quality = field(default_factory=Quality)

    @classmethod
    def from_seed(cls, seed: int) -> Scene:
        """A random scene."""
        rng = np.random.default_rng([seed, 151])
        backdrop = BACKDROPS[int(rng.integers(len(BACKDROPS)))]
        return cls(seed, backdrop, Light.from_seed(seed), Quality.from_seed(seed))


@dataclass(frozen=True)
class FaceGeometry:
    """Where things are in a frame, pixels. box: hairline to resting chin, ear to ear (x1, y1, x2, y2), whatever the
    mouth does; landmarks: eyes, nose tip, mouth corners (5, 2), left in the picture first; lips: outer then inner
    outline (40, 2); chin: (2,).
    """

    box: Floats
    landmarks: Floats
    lips: Floats
    chin: Floats


class FaceRenderer:
    """Renders one person in one scene at one frame size; not thread-safe.

    face_px: half-height of the largest face to come, pixels; textures are painted for it, so that frames can be asked
    for in any order. Without it the first frame decides, and much larger or smaller faces have the textures painted
    anew.
    """

    def __init__(
        self, person: Identity, scene: Scene, *, width: int, height: int, face_px: float | None = None
    ) -> None:
        self.person, self.scene, self.width, self.height = person, scene, width, height
        self._background = paint_backdrop(scene.backdrop, width, height, seed=scene.seed)
        self._camera = Camera(scene.quality, width=width, height=height, seed=scene.seed)
        self._scale = 0.0
        if face_px is not None:
            self._set_scale(face_px)

    def frame(self, pose: Floats, mouth: Floats, index: int = 0) -> np.ndarray:
        """One frame, (height, width, 3) uint8 BGR. pose: (10,) row; mouth: (9,) row; index: for the noise."""
        p = dict(zip(POSE_NAMES, (float(value) for value in pose), strict=True))
        self._set_scale(p["half_height"] * self.height)
        image = self._background.copy()
        turn = self.turn(pose)
        if self._head.back is not None:
            canvas, layer = self._head.back
            self._paste_flat(image, layer, canvas, turn, depth=-0.3)
        self._paste_flat(image, self._body, self._body_canvas, turn, depth=None)
        self._eyes.paint(self._face, blink=p["blink"], gaze_x=p["gaze_x"], gaze_y=p["gaze_y"])
        self._mouth.paint(self._face, mouth)
        self._paste_head(image, turn, p["brow"])
        return self._camera.expose(image, index)

    def geometry(self, pose: Floats, mouth: Floats) -> FaceGeometry:
        """Where face, eyes, lips and chin are in that frame."""
        self._set_scale(float(pose[_SIZE]) * self.height)
        person = self.person
        shape = mouth_shape(person, mouth)
        wide = person.face_width
        outline = [(-wide, 0.0), (wide, 0.0), (0.0, -0.95), (0.0, 1.0), (-0.7 * wide, -0.8), (0.7 * wide, -0.8)]
        marks = [(-person.eye_x, person.eye_y), (person.eye_x, person.eye_y), (0.0, person.nose_tip_y)]
        marks += [(-shape.half_width, shape.corner_y), (shape.half_width, shape.corner_y)]
        x = shape.half_width * np.cos(np.linspace(np.pi, 0, 10)).astype(np.float32)
        curves = lip_curves(shape, x)
        lips = [curves.upper_outer, curves.lower_outer[::-1], curves.upper_inner, curves.lower_inner[::-1]]
        columns = [x, x[::-1], x, x[::-1]]
        around = np.concatenate([np.stack(pair, axis=1) for pair in zip(columns, lips, strict=True)])
        corners = self._project(pose, np.array(outline))
        return FaceGeometry(
            box=np.concatenate([corners.min(axis=0), corners.max(axis=0)]),
            landmarks=self._project(pose, np.array(marks)),
            lips=self._project(pose, around),
            chin=self._project(pose, np.array([(0.0, 1.0 + shape.jaw)]))[0],
        )

    def _set_scale(self, face_px: float) -> None:
        """Have textures ready for a face of this half-height; sizes go in steps so that they are seldom painted."""
        step = np.ceil(np.log(max(face_px, 8.0) * _OVERSAMPLING) / np.log(_SCALE_STEP))
        scale = float(_SCALE_STEP**step)
        if self._scale and 0.8 * scale <= self._scale <= 1.45 * scale:
            return
        self._scale = scale
        self._head: Head = paint_head(self.person, self.scene.light, scale)
        self._face = self._head.image.copy()
        self._eyes = EyePainter(self._head)
        lamp = self.scene.light.direction
        self._mouth = MouthPainter(self._head, (float(lamp[0]), float(lamp[1])))
        bottom = 0.4 + 0.85 * self.height / max(face_px, 1.0)
        self._body_canvas, self._body = paint_body(
            self.person, self.scene.light, scale / _OVERSAMPLING, min(bottom, 7.0)
        )

    def _project(self, pose: Floats, points: Floats) -> Floats:
        x, y = f32(points[:, 0]), f32(points[:, 1])
        return self.turn(pose).project(x, y, self.depth(x, y))

    def turn(self, pose: Floats) -> Turn:
        """The head's place and turn in a frame."""
        return Turn(pose, self.width, self.height)

    def depth(self, x: Floats, y: Floats) -> Floats:
        """Depth of the head at points of head space."""
        return sample_depth(self._head, x, y)

    def surface(self, pose: Floats, pixel_x: Floats, pixel_y: Floats) -> tuple[Floats, Floats]:
        """Points of head space, x and y, that are seen at pixels (two grids)."""
        self._set_scale(float(pose[_SIZE]) * self.height)
        return self.turn(pose).unproject(pixel_x, pixel_y, self._head)

    def _paste_flat(
        self, image: np.ndarray, layer: np.ndarray, canvas: Canvas, turn: Turn, *, depth: float | None
    ) -> None:
        """Paste a flat layer: at a depth of the head's, or, with no depth, standing upright under the head."""
        if depth is None:
            corner = turn.shoulder(np.array([canvas.left, canvas.top]))
            step_x = turn.shoulder(np.array([canvas.left + 1.0, canvas.top])) - corner
            step_y = turn.shoulder(np.array([canvas.left, canvas.top + 1.0])) - corner
        else:
            points = np.array([[canvas.left, canvas.top], [canvas.left + 1, canvas.top], [canvas.left, canvas.top + 1]])
            placed = turn.project(points[:, 0], points[:, 1], np.full(3, depth, np.float32))
            corner, step_x, step_y = placed[0], placed[1] - placed[0], placed[2] - placed[0]
        half = 0.5 / canvas.scale
        matrix = np.stack([step_x / canvas.scale, step_y / canvas.scale, corner + half * (step_x + step_y)], axis=1)
        ends = matrix @ np.array(
            [[0, canvas.width, 0, canvas.width], [0, 0, canvas.height, canvas.height], [1, 1, 1, 1]]
        )
        rows, columns = _inside(ends, self.width, self.height)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        matrix[:, 2] -= [columns.start, rows.start]
        size = (columns.stop - columns.start, rows.stop - rows.start)
        moved = cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_LINEAR)
        _blend(image[rows, columns], moved)

    def _paste_head(self, image: np.ndarray, turn: Turn, brow: float) -> None:
        left, top, right, bottom = self._head.extent
        across, down = (left - _MARGIN, right + _MARGIN), (top - _MARGIN, max(bottom, 1 + JAW_DROP) + _MARGIN)
        corners = np.array([(x, y) for x in across for y in down])
        flat = np.zeros(4, np.float32)
        rows, columns = _inside(turn.project(corners[:, 0], corners[:, 1], flat).T, self.width, self.height)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        step = int(np.clip(round(turn.size_px / 16), 3, 8))  # finer than the face's own curvature
        grid_x, grid_y = (_knots(part, step) for part in (columns, rows))
        pixels_x, pixels_y = np.meshgrid(grid_x, grid_y)
        x, y = turn.unproject(pixels_x, pixels_y, self._head)
        lift = 0.05 * brow * np.exp(-0.5 * ((y - self.person.brow_y) / 0.12) ** 2) * np.exp(-((x / 0.62) ** 4))
        canvas = self._head.canvas
        maps = np.dstack([(x - canvas.left) * canvas.scale - 0.5, (y + lift - canvas.top) * canvas.scale - 0.5])
        size = (len(grid_x) * step, len(grid_y) * step)
        full = cv2.resize(maps.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        top, left = (part.start - part.start // step * step + step for part in (rows, columns))
        full = full[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
        moved = cv2.remap(self._face, full[..., 0], full[..., 1], cv2.INTER_LINEAR)
        _blend(image[rows, columns], moved)


def render(
    person: Identity, poses: Floats, mouths: Floats, *, scene: Scene, width: int, height: int
) -> Iterator[np.ndarray]:
    """Frames of a clip, each (height, width, 3) uint8 BGR. poses (n, 10), mouths (n, 9)."""
    largest = float(np.max(poses[:, _SIZE], initial=0.0)) * height
    renderer = FaceRenderer(person, scene, width=width, height=height, face_px=largest)
    for index, (pose, mouth) in enumerate(zip(poses, mouths, strict=True)):
        yield renderer.frame(pose, mouth, index)


def _knots(part: slice, step: int) -> Floats:
    """Pixel positions every `step` pixels that reach past a part of the frame; they do not move with the part."""
    first, last = part.start // step - 1, part.stop // step + 2
    return f32(np.arange(first, last) * step + 0.5 * (step - 1))


def _inside(points: Floats, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the frame that a set of points (2, n) spans."""
    left, top = np.floor(points.min(axis=1)).astype(int)
    right, bottom = np.ceil(points.max(axis=1)).astype(int) + 1
    return slice(max(0, int(top)), min(height, int(bottom))), slice(max(0, int(left)), min(width, int(right)))


def _blend(below: np.ndarray, layer: np.ndarray) -> None:
    """Lay a (h, w, 4) layer, colours times coverage, over a (h, w, 3) image, in place."""
    alpha = layer[..., 3]
    weight = cv2.merge([alpha, alpha, alpha])
    behind = cv2.multiply(below, 255 - weight, scale=1 / 255)
    cv2.add(layer[..., :3], behind, dst=below)
