import numpy as np
import pytest

from models.warper import EAR_STEPS
from singalong.media.audio import level_db
from singalong.synthetic.phonemes import MOUTH_NAMES
from tasks.training.batches import ear_batch
from tasks.training.ear import EarTrainer
from tasks.training.sounds import TrainingSound, make_sound
from tests.tasks.training.stored import stored

JAW = MOUTH_NAMES.index("jaw")


@pytest.fixture(scope="module")
def sound() -> TrainingSound:
    return make_sound(5)


def test_the_mouth_is_known_at_every_step_and_shut_where_nobody_sings(sound):
    assert sound.mouths.shape == (sound.voice_mel.shape[1], len(MOUTH_NAMES))
    levels = level_db(sound.voice_mel)
    assert sound.mouths[levels > np.percentile(levels, 75), JAW].mean() > 0.1
    assert sound.mouths[levels < -95, 0].mean() < 0.1


def test_batches_follow_from_seed_and_step_and_hold_silence_with_shut_lips(sound, tmp_path):
    data = stored([sound, sound], tmp_path)
    first, again = (ear_batch(data, 1, 0, num_sounds=32, num_windows=3) for _ in range(2))
    assert np.array_equal(first.mels, again.mels)
    assert first.mels.shape == (96, 1, 80, EAR_STEPS)
    assert first.mouths.shape == (96, 8)
    assert (np.abs(first.mouths).reshape(32, -1).max(axis=1) == 0).any()


def test_a_batch_moves_every_weight_of_the_ear(sound, tmp_path):
    trainer = EarTrainer()
    loss, figures = trainer.loss(ear_batch(stored([sound], tmp_path), 1, 0, num_sounds=2, num_windows=4))
    loss.backward()
    assert {"opening", "rms"} <= set(figures)
    assert all(parameter.grad is not None for parameter in trainer.parameters())
