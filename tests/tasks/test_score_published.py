from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.scorers import SyncNetScorer
from models.syncnet import SyncNet
from singalong.errors import InputError
from singalong.media.audio import mel_spectrogram
from tasks.score_published import score_frames_published
from tests.tasks.score_fakes import NoiseVoice, NumberScorer, picture_of


def _sound(seconds: float) -> np.ndarray:
    """Noise of changing colour and loudness, so that every moment sounds different."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=int(seconds * 16000))
    loudness = np.repeat(rng.uniform(0.05, 1, len(noise) // 400 + 1), 400)[: len(noise)]
    return (4000 * loudness * noise).clip(-32768, 32767).astype(np.int16)


def _scorer(audio: np.ndarray, frames_late: int = 0) -> NumberScorer:
    mel = mel_spectrogram(audio / 32768.0, 16000)
    voice = NoiseVoice(mel, np.zeros(1, np.float32), np.ones(mel.shape[1], np.bool_))
    return NumberScorer(voice, lambda t: t - frames_late / 25)


def _frames(num: int) -> list[np.ndarray]:
    return [picture_of(1 + k / 25) for k in range(num)]


@pytest.mark.parametrize("frames_late", [0, -6, 3])
def test_offset_of_whole_frames(frames_late: int) -> None:
    audio = _sound(5)
    scorer = _scorer(audio[16000:], frames_late + 25)  # pictures count from second 1
    score = score_frames_published(_frames(100), audio[16000:], scorer)
    assert score.offset_frames == frames_late
    assert score.confidence > 1


def test_one_window_fewer_than_there_could_be_of_the_shorter_of_both() -> None:
    audio = _sound(4)
    assert len(score_frames_published(_frames(40), audio, _scorer(audio)).lips) == 35
    assert len(score_frames_published(_frames(100), audio[: 640 * 31 + 9], _scorer(audio)).sound) == 26


def test_sound_beyond_the_ends_counts_as_zeros() -> None:
    """With a single window, all other offsets are distances to zeros: the norm of the lips' embedding."""
    audio = _sound(1)
    score = score_frames_published(_frames(6), audio, _scorer(audio, 25))
    norm = np.linalg.norm(score.lips[0] + np.float32(1e-6))
    assert score.distance == pytest.approx(min(norm, np.linalg.norm(score.lips - score.sound)), abs=1e-4)
    assert score.confidence == pytest.approx(norm - score.distance, abs=1e-4)


@pytest.mark.parametrize(("num_frames", "seconds"), [(5, 1.0), (50, 0.239), (0, 1.0)])
def test_too_short_clips_are_refused_in_plain_words(num_frames: int, seconds: float) -> None:
    audio = _sound(seconds)
    with pytest.raises(InputError, match=r"too short to be scored .*at least 6 frames and 0.24 s"):
        score_frames_published(_frames(num_frames), audio, _scorer(_sound(1)))


def test_golden_whole_protocol(golden: Path) -> None:
    reference = golden.parent
    sys.path.insert(0, str(reference))
    try:
        inputs, weights = importlib.import_module("make_inputs"), importlib.import_module("make_weights")
    finally:
        sys.path.remove(str(reference))
    vectors = np.load(golden / "lse_e2e.npz")
    shapes = json.loads((golden / "shapes" / "syncnet_v2.json").read_text())["shapes"]
    network = SyncNet()
    network.load_state_dict({k: torch.as_tensor(v) for k, v in weights.make_state(shapes, "syncnet_v2").items()})
    frames = inputs.clip("lse", int(vectors["n_frames"]), *(int(side) for side in vectors["hw"]), 0, speed=5)
    score = score_frames_published(frames, vectors["audio_int16"], SyncNetScorer(network, name="golden", device="cpu"))
    np.testing.assert_allclose(score.lips, vectors["im_feat"], atol=1e-5)
    np.testing.assert_allclose(score.sound, vectors["cc_feat"], atol=1e-5)
    assert score.distance == pytest.approx(float(vectors["lse_d"]), abs=1e-4)
    assert score.confidence == pytest.approx(float(vectors["lse_c"]), abs=1e-4)
    assert score.offset_frames == int(vectors["offset"])
