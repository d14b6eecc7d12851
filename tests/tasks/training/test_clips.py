from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch

from singalong.media.audio import CHUNK_STEPS
from tasks.training.augment import CropJitter, Film, crop, mix_mels, move_points, record
from tasks.training.batches import WINDOW, cut_mels, expert_batch, mouth_batch, pair_batch
from tasks.training.clips import NUM_FRAMES, REFERENCE_STEP, TrainingClip, make_clip
from tasks.training.dataset import ClipSet
from tasks.training.expert import ExpertTrainer
from tasks.training.warper import WarperTrainer, point_weights


@pytest.fixture(scope="module")
def clip() -> TrainingClip:
    return make_clip(7)


@pytest.fixture(scope="module")
def data(clip, tmp_path_factory) -> ClipSet:
    folder = tmp_path_factory.mktemp("data")
    for number in range(2):
        (folder / f"s{number}").mkdir()
        for field in fields(TrainingClip):
            array = getattr(clip, field.name)
            array = array if array.dtype == np.uint8 else array.astype(np.float16)
            np.save(folder / f"s{number}" / f"{field.name}.npy", np.stack([array, array]))
    return ClipSet(folder)


def test_a_reference_differs_from_its_frame_in_the_lower_face_only(clip):
    frames = clip.faces[::REFERENCE_STEP]
    change = np.abs(frames.astype(int) - clip.references).max(axis=3)
    assert change[:, :50].max() <= 8  # JPEG and noise reach a little further than the mouth
    assert change[:, 70:].max() > 40


def test_lips_lie_where_the_mouth_is_drawn(clip):
    lips = clip.points[:, :40].reshape(-1, 2)
    assert ((lips > [15, 50]) & (lips < [97, 125])).all()
    assert (clip.points[:, 40, 1] > clip.points[:, :40, 1].max(axis=1) - 4).all()


def test_there_is_sound_for_every_window(clip):
    windows = cut_mels(clip.voice_mel, np.arange(NUM_FRAMES - WINDOW + 1))
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


def test_pairs_show_the_same_face_with_another_mouth(data):
    batch = pair_batch(data, 1, 0, num_pairs=4)
    assert batch.references.shape == batch.targets.shape == (4, 96, 96, 3)
    assert batch.mels.shape == (4, 1, 80, 16)
    assert batch.points.shape == batch.reference_points.shape == (4, 41, 2)
    assert (batch.inside.sum(axis=(1, 2)) <= batch.around.sum(axis=(1, 2))).all()
    change = np.abs(batch.targets.astype(int) - batch.references).mean(axis=3)
    assert change[:, 60:].mean() > 3 * change[:, :30].mean()


def test_the_mouth_reader_gets_faces_and_their_mouths(data):
    faces, mouths = mouth_batch(data, 1, 0, num_faces=3)
    assert faces.shape == (3, 96, 96, 3)
    assert mouths.shape == (3, 9)


def test_a_batch_moves_every_weight_of_the_expert(data):
    trainer = ExpertTrainer()
    loss, figures = trainer.loss(expert_batch(data, 1, 0, num_clips=2, num_windows=2, num_sounds=3), step=500)
    loss.backward()
    assert {"nce", "bce", "ear", "eye", "frame", "top1"} <= set(figures)
    assert all(parameter.grad is not None for parameter in trainer.parameters())


def test_a_batch_moves_every_weight_of_the_warper(data):
    trainer = WarperTrainer()
    loss, figures = trainer.loss(pair_batch(data, 1, 0, num_pairs=3))
    loss.backward()
    assert figures["copy_l1"] > 0
    assert all(parameter.grad is not None for parameter in trainer.parameters())


def test_inner_lips_count_for_nothing_where_they_are_shut(data):
    points = torch.from_numpy(pair_batch(data, 1, 0, num_pairs=1).points)
    points[:, 30:40] = points[:, 20:30].flip(1)
    assert point_weights(points)[0, 20:40].abs().max() == 0


def test_crops_and_points_move_together():
    loose = np.zeros((128, 112, 3), np.uint8)
    cv2.circle(loose, (60, 90), 3, (255, 255, 255), -1)
    rng = np.random.default_rng(0)
    for _ in range(8):
        matrix = CropJitter.draw(rng).matrices(np.full(1, 0.5, np.float32), rng)[0]
        rows, columns = np.nonzero(crop(loose, matrix)[..., 0] > 100)
        wanted = move_points(np.array([[60.0, 90.0]], np.float32), matrix)[0]
        assert np.abs([columns.mean(), rows.mean()] - wanted).max() < 0.6


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
