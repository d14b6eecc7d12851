import json

import pytest
import torch

from models.checkpoints import load_network
from models.registry import add_checkpoint, find_card, verify
from tasks.training.paper.checkpoint import read_network
from tasks.training.paper.launch import launch
from tasks.training.paper.plan import find_expert
from tasks.training.paper.product import publish


@pytest.fixture
def trained(plan, tmp_path):
    folder = plan("expert", tmp_path / "My Run", num_steps=2, command="singalong train expert")
    return folder, publish(folder, launch(folder))


def test_the_model_can_be_added_and_is_what_was_trained(trained, tmp_path):
    folder, card = trained
    added = add_checkpoint("mine", folder.model, home=tmp_path / "models")
    assert (added.architecture, added.role, added.width) == ("lipsync_expert", "expert", 0.02)
    assert added.num_parameters == card.num_parameters
    network = load_network(folder.model, "lipsync_expert")
    _, state = read_network(folder.checkpoints, "expert")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert find_expert(str(folder.path)).sha256 == card.weights_sha256


def test_the_card_tells_how_it_was_made(trained, dataset):
    folder, card = trained
    written = json.loads(folder.card.read_text())
    assert written["name"] == "my-run"
    assert written["licence"] == "CC0"
    assert written["metrics"].keys() == {"eval_loss", "eval_accuracy"}
    training = written["training"]
    assert training["num_steps"] == 2
    assert training["seconds"] > 0
    assert training["device"].startswith("cpu")
    assert training["settings"]["command"] == "singalong train expert"
    assert training["settings"]["dataset"] == str(dataset)
    assert training["settings"]["seed"] == 3
    assert card.weights_sha256 == written["weights_sha256"]


def test_the_model_keeps_its_card_where_it_is_added(trained, tmp_path):
    folder, card = trained
    home = tmp_path / "models"
    for added in (add_checkpoint("mine", folder.model, home=home), find_card("mine", home)):
        assert (added.name, added.source) == ("mine", str(folder.model))
        assert (added.licence, added.trained_on) == ("CC0", card.trained_on)
        assert (added.metrics, added.commands, added.made_on) == (card.metrics, card.commands, card.made_on)
        assert added.training == card.training.model_dump(mode="json", exclude_none=True)
        assert added.training["settings"]["seed"] == 3
    assert verify(home) == []


def test_publishing_again_gives_the_same_file(trained):
    folder, card = trained
    before = folder.model.read_bytes()
    assert publish(folder, {"loss": 1.0}).weights_sha256 == card.weights_sha256
    assert folder.model.read_bytes() == before


def test_a_generator_is_published_as_one(plan, tmp_path):
    folder = plan("generator", tmp_path / "run", num_steps=1, batch_size=1, gan=True)
    card = publish(folder, launch(folder))
    assert card.role == "generator"
    assert card.training.settings.expert is not None
    assert add_checkpoint("mine", folder.model, home=tmp_path / "models").architecture == "wav2lip_generator"
