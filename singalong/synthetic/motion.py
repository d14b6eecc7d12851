"""Dense motion between two mouths of one face: what a network that warps faces has to find."""

from __future__ import annotations

import numpy as np

from singalong.synthetic.arrays import Floats, f32
from singalong.synthetic.lips import MOUTH_BOX, MouthShape, lip_curves, mouth_shape, skin_motion
from singalong.synthetic.render import FaceRenderer

_LIP_EDGE = 0.022
_STEPS = 4


def backward_flow(renderer: FaceRenderer, pose: Floats, source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Where each pixel of the target frame comes from in the source frame, which has the same pose.

    pose: (10,) row; source, target: (9,) rows of mouth tracks.
    Returns the offset in pixels (h, w, 2), x and y, float32: sampling the source frame at pixel + offset gives the
    target frame; and how far that can be right (h, w) float32, 1 for skin and lips, 0 where the target shows the
    inside of the mouth.
    """
    columns, rows = np.meshgrid(
        np.arange(renderer.width, dtype=np.float32), np.arange(renderer.height, dtype=np.float32)
    )
    x, y = renderer.surface(pose, columns, rows)
    old, new = (mouth_shape(renderer.person, mouth) for mouth in (source, target))
    from_x, from_y = _skin_origin(renderer, old, new, x, y)
    from_x, from_y, visible = _lip_origin(old, new, x, y, from_x, from_y)
    left, top, right, bottom = MOUTH_BOX
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    turn = renderer.turn(pose)
    here = turn.project(x.ravel(), y.ravel(), renderer.depth(x, y).ravel())
    there = turn.project(from_x.ravel(), from_y.ravel(), renderer.depth(from_x, from_y).ravel())
    flow = (there - here).reshape(*x.shape, 2) * inside[..., None]
    return f32(flow), f32(visible)


def _skin_origin(
    renderer: FaceRenderer, old: MouthShape, new: MouthShape, x: Floats, y: Floats
) -> tuple[Floats, Floats]:
    """Where the skin now at (x, y) was: back to its rest, and out to the other mouth by fixed-point steps."""
    move_x, move_y = skin_motion(renderer.person, new, x, y)
    rest_x, rest_y = x - move_x, y - move_y
    from_x, from_y = rest_x, rest_y
    for _ in range(_STEPS):
        move_x, move_y = skin_motion(renderer.person, old, from_x, from_y)
        from_x, from_y = rest_x + move_x, rest_y + move_y
    return f32(from_x), f32(from_y)


def _lip_origin(
    old: MouthShape, new: MouthShape, x: Floats, y: Floats, from_x: Floats, from_y: Floats
) -> tuple[Floats, Floats, Floats]:
    """Lips keep their place across and their share of the lip's height; the mouth's inside is not to be found."""
    there_x = f32(x * ((old.half_width + _LIP_EDGE) / (new.half_width + _LIP_EDGE)))
    now, then = lip_curves(new, x), lip_curves(old, there_x)
    near = np.abs(x) < new.half_width + _LIP_EDGE
    upper = near & (y >= now.upper_outer) & (y <= now.upper_inner)
    lower = near & (y >= now.lower_inner) & (y <= now.lower_outer)
    hole = near & (y > now.upper_inner) & (y < now.lower_inner)
    share_up = (y - now.upper_outer) / np.maximum(now.upper_inner - now.upper_outer, 1e-3)
    share_low = (y - now.lower_inner) / np.maximum(now.lower_outer - now.lower_inner, 1e-3)
    share_in = (y - now.upper_inner) / np.maximum(now.lower_inner - now.upper_inner, 1e-3)
    up_y = then.upper_outer + np.clip(share_up, 0, 1) * (then.upper_inner - then.upper_outer)
    low_y = then.lower_inner + np.clip(share_low, 0, 1) * (then.lower_outer - then.lower_inner)
    in_y = then.upper_inner + np.clip(share_in, 0, 1) * (then.lower_inner - then.upper_inner)
    lips = upper | lower | hole
    new_y = np.where(upper, up_y, np.where(lower, low_y, in_y))
    return f32(np.where(lips, there_x, from_x)), f32(np.where(lips, new_y, from_y)), f32(~hole)
