import shutil
from pathlib import Path

import numpy as np
import pytest

from models import registry
from models.cards import ROLES, ModelCard, bundled_cards, file_sha256
from models.checkpoints import load_network
from models.scorers import load_scorer
from singalong.scoring import Thresholds


@pytest.fixture(scope="module", params=bundled_cards(), ids=lambda card: card.name)
def card(request) -> ModelCard:
    return request.param


def test_a_scorer_comes_with_the_package_and_is_used_until_another_is_added(tmp_path):
    assert {card.role for card in bundled_cards()} == {"expert", "generator"}
    assert registry.resolve("auto", "scorer", home=tmp_path).architecture == "singalong_expert"


def test_the_weights_are_those_on_the_card_and_small(card):
    weights = Path(card.weights)
    assert file_sha256(weights) == card.weights_sha256
    assert weights.stat().st_size == card.num_bytes < 8_000_000
    assert card.role in ROLES[card.architecture]
    assert card.metrics


def test_the_weights_load(card):
    network = load_network(card.weights, card.architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == card.num_parameters


def test_the_expert_scores_with_thresholds_of_its_own():
    card = next(card for card in bundled_cards() if card.role == "expert")
    assert Thresholds(**card.thresholds).pass_confidence > Thresholds(**card.thresholds).fail_confidence
    scorer = load_scorer(card.ref(), device="cpu")
    crops = np.zeros((6, *scorer.crop_shape), np.uint8)
    assert scorer.embed_faces(crops).shape == (2, scorer.embedding_size)
    assert scorer.embed_audio(np.zeros((3, 80, 16), np.float32)).shape == (3, scorer.embedding_size)


def test_verify_hashes_what_is_bundled_too(tmp_path, monkeypatch):
    assert registry.verify(tmp_path) == []
    broken = tmp_path / "package" / "singalong-expert"
    shutil.copytree(Path(bundled_cards()[0].weights).parent, broken)
    with (broken / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    monkeypatch.setattr(registry, "bundled_folders", lambda: [broken])
    (problem,) = registry.verify(tmp_path / "home")
    assert "not those on the card" in str(problem)
    assert "Install singalong again" in str(problem)
