"""One training sound: a voice that sings or speaks, alone and with its band, and what a plain mouth does to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from singalong.media.audio import MAX_ABS, mel_spectrogram
from singalong.media.units import MEL_STEPS_PER_S
from singalong.synthetic.articulation import MouthStyle, mouth_track
from singalong.synthetic.dsp import SAMPLE_RATE_HZ
from tasks.training.clips import Sound

SOUND_S = 10.0

PLAIN_STYLE = MouthStyle(variation=0.0, rest_smile=0.0)
"""Whose mouth the ear learns: nobody's in particular, lips closed at rest, because no sound tells a person's habits."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingSound:
    """Arrays of one sound, S mel steps of 1/80 s.

    voice_mel and band_mel (80, S), nothing but -4 where no band plays; mouths (S, 9): the mouth at each step's start.
    """

    voice_mel: Floats
    band_mel: Floats
    mouths: Floats


def make_sound(seed: int) -> TrainingSound:
    """Sing or speak; about 0.4 s of work."""
    sound = Sound.from_seed(seed, SOUND_S)
    voice_mel = mel_spectrogram(sound.voice, SAMPLE_RATE_HZ)
    band_mel = np.full_like(voice_mel, -MAX_ABS)
    if sound.band is not None:
        band_mel = mel_spectrogram(sound.band, SAMPLE_RATE_HZ)
    times_s = np.arange(voice_mel.shape[1]) / MEL_STEPS_PER_S
    return TrainingSound(voice_mel, band_mel, mouth_track(sound.phonemes, times_s, style=PLAIN_STYLE, seed=seed))
