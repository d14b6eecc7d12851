import cv2
import numpy as np
import pytest

from singalong.media.audio import CHUNK_STEPS
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from tasks.training.augment import CropJitter, Film, crop, crop_flow, mix_mels, record
from tasks.training.batches import WINDOW, cut_mels, expert_batch
from tasks.training.clips import NUM_FRAMES, TrainingClip, make_clip
from tasks.training.dataset import ExampleSet
from tasks.training.expert import ExpertTrainer
from tests.tasks.training.stored import stored


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return make_clip(7)


@pytest.fixture(scope="module")
def data(clip, tmp_path_factory) -> ExampleSet:
    return stored([clip, clip, clip, clip], tmp_path_factory.mktemp("data"))


def test_there_is_sound_for_every_window(clip):
    first = np.arange(NUM_FRAMES - WINDOW + 1) * MEL_STEPS_PER_S // SCORE_FPS
    windows = cut_mels(clip.voice_mel, first, CHUNK_STEPS)
    assert windows.shape == (NUM_FRAMES - WINDOW + 1, 80, CHUNK_STEPS)
    assert np.array_equal(windows[10], clip.voice_mel[:, 32:48])


def test_batches_follow_from_seed_and_step(data):
    def batch(step: int):
        return expert_batch(data, 1, step, num_clips=2, num_windows=2, num_sounds=4)

    first, again, other = batch(0), batch(0), batch(1)
    assert np.array_equal(first.faces, again.faces)
    assert np.array_equal(first.mels, again.mels)
    assert not np.array_equal(first.mels, other.mels)
    assert first.faces.shape == (4, 5, 48, 96, 3)
    assert first.mels.shape == (8, 1, 80, 16)
    assert first.mouths.shape == (8, 5, 9)


def test_a_batch_moves_every_weight_of_the_expert(data):
    trainer = ExpertTrainer()
    loss, figures = trainer.loss(expert_batch(data, 1, 0, num_clips=2, num_windows=2, num_sounds=3), step=500)
    loss.backward()
    assert {"nce", "bce", "ear", "eye", "frame", "top1"} <= set(figures)
    assert all(parameter.grad is not None for parameter in trainer.parameters())


def test_crops_and_flows_move_together():
    loose = np.zeros((128, 112, 3), np.uint8)
    cv2.circle(loose, (60, 90), 3, (255, 255, 255), -1)
    shifted = np.roll(loose, (4, -6), axis=(0, 1))
    flow = np.full((128, 112, 2), (-6.0, 4.0), np.float32)
    rng = np.random.default_rng(0)
    for _ in range(8):
        matrix = CropJitter.draw(rng).matrices(np.full(1, 0.5, np.float32), rng)[0]
        there, here = (np.argwhere(crop(image, matrix)[..., 0] > 100).mean(axis=0)[::-1] for image in (shifted, loose))
        wanted = crop_flow(flow, matrix)[round(here[1]), round(here[0])]
        assert np.abs(there - here - wanted).max() < 0.6


def test_lower_rows_are_those_of_the_whole_crop(clip):
    rng = np.random.default_rng(1)
    matrix = CropJitter.draw(rng).matrices(np.zeros(1, np.float32), rng)[0]
    whole, lower = crop(clip.faces[0], matrix), crop(clip.faces[0], matrix, first_row=48)
    assert np.abs(whole[48:].astype(int) - lower).max() <= 1


def test_any_camera_returns_a_picture_of_the_same_size(clip):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert Film.draw(rng).shoot(clip.faces[0], rng).shape == clip.faces[0].shape


def test_a_band_only_adds_power():
    rng = np.random.default_rng(0)
    voice, band = rng.uniform(-4, 1, (2, 80, 20)).astype(np.float32)
    assert (mix_mels(voice, band, 0.0) >= np.maximum(voice, band) - 1e-3).all()
    assert np.allclose(mix_mels(voice, band, -200.0), voice, atol=1e-3)


def test_recordings_stay_in_the_range_of_mels(clip):
    for seed in range(20):
        mel = record(clip.voice_mel, [clip.band_mel, clip.band_mel], np.random.default_rng(seed))
        assert mel.dtype == np.float32
        assert mel.shape == clip.voice_mel.shape
        assert -4 <= mel.min() <= mel.max() <= 4
