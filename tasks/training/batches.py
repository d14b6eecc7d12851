"""Random training batches, each a pure function of seed and step: a resumed run sees what it would have seen.

Shape suffixes: B windows or frames, C clips, W windows of a clip, A sounds of a clip, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import CHUNK_STEPS
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from tasks.training.augment import SIDE_PX, CropJitter, Film, crop, move_points, record
from tasks.training.clips import NUM_FRAMES, REFERENCE_STEP
from tasks.training.dataset import ClipSet

WINDOW = 5
LOWER_ROW = SIDE_PX // 2
LAST_START = NUM_FRAMES - WINDOW

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
    data: ClipSet, seed: int, step: int, *, num_clips: int, num_windows: int, num_sounds: int
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


def heard_windows(data: ClipSet, clip: int, frames: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """The windows (n, 80, 16) of a clip's sound that begin with these frames, as one microphone might have it."""
    other = int(rng.integers(len(data)))
    voice, own, foreign = (
        np.concatenate([*cut_mels(np.asarray(data.get(index, name)), frames)], axis=1).astype(np.float32)
        for index, name in ((clip, "voice_mel"), (clip, "band_mel"), (other, "band_mel"))
    )
    heard = record(voice, [own, foreign], rng)
    return heard.reshape(len(heard), len(frames), CHUNK_STEPS).transpose(1, 0, 2)


def cut_mels(mel: Floats, frames: NDArray[np.int64]) -> Floats:
    """The windows (n, 80, 16) that begin with these frames."""
    first = (frames * MEL_STEPS_PER_S) // SCORE_FPS
    return mel[:, first[:, None] + np.arange(CHUNK_STEPS)].transpose(1, 0, 2)


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
    data: ClipSet, clip: int, track: Floats, starts: NDArray[np.int64], rng: np.random.Generator
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
class PairBatch:
    """Same-pose pairs: references show another mouth than the sound's.

    references and targets (B, 96, 96, 3) uint8 BGR; mels (B, 1, 80, 16); points and reference_points (B, 41, 2): where
    lips (outer 20, inner 20) and chin lie in both, pixels of the crop; mouths (B, 9): of the targets; inside and around
    (B, 96, 96) uint8 0 or 1: between the target's lips, and the lips with some room round them, of both pictures.
    """

    references: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    mels: Floats
    points: Floats
    reference_points: Floats
    mouths: Floats
    inside: NDArray[np.uint8]
    around: NDArray[np.uint8]


def pair_batch(data: ClipSet, seed: int, step: int, *, num_pairs: int) -> PairBatch:
    """Batch number `step`."""
    rng = np.random.default_rng([seed, 302, step])
    rows = [_pair(data, int(rng.integers(len(data))), rng) for _ in range(num_pairs)]
    return PairBatch(*(np.stack(column) for column in zip(*rows, strict=True)))


def _pair(data: ClipSet, clip: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    number = int(rng.integers(LAST_START // REFERENCE_STEP + 1))
    frame = number * REFERENCE_STEP
    other = data.get(clip, "reference_mouths")[number].astype(np.float32)
    jitter, film = CropJitter.draw(rng), Film.draw(rng)
    # The box follows the mouth that is in the picture, which is the reference's.
    matrix = jitter.matrices(other[:1], rng, wobble=0.0)[0]
    plain, noise_seed = rng.random() < 0.4, int(rng.integers(1 << 30))
    pictures = []
    for loose in (data.get(clip, "references")[number], data.get(clip, "faces")[frame]):
        face = crop(loose, matrix)
        pictures.append(face if plain else film.shoot(face, np.random.default_rng(noise_seed)))
    points, reference_points = (
        move_points(data.get(clip, name)[index].astype(np.float32), matrix)
        for name, index in (("points", frame), ("reference_points", number))
    )
    inside = _filled([points[20:40]])
    around = cv2.dilate(_filled([points[:20], reference_points[:20]]), np.ones((9, 9), np.uint8))
    mel = heard_windows(data, clip, np.array([frame]), rng)
    mouth = data.get(clip, "mouths")[frame].astype(np.float32)
    return pictures[0], pictures[1], mel, points, reference_points, mouth, inside, np.asarray(around, np.uint8)


def _filled(outlines: list[Floats]) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 1, shift=4)
    return mask


def mouth_batch(data: ClipSet, seed: int, step: int, *, num_faces: int) -> tuple[NDArray[np.uint8], Floats]:
    """Random faces (B, 96, 96, 3) and what their mouths do (B, 9): batch number `step` of the mouth reader."""
    rng = np.random.default_rng([seed, 303, step])
    faces, mouths = [], []
    for _ in range(num_faces):
        clip = int(rng.integers(len(data)))
        pictures, track = ("references", "reference_mouths") if rng.random() < 0.3 else ("faces", "mouths")
        index = int(rng.integers(len(data.get(clip, track))))
        mouth = data.get(clip, track)[index].astype(np.float32)
        matrix = CropJitter.draw(rng).matrices(mouth[:1], rng, wobble=0.0)[0]
        faces.append(Film.draw(rng).shoot(crop(data.get(clip, pictures)[index], matrix), rng))
        mouths.append(mouth)
    return np.stack(faces), np.stack(mouths)
