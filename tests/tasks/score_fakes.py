"""A voice made of noise, and a scorer that reads a picture's number instead of its lips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.scorers import Scorer
from singalong.media.units import MEL_STEPS_PER_S, SAMPLE_RATE_HZ


@dataclass(frozen=True)
class NoiseVoice:
    mel: NDArray[np.float32]
    samples_16k: NDArray[np.float32]
    voiced: NDArray[np.bool_]


def noise_voice(seconds: float, *, seed: int = 0) -> NoiseVoice:
    rng = np.random.default_rng(seed)
    num_mel = 1 + int(seconds * MEL_STEPS_PER_S)
    mel = rng.normal(size=(80, num_mel)).astype(np.float32)
    samples = rng.uniform(-0.5, 0.5, int(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    return NoiseVoice(mel, samples, np.ones(num_mel, np.bool_))


class NumberScorer(Scorer):
    """Its pictures are blank but for a number in milliseconds; its lips say what the song sounds like then.

    `shown_s` maps the number on a picture to the song time its mouth belongs to.
    """

    audio_feature = "mel"
    crop_shape = (1, 1, 3)
    batch_size = 16
    embedding_size = 12

    def __init__(self, voice: NoiseVoice, shown_s: Callable[[NDArray[np.float64]], Any]) -> None:
        super().__init__(torch.nn.Identity(), name="numbers", device="cpu")
        self.voice, self.shown_s = voice, shown_s
        self.num_faces = self.num_audio = 0

    def crop(self, read: Any, box: Any, *, width: int, height: int) -> NDArray[np.uint8] | None:
        return self.crop_whole(read(box))

    def crop_whole(self, frame_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return frame_HW3[:1, :1].copy()

    def _face_batch(self, windows: Any) -> torch.Tensor:
        self.num_faces += len(windows)
        digits = np.asarray(windows)[:, 0, 0, 0].astype(np.float64)
        times_s = self.shown_s((digits @ [65536, 256, 1]) / 1000)
        columns = np.floor(times_s * MEL_STEPS_PER_S + 1e-6).astype(int).clip(0, self.voice.mel.shape[1] - 16)
        return torch.from_numpy(self.voice.mel[:12, columns].T.copy())

    def _audio_batch(self, windows_BMS: NDArray[np.float32]) -> torch.Tensor:
        self.num_audio += len(windows_BMS)
        return torch.from_numpy(windows_BMS[:, :12, 0].copy())


def picture_of(time_s: float) -> NDArray[np.uint8]:
    number = round(time_s * 1000)
    return np.array([number >> 16, number >> 8 & 255, number & 255], np.uint8)[None, None]
