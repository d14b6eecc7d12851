"""Random training batches, each a pure function of seed and step: a resumed run sees what it would have seen.

Shape suffixes: B windows or frames, C clips, W windows of a clip, A sounds of a clip, M 80 mel bands, S 16 mel steps.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_NEAR_FRAMES = 2

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
        mel = heard_mel(data, int(clip), rng)
        starts.append(first)
        mels.append(cut_mels(mel, first))
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


def heard_mel(data: ClipSet, clip: int, rng: np.random.Generator) -> Floats:
    """The sound of a clip as some microphone might have it, (80, S)."""
    other = int(rng.integers(len(data)))
    bands = [data.get(index, "band_mel").astype(np.float32) for index in (clip, other)]
    return record(data.get(clip, "voice_mel").astype(np.float32), bands, rng)


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

    references and targets (B, 96, 96, 3) uint8 BGR; mels (B, 1, 80, 16); flows at lips and chin: where those points
    lie in the target, (B, 41, 2), and in the reference, (B, 41, 2), pixels of the crop; mouths (B, 9) of the target;
    reference_mouths (B, 9).
    """

    references: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    mels: Floats
    points: Floats
    reference_points: Floats
    mouths: Floats
    reference_mouths: Floats


def pair_batch(data: ClipSet, seed: int, step: int, *, num_pairs: int, plain: bool = False) -> PairBatch:
    """Batch number `step`; `plain`: usual crops, clean pictures and sound, for evaluation."""
    rng = np.random.default_rng([seed, 302, step])
    rows = [_pair(data, int(rng.integers(len(data))), rng, plain=plain) for _ in range(num_pairs)]
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    return PairBatch(*columns)


def _pair(data: ClipSet, clip: int, rng: np.random.Generator, *, plain: bool) -> tuple[NDArray[np.generic], ...]:
    reference = int(rng.integers((LAST_START - 1) // REFERENCE_STEP + 1))
    frame = reference * REFERENCE_STEP
    track = data.get(clip, "mouths").astype(np.float32)
    other = data.get(clip, "reference_mouths")[reference].astype(np.float32)
    jitter = CropJitter.draw(rng, amount=0.0 if plain else 1.0)
    # The box of the input follows the input's mouth.
    matrix = jitter.matrices(other[:1], rng, wobble=0.0)[0]
    film = Film.draw(rng)
    if plain or rng.random() < 0.4:
        shoot = lambda image, _: image  # noqa: E731
    else:
        shoot = film.shoot
    mel = data.get(clip, "voice_mel").astype(np.float32) if plain else heard_mel(data, clip, rng)
    noise_seed = int(rng.integers(1 << 30))
    pictures = [
        shoot(crop(loose, matrix), np.random.default_rng(noise_seed))
        for loose in (data.get(clip, "references")[reference], data.get(clip, "faces")[frame])
    ]
    points = [
        move_points(data.get(clip, name)[index].astype(np.float32), matrix)
        for name, index in (("points", frame), ("reference_points", reference))
    ]
    mels = cut_mels(mel, np.array([frame]))
    return pictures[0], pictures[1], mels, points[0], points[1], track[frame], other

