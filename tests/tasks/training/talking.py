"""Talking videos for tests: numbered pictures, a sound, a detector that sees faces where told, a scorer that knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import torch

from models.scorers import Scorer
from singalong.contracts import ModelRef
from singalong.media.audio import mel_spectrogram
from singalong.media.units import MEL_STEPS_PER_S
from tests.videos import number_in, picture

SIZE = (128, 96)
RATE_HZ = 16_000
DETECTOR_REF = ModelRef(name="centerface", architecture="centerface", weights_sha256="0" * 64)
SCORER_REF = ModelRef(name="singalong-expert", architecture="singalong_expert", weights_sha256="1" * 64)


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness changes 40 times a second, int16 (n,) at 16 kHz: fits itself in one place only."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.1, 1, round(seconds * 40)), 400)
    return (4000 * loudness * rng.normal(size=len(loudness))).clip(-32768, 32767).astype(np.int16)


def talking_video(
    path: Path,
    samples: np.ndarray | None,
    *,
    fps: Fraction = Fraction(25),
    seconds: float = 5.0,
    numbers: Sequence[int] | None = None,
    sound_start_s: float = 0.0,
) -> Path:
    """A video of numbered pictures, with a sound or without; `numbers` leaves out or repeats some."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=fps, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p")
        stream.bit_rate = 4_000_000
        audio = None if samples is None else out.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number in range(round(seconds * fps)) if numbers is None else numbers:
            frame = av.VideoFrame.from_ndarray(picture(number % 256, *SIZE), "rgb24")
            frame.pts, frame.time_base = number, 1 / fps
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if audio is not None and samples is not None:
            sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            sound.sample_rate, sound.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            sound.pts = round(sound_start_s * RATE_HZ)
            out.mux(audio.encode(sound))
            out.mux(audio.encode(None))
    return path


def mel_of_speech(samples: np.ndarray) -> np.ndarray:
    return mel_spectrogram(samples.astype(np.float32) / 32768, RATE_HZ)


class Faces:
    """A detector: the boxes that `where(number)` gives for the frame of that number, in shares of the frame."""

    def __init__(self, where: Callable[[int], Sequence[tuple[float, float, float, float]]] | None = None) -> None:
        self.where = where or (lambda _number: [(0.0, 0.0, 1.0, 1.0)])
        self.num_looks = 0

    def detect(self, images: list[np.ndarray]) -> list[Any]:
        self.num_looks += len(images)
        return [self._faces(image) for image in images]

    def _faces(self, image: np.ndarray) -> Any:
        height, width = image.shape[:2]
        boxes = np.array(self.where(number_in(image[..., 1])), np.float32).reshape(-1, 4)
        boxes *= np.array([width, height, width, height], np.float32)
        return SimpleNamespace(boxes=boxes, scores=np.full(len(boxes), 0.9, np.float32), landmarks=None)


class Lips(Scorer):
    """A scorer whose lips say what the true sound is when frame n is on screen: that of (n - late) / 25 s.

    Only the face whose box begins left of `speaker_x` speaks; others move their lips to a sound far away.
    """

    audio_feature = "mel"
    crop_shape = (1, 1, 3)
    batch_size = 16
    embedding_size = 12

    def __init__(self, samples: np.ndarray, *, late: float = 0, fps: float = 25, speaker_x: int = 10_000) -> None:
        super().__init__(torch.nn.Identity(), name="singalong-expert", device="cpu")
        self.mel = mel_of_speech(samples)
        self.late, self.fps, self.speaker_x = late, fps, speaker_x

    def crop(self, read: Any, box: Any, *, width: int, height: int) -> np.ndarray | None:
        number = number_in(read((0, 0, width, height))[..., 1])
        return np.array([number, box[0] < self.speaker_x, 0], np.uint8)[None, None]

    def crop_whole(self, frame_HW3: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _face_batch(self, windows: Any) -> torch.Tensor:
        first = np.asarray(windows)[:, 0, 0, 0].astype(np.float64)
        times_s = first[:, 0] / self.fps - self.late / 25 + np.where(first[:, 1] > 0, 0, 1.5)
        columns = np.floor(times_s * MEL_STEPS_PER_S + 1e-6).astype(int).clip(0, self.mel.shape[1] - 16)
        return torch.from_numpy(self.mel[:12, columns].T.copy())

    def _audio_batch(self, windows_BMS: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(windows_BMS[:, :12, 0].copy())
