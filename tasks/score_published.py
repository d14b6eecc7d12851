"""SCORE whole frames as the published evaluation does: the protocol behind the LSE-C and LSE-D in papers.

Source: the evaluation scripts of Wav2Lip (Prajwal et al., ACM MM 2020), which are SyncNet's own (Chung and
Zisserman, 2016) with frames resized. For clips cut to the face, like those of LRS2; other videos go through
`tasks.score`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scorers import Scorer, SlidingEmbedder
from singalong.errors import InputError
from singalong.media.audio import mel_spectrogram
from singalong.media.units import SAMPLE_RATE_HZ
from singalong.scoring import WINDOW_STEPS, distance_rows, offset_curve, read_curve, sound_index
from tasks.sound_windows import SAMPLES_PER_STEP, SoundWindows


@dataclass(frozen=True)
class PublishedScore:
    """LSE-C, LSE-D and offset by the published protocol, with the embeddings they were read from."""

    confidence: float
    distance: float
    offset_frames: int
    lips: NDArray[np.float32]
    sound: NDArray[np.float32]


def score_frames_published(
    frames: Iterable[NDArray[np.uint8]], audio: NDArray[np.int16], scorer: Scorer
) -> PublishedScore:
    """LSE-C and LSE-D as the evaluation scripts of Wav2Lip compute them, quirks included.

    Whole frames are resized, no face is looked for; one window fewer is made than there could be; sound
    beyond the ends counts as embeddings of zeros; silence counts as well. (The scripts also pass frames
    through JPEG files, which is left out here.) For clips cut to the face, like those of LRS2. With SyncNet
    the numbers compare with the published ones.

    Args:
        frames: BGR uint8 (H, W, 3), 25 a second.
        audio: int16 (n,), mono, 16 kHz.
        scorer: see `models.scorers.load_scorer`.

    Raises InputError where there are fewer than 6 frames, or less than 0.24 s of sound.
    """
    lips, num_frames = _embed_all(scorer, (scorer.crop_whole(frame) for frame in frames))
    num_windows = min(num_frames, len(audio) // SAMPLES_PER_STEP) - WINDOW_STEPS
    if num_windows < 1:
        raise InputError(
            "too short to be scored",
            value=f"{num_frames} frames, {len(audio) / SAMPLE_RATE_HZ:.2f} s of sound",
            expected="at least 6 frames and 0.24 s of sound",
        )
    steps = np.arange(num_windows)
    windows = SoundWindows(_plain_voice(audio, scorer), start_s=0.0, feature=scorer.audio_feature)
    sound = scorer.embed_audio(windows.cut(steps))
    score = read_curve(offset_curve(distance_rows(lips[:num_windows], sound, sound_index(steps), edge="zero")))
    assert score is not None  # zeros stand where there is no sound, so every offset counts
    return PublishedScore(score.confidence, score.distance, score.offset_frames, lips[:num_windows], sound)


def _embed_all(scorer: Scorer, crops: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], int]:
    """Embeddings of all windows, and the number of crops."""
    embedder, parts, num_crops = SlidingEmbedder(scorer), [], 0
    for step, crop in enumerate(crops):
        num_crops = step + 1
        if embedder.push(step, crop):
            parts.append(embedder.take()[1])
    return np.concatenate([*parts, embedder.take()[1]]), num_crops


@dataclass(frozen=True)
class _PlainVoice:
    mel: NDArray[np.float32]
    samples_16k: NDArray[np.float32]
    voiced: NDArray[np.bool_]


def _plain_voice(audio: NDArray[np.int16], scorer: Scorer) -> _PlainVoice:
    samples: NDArray[np.float32] = audio.astype(np.float32) / np.float32(32768)
    if scorer.audio_feature == "mel":
        mel = mel_spectrogram(samples, SAMPLE_RATE_HZ)
    else:
        mel = np.zeros((80, 1 + len(samples) // 200), np.float32)  # only its length is looked at
    return _PlainVoice(mel, samples, np.ones(mel.shape[1], np.bool_))
