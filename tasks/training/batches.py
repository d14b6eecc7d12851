"""Random training batches, each a pure function of seed and step: a resumed run sees what it would have seen.

Shape suffixes: B windows or frames, C clips, W windows of a clip, A sounds of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.warper import EAR_LEAD_STEPS, EAR_STEPS
from singalong.media.audio import CHUNK_STEPS, MAX_ABS
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from tasks.training.augment import SIDE_PX, CropJitter, Film, crop, crop_flow, record
from tasks.training.clips import NUM_FRAMES
from tasks.training.dataset import ExampleSet
from tasks.training.portraits import NUM_POSES

WINDOW = 5
LOWER_ROW = SIDE_PX // 2
LAST_START = NUM_FRAMES - WINDOW

_MOVED_PX = 0.4
_SURE = 0.95
_QUIET_SHARE = 0.1

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ExpertBatch:
    """Windows of C clips: W pictures and A >= W sounds each; the first W sounds belong to the pictures.

    faces (C*W, 5, 48, 96, 3) uint8; mels (C*A, 1, 80, 16); mouths (C*A, 5, 9): what the mouth did during each sound;
    starts (C*A,): first frame of each; clips (C*A,): which clip of the batch.
    """

    faces: NDArray[np.uint8]
    mels: Floats
    mouths: Floats
    starts: NDArray[np.int64]
    clips: NDArray[np.int64]
    num_windows: int
    num_sounds: int


def expert_batch(
    data: ExampleSet, seed: int, step: int, *, num_clips: int, num_windows: int, num_sounds: int
) -> ExpertBatch:
    """Batch number `step`."""
    rng = np.random.default_rng([seed, 301, step])
    chosen = rng.choice(len(data), num_clips, replace=len(data) < num_clips)
    faces, mels, mouths, starts = [], [], [], []
    for clip in chosen:
        track = data.get(clip, "mouths").astype(np.float32)
        first = _starts(track, num_windows, num_sounds, rng)
        starts.append(first)
        mels.append(heard_windows(data, int(clip), first, rng))
        mouths.append(track[first[:, None] + np.arange(WINDOW)])
        faces.append(_windows(data, int(clip), track, first[:num_windows], rng))
    return ExpertBatch(
        faces=np.concatenate(faces),
        mels=np.concatenate(mels)[:, None],
        mouths=np.concatenate(mouths),
        starts=np.concatenate(starts),
        clips=np.repeat(np.arange(num_clips), num_sounds),
        num_windows=num_windows,
        num_sounds=num_sounds,
    )


def heard_windows(data: ExampleSet, clip: int, frames: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """The windows (n, 80, 16) of a clip's sound that begin with these frames, as one microphone might have it."""
    return _heard(data, clip, (frames * MEL_STEPS_PER_S) // SCORE_FPS, CHUNK_STEPS, rng)


def _heard(
    data: ExampleSet,
    example: int,
    first: NDArray[np.int64],
    num_steps: int,
    rng: np.random.Generator,
    *,
    quiet: bool = False,
) -> Floats:
    """Windows (n, 80, num_steps) that begin with these mel steps; `quiet`: nobody sings."""
    other = int(rng.integers(len(data)))
    voice, own, foreign = (
        np.concatenate([*cut_mels(np.asarray(data.get(index, name)), first, num_steps)], axis=1).astype(np.float32)
        for index, name in ((example, "voice_mel"), (example, "band_mel"), (other, "band_mel"))
    )
    if quiet:
        voice = np.full_like(voice, -MAX_ABS)
    heard = record(voice, [own, foreign], rng)
    return heard.reshape(len(heard), len(first), num_steps).transpose(1, 0, 2)


def cut_mels(mel: Floats, first: NDArray[np.int64], num_steps: int) -> Floats:
    """The windows (n, 80, num_steps) that begin with these mel steps."""
    return mel[:, first[:, None] + np.arange(num_steps)].transpose(1, 0, 2)


def _starts(track: Floats, num_windows: int, num_sounds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """First frames: of pictures where the mouth moves, then of other sounds, at other frames, mostly near."""
    motion = np.abs(np.diff(track[:, :6], axis=0)).sum(axis=1)
    energy = np.convolve(motion, np.ones(WINDOW - 1), mode="valid")[: LAST_START + 1]
    weight = 0.03 + np.minimum(energy, 1.5)
    pictures = rng.choice(len(weight), num_windows, replace=False, p=weight / weight.sum())
    free = np.setdiff1d(np.arange(LAST_START + 1), pictures)
    near = np.abs(free[:, None] - pictures).min(axis=1)
    likely = np.where(near <= 15, 1.0, 0.3)
    others = rng.choice(free, num_sounds - num_windows, replace=False, p=likely / likely.sum())
    return np.concatenate([pictures, others]).astype(np.int64)


def _windows(
    data: ExampleSet, clip: int, track: Floats, starts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Lower halves (W, 5, 48, 96, 3) of windows of one clip, through one detector and one camera."""
    loose = data.get(clip, "faces")
    jitter, film = CropJitter.draw(rng), Film.draw(rng)
    openings = smooth_openings(track)
    out = np.empty((len(starts), WINDOW, SIDE_PX - LOWER_ROW, SIDE_PX, 3), np.uint8)
    for window, start in enumerate(starts):
        frames = np.arange(start, start + WINDOW)
        matrices = jitter.matrices(openings[frames], rng)
        for k, frame in enumerate(frames):
            lower = crop(loose[frame], matrices[k], first_row=LOWER_ROW)
            out[window, k] = film.shoot(lower, rng)
    return out


def smooth_openings(track: Floats) -> Floats:
    """How far the chin hangs for the detector, whose boxes are found a few times a second and smoothed, (T,)."""
    padded = np.pad(track[:, 0], (3, 5), mode="edge")
    return np.convolve(padded, np.full(9, 1 / 9), mode="valid").astype(np.float32)


@dataclass(frozen=True)
class BrushBatch:
    """Same-pose pairs for the brush.

    references and targets (B, 96, 96, 3) uint8 BGR; mouths (B, 8): of the targets; flows (B, 96, 96, 2): where each
    pixel of the target comes from in the reference, pixels; known (B, 96, 96): 1 where that is so; holes (B, 96, 96):
    1 inside the target's mouth; around (B, 96, 96): 1 on the mouth and what it moves.
    """

    references: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    mouths: Floats
    flows: Floats
    known: Floats
    holes: Floats
    around: Floats


def brush_batch(data: ExampleSet, seed: int, step: int, *, num_pairs: int) -> BrushBatch:
    """Batch number `step`."""
    rng = np.random.default_rng([seed, 302, step])
    rows = [_pair(data, int(rng.integers(len(data))), rng) for _ in range(num_pairs)]
    return BrushBatch(*(np.stack(column) for column in zip(*rows, strict=True)))


def _pair(data: ExampleSet, example: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    pose = int(rng.integers(NUM_POSES))
    mouth = data.get(example, "mouths")[pose].astype(np.float32)
    other = data.get(example, "reference_mouths")[pose].astype(np.float32)
    jitter, film = CropJitter.draw(rng), Film.draw(rng)
    # The box follows the mouth that is in the picture, which is the reference's.
    matrix = jitter.matrices(other[:1], rng, wobble=0.0)[0]
    plain, noise_seed = rng.random() < 0.4, int(rng.integers(1 << 30))
    pictures = []
    for name in ("references", "targets"):
        face = crop(data.get(example, name)[pose], matrix)
        pictures.append(face if plain else film.shoot(face, np.random.default_rng(noise_seed)))
    flow = crop_flow(data.get(example, "flows")[pose].astype(np.float32), matrix)
    known, hole = (crop(data.get(example, name)[pose], matrix).astype(np.float32) / 255 for name in ("known", "holes"))
    moved = (np.abs(flow).max(axis=2) > _MOVED_PX) * (known > _SURE) + (hole > 0)
    around = cv2.dilate(np.asarray(moved > 0, np.uint8), np.ones((7, 7), np.uint8))
    return pictures[0], pictures[1], mouth[:-1], flow, known > _SURE, hole, around.astype(np.float32)


@dataclass(frozen=True)
class EarBatch:
    """Sounds and what the mouth does in their middle: mels (B, 1, 80, 48), mouths (B, 8)."""

    mels: Floats
    mouths: Floats


def ear_batch(data: ExampleSet, seed: int, step: int, *, num_sounds: int, num_windows: int) -> EarBatch:
    """Batch number `step`: windows of several sounds, some of them with the band alone, or silent."""
    rng = np.random.default_rng([seed, 304, step])
    mels, mouths = [], []
    for example in rng.choice(len(data), num_sounds):
        track = data.get(int(example), "mouths")
        steps = rng.integers(EAR_LEAD_STEPS, len(track) - EAR_STEPS, num_windows)
        quiet = rng.random() < _QUIET_SHARE
        first = steps - EAR_LEAD_STEPS
        mels.append(_heard(data, int(example), first, EAR_STEPS, rng, quiet=quiet))
        wanted = track[steps, :-1].astype(np.float32)
        mouths.append(np.zeros_like(wanted) if quiet else wanted)
    return EarBatch(np.concatenate(mels)[:, None], np.concatenate(mouths))


def mouth_batch(data: ExampleSet, seed: int, step: int, *, num_faces: int) -> tuple[NDArray[np.uint8], Floats]:
    """Random faces (B, 96, 96, 3) and what their mouths do (B, 9): batch number `step` of the mouth reader."""
    rng = np.random.default_rng([seed, 303, step])
    faces, mouths = [], []
    for _ in range(num_faces):
        example, pose = int(rng.integers(len(data))), int(rng.integers(NUM_POSES))
        # Both pictures of a pair are cut out by the reference's mouth.
        pictures, track = ("references", "reference_mouths") if rng.random() < 0.5 else ("targets", "mouths")
        box_mouth = data.get(example, "reference_mouths")[pose].astype(np.float32)
        matrix = CropJitter.draw(rng).matrices(box_mouth[:1], rng, wobble=0.0)[0]
        faces.append(Film.draw(rng).shoot(crop(data.get(example, pictures)[pose], matrix), rng))
        mouths.append(data.get(example, track)[pose].astype(np.float32))
    return np.stack(faces), np.stack(mouths)
