import numpy as np
import pytest

from models.cards import bundled_cards
from models.ear import BundledEar
from singalong.versions import VOICE_VERSION


@pytest.fixture(scope="module")
def ear():
    return BundledEar()


def test_silence_is_a_mouth_at_rest(ear):
    mouths = ear.hear(np.full((2, 80, 48), -4, np.float32))
    assert mouths.shape == (2, 8)
    assert np.abs(mouths).max() < 0.02


def test_no_sound_is_no_mouth(ear):
    assert ear.hear(np.zeros((0, 80, 48), np.float32)).shape == (0, 8)


def test_other_weights_are_another_version_of_finding_voices():
    card = next(card for card in bundled_cards() if card.architecture == "singalong_warper")
    assert (VOICE_VERSION, card.weights_sha256[:12]) == ("1", "5edc4e79b808")
