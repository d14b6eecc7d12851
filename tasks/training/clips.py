"""One training clip: a drawn person who sings or speaks, cut out as the face detector would, with its truth.

Every clip follows from its seed: person, scene, movement, voice, words, band. Beside each fourth frame stands a
reference: the same picture with another mouth, as the generator's input shows the mouth of another song.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import MAX_ABS, mel_spectrogram
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from singalong.synthetic.articulation import MouthStyle, mouth_track
from singalong.synthetic.cast import Identity
from singalong.synthetic.dsp import SAMPLE_RATE_HZ, reverb
from singalong.synthetic.phonemes import PhonemeSpan
from singalong.synthetic.poses import pose_track
from singalong.synthetic.render import FaceGeometry, FaceRenderer, Scene
from singalong.synthetic.song import Song
from singalong.synthetic.voice import Singer

NUM_FRAMES = 60
"""Frames of a clip, 25 a second."""
REFERENCE_STEP = 4
"""Every so many frames there is a reference."""
LOOSE_WIDTH_PX, LOOSE_HEIGHT_PX = 112, 128
MARGINS = (0.14, 0.14, 0.14, 0.26)
"""Room round the detector's usual box: left, top, right, bottom, shares of that box; jitter and chin move in it."""

# CenterFace's box on 207 renderings, relative to `FaceGeometry.box`, with the mouth closed.
_DETECTOR_INSET = (0.03, 0.066, -0.03, -0.02)
_FRAME_PX = 160
_LEAD_S = 0.2
_SPEECH_SHARE = 0.35

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingClip:
    """Arrays of one clip, T frames, R references.

    faces (T, 128, 112, 3) BGR: the detector's usual box with MARGINS; references (R, 128, 112, 3): frames 0, 4, 8...
    with another mouth; mouths (T, 9) and reference_mouths (R, 9): tracks, columns MOUTH_NAMES; points (T, 41, 2) and
    reference_points (R, 41, 2): lips (outer 20, inner 20) and chin, pixels of the picture; voice_mel and band_mel
    (80, S): log-mel spectrograms, column floor(3.2 t) belongs to frame t's start; nothing but -4 where no band plays.
    """

    faces: U8
    references: U8
    mouths: Floats
    reference_mouths: Floats
    points: Floats
    reference_points: Floats
    voice_mel: Floats
    band_mel: Floats


@dataclass(frozen=True)
class Sound:
    """A voice and its band, mono (n,) at 44.1 kHz; band is None for speech."""

    voice: Floats
    band: Floats | None
    phonemes: tuple[PhonemeSpan, ...]

    @classmethod
    def from_seed(cls, seed: int, duration_s: float, *, sings: bool | None = None) -> Sound:
        """A random song, or random speech in about a third of the cases."""
        rng = np.random.default_rng([seed, 201])
        speaks = rng.random() < _SPEECH_SHARE if sings is None else not sings
        if not speaks:
            song = Song.from_seed(seed, duration_s, intro=False)
            return cls(song.vocals.mean(axis=1), song.band.mean(axis=1), song.phonemes)
        vocal = Singer.from_seed(int(rng.integers(1 << 30))).speak(duration_s, seed=seed)
        samples = vocal.samples
        if rng.random() < 0.5:
            room = reverb(samples, rng, length_s=float(rng.uniform(0.2, 0.6)), level=float(rng.uniform(0, 0.12)))
            samples = room.mean(axis=1).astype(np.float32)
        peak = float(np.abs(samples).max()) + 1e-6
        return cls(samples * np.float32(0.7 / peak), None, vocal.phonemes)


def make_clip(seed: int) -> TrainingClip:
    """Draw and sing one clip; about a second of work."""
    rng = np.random.default_rng([seed, 202])
    duration_s = NUM_FRAMES / SCORE_FPS + 2 * _LEAD_S
    sound = Sound.from_seed(seed, duration_s)
    style = MouthStyle.from_seed(seed)
    mouths = mouth_track(sound.phonemes, _LEAD_S + np.arange(NUM_FRAMES) / SCORE_FPS, style=style, seed=seed)
    size = float(rng.uniform(0.31, 0.36)) if rng.random() < 0.75 else float(rng.uniform(0.18, 0.31))
    poses = pose_track(NUM_FRAMES, fps=SCORE_FPS, seed=seed, half_height=size, centre=(0.5, 0.47), max_yaw=0.45)
    renderer = FaceRenderer(Identity.from_seed(seed), Scene.from_seed(seed), width=_FRAME_PX, height=_FRAME_PX)
    shown = [_shot(renderer, poses[t], mouths[t], t) for t in range(NUM_FRAMES)]
    others = _other_mouths(mouths, rng)
    again = [_shot(renderer, poses[t], others[r], t) for r, t in enumerate(range(0, NUM_FRAMES, REFERENCE_STEP))]
    lead_steps = round(_LEAD_S * MEL_STEPS_PER_S)
    voice_mel = mel_spectrogram(sound.voice, SAMPLE_RATE_HZ)[:, lead_steps:]
    silence = np.full_like(voice_mel, -MAX_ABS)
    return TrainingClip(
        faces=np.stack([face for face, _ in shown]),
        references=np.stack([face for face, _ in again]),
        mouths=mouths,
        reference_mouths=others,
        points=np.stack([points for _, points in shown]),
        reference_points=np.stack([points for _, points in again]),
        voice_mel=voice_mel,
        band_mel=silence if sound.band is None else mel_spectrogram(sound.band, SAMPLE_RATE_HZ)[:, lead_steps:],
    )


def _other_mouths(mouths: Floats, rng: np.random.Generator) -> Floats:
    """Mouths for the references: of other moments of the song, or at rest, as any person rests."""
    num = len(range(0, NUM_FRAMES, REFERENCE_STEP))
    others = mouths[rng.integers(len(mouths), size=num)].copy()
    for index in np.flatnonzero(rng.random(num) < 0.4):
        others[index] = MouthStyle.from_seed(int(rng.integers(1 << 30))).rest()
    return others


def _shot(renderer: FaceRenderer, pose: Floats, mouth: Floats, index: int) -> tuple[U8, Floats]:
    """The loose cut-out of one frame, and its lips and chin in it."""
    geometry = renderer.geometry(pose, mouth)
    frame = renderer.frame(pose, mouth, index)
    to_loose = loose_matrix(geometry)
    size = (LOOSE_WIDTH_PX, LOOSE_HEIGHT_PX)
    face = cv2.warpAffine(frame, to_loose, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = np.concatenate([geometry.lips, geometry.chin[None]])
    return np.asarray(face, np.uint8), (points @ to_loose[:, :2].T + to_loose[:, 2]).astype(np.float32)


def loose_matrix(geometry: FaceGeometry) -> NDArray[np.float64]:
    """Affine (2, 3) from pixels of the frame to pixels of the loose cut-out."""
    x1, y1, x2, y2 = usual_box(geometry)
    left, top = x1 - MARGINS[0] * (x2 - x1), y1 - MARGINS[1] * (y2 - y1)
    scale_x = LOOSE_WIDTH_PX / ((1 + MARGINS[0] + MARGINS[2]) * (x2 - x1))
    scale_y = LOOSE_HEIGHT_PX / ((1 + MARGINS[1] + MARGINS[3]) * (y2 - y1))
    # Pixel centres are whole numbers, so edges lie half a pixel before them.
    shift = [(0.5 - left) * scale_x - 0.5, (0.5 - top) * scale_y - 0.5]
    return np.array([[scale_x, 0, shift[0]], [0, scale_y, shift[1]]])


def usual_box(geometry: FaceGeometry) -> tuple[float, float, float, float]:
    """The box the detector would find on a closed mouth, on average; pixel edges."""
    x1, y1, x2, y2 = (float(value) for value in geometry.box)
    sides = (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
    left, top, right, bottom = (
        edge + inset * side for edge, inset, side in zip((x1, y1, x2, y2), _DETECTOR_INSET, sides, strict=True)
    )
    return left, top, right, bottom
