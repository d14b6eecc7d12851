"""Where a head is in the frame and how it is turned."""

from __future__ import annotations

import cv2
import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.head import HEAD_BOX, Head
from singalong.synthetic.poses import POSE_NAMES


class Turn:
    """A head's place and turn in the frame: head space to pixels and back."""

    def __init__(self, pose: Floats, width: int, height: int) -> None:
        p = dict(zip(POSE_NAMES, (float(value) for value in pose), strict=True))
        self._place = np.array([p["x"] * width, p["y"] * height], np.float32)
        self.size_px = p["half_height"] * height
        self._yaw, self._pitch = p["yaw"], p["pitch"]
        cos, sin = np.cos(p["roll"]), np.sin(p["roll"])
        self._roll = np.array([[cos, -sin], [sin, cos]], np.float32) * self.size_px

    def project(self, x: Floats, y: Floats, depth: Floats) -> Floats:
        """Pixels (n, 2) of points in head space (n,)."""
        across = x * np.cos(self._yaw) + depth * np.sin(self._yaw)
        ahead = depth * np.cos(self._yaw) - x * np.sin(self._yaw)
        down = y * np.cos(self._pitch) + ahead * np.sin(self._pitch)
        return f32(np.stack([across, down], axis=1) @ self._roll.T + self._place - 0.5)

    def unproject(self, pixel_x: Floats, pixel_y: Floats, head: Head) -> tuple[Floats, Floats]:
        """Points of the head's surface (two grids) that are seen at pixels; three fixed-point steps over the depth."""
        back = np.linalg.inv(self._roll)
        left, top = pixel_x + 0.5 - self._place[0], pixel_y + 0.5 - self._place[1]
        across = (back[0, 0] * left + back[0, 1] * top).astype(np.float32)
        down = (back[1, 0] * left + back[1, 1] * top).astype(np.float32)
        cos_yaw, sin_yaw = np.float32(np.cos(self._yaw)), np.float32(np.sin(self._yaw))
        cos_pitch, sin_pitch = np.float32(np.cos(self._pitch)), np.float32(np.sin(self._pitch))
        x, y = across / cos_yaw, down / cos_pitch
        for _ in range(4):
            depth = sample_depth(head, x, y)
            x = 0.35 * x + 0.65 * (across - depth * sin_yaw) / cos_yaw
            y = 0.35 * y + 0.65 * (down - (depth * cos_yaw - x * sin_yaw) * sin_pitch) / cos_pitch
        return x, y

    def shoulder(self, point: Floats) -> Floats:
        """Pixel of a point of the body: it follows the head's place, leans a third of its roll and does not turn."""
        lean = np.arctan2(self._roll[1, 0], self._roll[0, 0]) / 3
        cos, sin = np.cos(lean), np.sin(lean)
        sway = np.array([0.12 * np.sin(self._yaw), 0.0])
        around = np.array([[cos, -sin], [sin, cos]]) @ (np.asarray(point) - [0, 0.6] - sway)
        neck = np.array([-0.6 * self._roll[1, 0], 0.6 * self._roll[0, 0]]) / self.size_px
        return np.asarray((around + neck) * self.size_px + self._place - 0.5)


def sample_depth(head: Head, x: Floats, y: Floats) -> Floats:
    """Depth of the head at points of head space, same shape; 0 outside."""
    step = np.float32(1 / head.depth_step)
    column = ((x - np.float32(HEAD_BOX[0])) * step - 0.5).astype(np.float32)
    row = ((y - np.float32(HEAD_BOX[1])) * step - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(head.depth, column, row, cv2.INTER_LINEAR)).reshape(x.shape)
