"""One training portrait: a drawn face in several poses, each with two mouths, and the motion between them.

As in a run, where the generator sees the current frame of a clip and has to put the song's mouth on it: same person,
same pose, same light, another mouth. The renderer knows where every point of skin and lips comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.synthetic.articulation import MouthStyle, mouth_track
from singalong.synthetic.cast import Identity
from singalong.synthetic.motion import backward_flow
from singalong.synthetic.phonemes import PhonemeSpan
from singalong.synthetic.poses import pose_track
from singalong.synthetic.render import FaceRenderer, Scene
from tasks.training.clips import FRAME_PX, Sound, cut_loose, face_size, loose_matrix

NUM_POSES = 6
_NUM_TEXTS = 48
"""Voices whose words the mouths are taken from; what the mouths then do differs by person."""
_TEXT_S = 8.0
_FRAMES_PER_S = 2.0
_REST_SHARES = 0.45, 0.12
"""Of references and of targets."""
_BLEND_SHARE = 0.25
_TRUSTED_LEVELS = 6
"""The known motion is taken for right where the bent reference is this close to the target, or closer than a copy."""

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Portrait:
    """Arrays of one person in P poses; pictures are loose cut-outs, the detector's usual box with room round it.

    references and targets (P, 128, 112, 3) BGR; flows (P, 128, 112, 2): where each pixel of the target comes from in
    the reference, (x, y), relative to itself, pixels; known (P, 128, 112): 255 where the flow is right; holes (P, 128,
    112): 255 where the target shows the inside of the mouth; mouths and reference_mouths (P, 9), columns MOUTH_NAMES.
    """

    references: U8
    targets: U8
    flows: Floats
    known: U8
    holes: U8
    mouths: Floats
    reference_mouths: Floats


def make_portrait(seed: int) -> Portrait:
    """Draw one person; about 0.15 s of work."""
    rng = np.random.default_rng([seed, 203])
    style = MouthStyle.from_seed(seed)
    mouths, others = _mouths(style, seed, rng)
    poses = pose_track(
        NUM_POSES, fps=_FRAMES_PER_S, seed=seed, half_height=face_size(rng), centre=(0.5, 0.47), max_yaw=0.5
    )
    renderer = FaceRenderer(Identity.from_seed(seed), Scene.from_seed(seed), width=FRAME_PX, height=FRAME_PX)
    rows = [_pair(renderer, poses[k], others[k], mouths[k], k) for k in range(NUM_POSES)]
    references, targets, flows, known, holes = (np.stack(column) for column in zip(*rows, strict=True))
    return Portrait(
        references.astype(np.uint8),
        targets.astype(np.uint8),
        flows.astype(np.float32),
        known.astype(np.uint8),
        holes.astype(np.uint8),
        mouths,
        others,
    )


def _mouths(style: MouthStyle, seed: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Mouths of targets and of references, (P, 9) each; the smile is the person's and the same in both."""
    phonemes = _text(int(rng.integers(_NUM_TEXTS)))
    track = mouth_track(phonemes, rng.uniform(0, _TEXT_S, 4 * NUM_POSES), style=style, seed=seed)
    targets, references = track[:NUM_POSES].copy(), track[NUM_POSES : 2 * NUM_POSES].copy()
    # The ear is not always sure, and then wishes for something between two mouths.
    mixed = rng.random(NUM_POSES) < _BLEND_SHARE
    targets[mixed] = 0.5 * (targets[mixed] + track[2 * NUM_POSES : 3 * NUM_POSES][mixed])
    for rows, share in zip((references, targets), _REST_SHARES, strict=True):
        rows[rng.random(NUM_POSES) < share] = style.rest()
    return targets, references


@lru_cache(maxsize=_NUM_TEXTS)
def _text(number: int) -> tuple[PhonemeSpan, ...]:
    return Sound.from_seed(10_000_000 + number, _TEXT_S).phonemes


def _pair(renderer: FaceRenderer, pose: Floats, reference: Floats, target: Floats, index: int) -> tuple[Any, ...]:
    # The box follows the mouth that is in the picture, which is the reference's.
    to_loose = loose_matrix(renderer.geometry(pose, reference))
    before, after = (cut_loose(renderer.frame(pose, mouth, index), to_loose) for mouth in (reference, target))
    flow, visible = backward_flow(renderer, pose, reference, target)
    size = (before.shape[1], before.shape[0])
    loose_flow = cv2.warpAffine(flow, to_loose, size) @ to_loose[:, :2].T
    shown = np.asarray(cv2.warpAffine(visible, to_loose, size, borderValue=1.0), np.float32)
    return before, after, loose_flow, 255 * _known(before, after, loose_flow, shown), 255 * (1 - shown)


def _known(before: U8, after: U8, flow: NDArray[np.float64], shown: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the flow is right: not inside the mouth, nor on clothes and backdrop, which skin moves in front of."""
    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]].astype(np.float32)
    bent = cv2.remap(
        before,
        columns + flow[..., 0].astype(np.float32),
        rows + flow[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    miss, copy_miss = (cv2.blur(cv2.absdiff(image, after).max(axis=2), (3, 3)) for image in (bent, before))
    return np.asarray((shown > 0.99) & ((miss < _TRUSTED_LEVELS) | (miss < copy_miss)))
