"""Clips to judge by: people, voices and songs of other seeds, cut out by the real detector as a run would.

Each clip of 4 s is drawn twice with the same movement: with the mouth of its own sound, and with the mouth of another
clip's sound (the redub's truth). Boxes come from CenterFace five times a second on the first drawing, interpolated and
smoothed as in analysis.
"""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import mel_spectrogram
from singalong.media.geometry import network_crop, pad_box
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from singalong.smoothing import smooth_boxes
from singalong.synthetic.articulation import MouthStyle, mouth_track
from singalong.synthetic.cast import Identity
from singalong.synthetic.dsp import SAMPLE_RATE_HZ
from singalong.synthetic.poses import pose_track
from singalong.synthetic.render import FaceRenderer, Scene
from tasks.training.clips import Sound

if TYPE_CHECKING:
    from models.detectors import Detector

NUM_FRAMES = 100
LEAD_S = 0.8
"""Sound before and after the pictures: room for shifts of 15 frames."""
PADS = (0, 10, 0, 0)
"""Of the generator's crop, as `lipsync.pads`."""

_DETECT_EVERY = 5
_SIDE_PX = 288
_REDUB_SEED = 500_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldoutClip:
    """Arrays of one clip, T frames.

    scored (T, 48, 96, 3): the expert's crops; faces (T, 96, 96, 3): the generator's, padded, with the clip's own mouth;
    redubbed (T, 96, 96, 3): the same with the mouth of the other sound; mouths, redub_mouths (T, 9). Mels (80, S) start
    LEAD_S before the pictures: voice, mix, of the clip and of the redub, and the redub's band alone (-4 where none
    plays). sings (1,), redub_sings (1,): 1 for a song. skin_tone (1,): 0 palest to 8.7 darkest; light (2,): how far the
    lamp stands to the side, radians, and its hardness, 0 to 1.
    """

    scored: NDArray[np.uint8]
    faces: NDArray[np.uint8]
    redubbed: NDArray[np.uint8]
    mouths: NDArray[np.float32]
    redub_mouths: NDArray[np.float32]
    voice_mel: NDArray[np.float32]
    mix_mel: NDArray[np.float32]
    redub_voice_mel: NDArray[np.float32]
    redub_mix_mel: NDArray[np.float32]
    redub_band_mel: NDArray[np.float32]
    sings: NDArray[np.float32]
    redub_sings: NDArray[np.float32]
    skin_tone: NDArray[np.float32]
    light: NDArray[np.float32]


def make_heldout(seed: int, detector: Detector) -> HeldoutClip | None:
    """One clip; None where the detector finds no face."""
    rng = np.random.default_rng([seed, 401])
    own, redub = (_sound(which) for which in (seed, seed + _REDUB_SEED))
    style = MouthStyle.from_seed(seed)
    times_s = LEAD_S + np.arange(NUM_FRAMES) / SCORE_FPS
    tracks = [mouth_track(sound.phonemes, times_s, style=style, seed=seed) for sound in (own, redub)]
    size = float(rng.uniform(0.2, 0.36))
    poses = pose_track(NUM_FRAMES, fps=SCORE_FPS, seed=seed, half_height=size, centre=(0.5, 0.47), max_yaw=0.35)
    person, scene = Identity.from_seed(seed), Scene.from_seed(seed)
    renderer = FaceRenderer(person, scene, width=_SIDE_PX, height=_SIDE_PX)
    frames = [renderer.frame(poses[t], tracks[0][t], t) for t in range(NUM_FRAMES)]
    boxes = _boxes(frames, detector)
    if boxes is None:
        return None
    again = (renderer.frame(poses[t], tracks[1][t], t) for t in range(NUM_FRAMES))
    return HeldoutClip(
        scored=np.stack([_cut(frame, box)[48:] for frame, box in zip(frames, boxes, strict=True)]),
        faces=np.stack([_cut(frame, _padded(box)) for frame, box in zip(frames, boxes, strict=True)]),
        redubbed=np.stack([_cut(frame, _padded(box)) for frame, box in zip(again, boxes, strict=True)]),
        mouths=tracks[0],
        redub_mouths=tracks[1],
        voice_mel=own.voice_mel,
        mix_mel=own.mix_mel,
        redub_voice_mel=redub.voice_mel,
        redub_mix_mel=redub.mix_mel,
        redub_band_mel=redub.band_mel,
        sings=np.array([own.sings], np.float32),
        redub_sings=np.array([redub.sings], np.float32),
        skin_tone=np.array([person.skin_tone], np.float32),
        light=np.array([abs(scene.light.azimuth), scene.light.hardness], np.float32),
    )


@dataclass(frozen=True)
class _Heard:
    phonemes: tuple  # type: ignore[type-arg]
    voice_mel: NDArray[np.float32]
    mix_mel: NDArray[np.float32]
    band_mel: NDArray[np.float32]
    sings: bool


def _sound(seed: int) -> _Heard:
    sound = Sound.from_seed(seed, NUM_FRAMES / SCORE_FPS + 2 * LEAD_S)
    band = np.zeros_like(sound.voice) if sound.band is None else sound.band
    voice_mel, mix_mel, band_mel = (
        mel_spectrogram(samples, SAMPLE_RATE_HZ) for samples in (sound.voice, sound.voice + band, band)
    )
    return _Heard(sound.phonemes, voice_mel, mix_mel, band_mel, sound.band is not None)


def _boxes(frames: list[NDArray[np.uint8]], detector: Detector) -> NDArray[np.int64] | None:
    looked = sorted({*range(0, len(frames), _DETECT_EVERY), len(frames) - 1})
    seen, boxes = [], []
    for index in looked:
        found = detector.detect([frames[index]])[0]
        if len(found.scores) and found.scores[0] >= 0.5:
            seen.append(index)
            boxes.append(found.boxes[0])
    if len(seen) < 0.7 * len(looked):
        return None
    columns = np.stack(boxes).T
    filled = np.stack([np.interp(np.arange(len(frames)), seen, column) for column in columns], axis=1)
    return smooth_boxes(filled.astype(np.int64))


def _padded(box: NDArray[np.int64]) -> NDArray[np.int64]:
    whole = (int(box[0]), int(box[1]), int(box[2]), int(box[3]))
    return np.array(pad_box(whole, PADS, width=_SIDE_PX, height=_SIDE_PX))


def _cut(frame: NDArray[np.uint8], box: NDArray[np.int64]) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = np.clip(box, 0, _SIDE_PX)
    return network_crop(frame[y1:y2, x1:x2])


def mel_start(frame: int) -> int:
    """Column of a mel of a HeldoutClip at which a frame's window begins; negative frames lie before the pictures."""
    return round(LEAD_S * MEL_STEPS_PER_S) + (frame * MEL_STEPS_PER_S) // SCORE_FPS


def render_heldout(folder: Path, *, first_seed: int, num_clips: int) -> None:
    """Write `folder`/c<seed>.npz for each seed, skipping those that are there."""
    from models.cards import builtin_cards
    from models.centerface import CenterFace

    card = next(card for card in builtin_cards() if card.name == "centerface")
    assert card.weights is not None
    detector = CenterFace(Path(card.weights))
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + num_clips):
        final = folder / f"c{seed:08d}.npz"
        if final.exists():
            continue
        clip = make_heldout(seed, detector)
        if clip is None:
            _log.info("%d: no face found", seed)
            continue
        temporary = folder / f".{final.name}-{os.getpid()}"
        with temporary.open("wb") as file:
            np.savez(file, **{field.name: getattr(clip, field.name) for field in fields(HeldoutClip)})
        temporary.rename(final)
        _log.info("%s", final)


def read_heldout(folder: Path, limit: int | None = None) -> list[HeldoutClip]:
    """The clips of a folder, in order of their seeds."""
    clips = []
    for path in sorted(folder.glob("c*.npz"))[:limit]:
        with np.load(path) as arrays:
            clips.append(HeldoutClip(**{name: arrays[name] for name in arrays.files}))
    return clips


def main() -> None:
    """Render held-out clips."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first-seed", type=int, default=3_000_000)
    parser.add_argument("--num-clips", type=int, default=64)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cv2.setNumThreads(1)
    render_heldout(args.folder, first_seed=args.first_seed, num_clips=args.num_clips)


if __name__ == "__main__":
    main()
