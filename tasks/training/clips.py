"""One training clip: a drawn person who sings or speaks, cut out as the face detector would, with its truth.

Every clip follows from its seed: person, scene, movement, voice, words, band.
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
LOOSE_WIDTH_PX, LOOSE_HEIGHT_PX = 112, 128
MARGINS = (0.14, 0.14, 0.14, 0.26)
"""Room round the detector's usual box: left, top, right, bottom, shares of that box; jitter and chin move in it."""

# CenterFace's box on 207 renderings, relative to `FaceGeometry.box`, with the mouth closed.
_DETECTOR_INSET = (0.03, 0.066, -0.03, -0.02)
FRAME_PX = 160
"""Side of the rendered frames."""
_LEAD_S = 0.2
_SPEECH_SHARE = 0.35

U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingClip:
    """Arrays of one clip, T frames.

    faces (T, 128, 112, 3) BGR: the detector's usual box with MARGINS; mouths (T, 9): a track, columns MOUTH_NAMES;
    voice_mel and band_mel (80, S): log-mel spectrograms, column floor(3.2 t) belongs to frame t's start; nothing but -4
    where no band plays.
    """

    faces: U8
    mouths: Floats
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
    poses = pose_track(
        NUM_FRAMES, fps=SCORE_FPS, seed=seed, half_height=face_size(rng), centre=(0.5, 0.47), max_yaw=0.45
    )
    renderer = FaceRenderer(Identity.from_seed(seed), Scene.from_seed(seed), width=FRAME_PX, height=FRAME_PX)
    lead_steps = round(_LEAD_S * MEL_STEPS_PER_S)
    voice_mel = mel_spectrogram(sound.voice, SAMPLE_RATE_HZ)[:, lead_steps:]
    silence = np.full_like(voice_mel, -MAX_ABS)
    return TrainingClip(
        faces=np.stack([shot(renderer, poses[t], mouths[t], t) for t in range(NUM_FRAMES)]),
        mouths=mouths,
        voice_mel=voice_mel,
        band_mel=silence if sound.band is None else mel_spectrogram(sound.band, SAMPLE_RATE_HZ)[:, lead_steps:],
    )


def face_size(rng: np.random.Generator) -> float:
    """Half the face's height as a share of the frame's: mostly about as many pixels as the networks' crop has."""
    return float(rng.uniform(0.31, 0.36)) if rng.random() < 0.75 else float(rng.uniform(0.18, 0.31))


def shot(renderer: FaceRenderer, pose: Floats, mouth: Floats, index: int) -> U8:
    """The loose cut-out of one frame, (128, 112, 3)."""
    return cut_loose(renderer.frame(pose, mouth, index), loose_matrix(renderer.geometry(pose, mouth)))


def cut_loose(frame: U8, to_loose: NDArray[np.float64]) -> U8:
    """A frame's loose cut-out."""
    size = (LOOSE_WIDTH_PX, LOOSE_HEIGHT_PX)
    face = cv2.warpAffine(frame, to_loose, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(face, np.uint8)


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
