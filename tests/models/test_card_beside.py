"""The card that lies beside weights: kept where they are added, refused where it is not theirs."""

import json
import shutil

import pytest
import torch

from models import cards, registry
from models.registry import add_checkpoint
from models.sync_expert import SyncExpert
from singalong.errors import WeightsError


@pytest.fixture
def home(tmp_path):
    return tmp_path / "models"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "expert.pth"
    torch.save(SyncExpert(width=0.0625).state_dict(), path)
    return path


@pytest.fixture
def weights(network, tmp_path):
    """In a folder of its own."""
    (tmp_path / "run").mkdir()
    return shutil.copy(network, tmp_path / "run" / "expert.pth")


@pytest.fixture
def lay(weights):
    """Lay a card beside the weights: a right one, but for these fields; None leaves one out."""

    def lay(**changed):
        card = {
            **{"name": "run", "architecture": "lipsync_expert", "role": "scorer", "weights": "expert.pth"},
            **{"weights_sha256": cards.file_sha256(weights), "num_bytes": 1, "licence": "MIT", "trained_on": "us"},
            **{"thresholds": {"pass_confidence": 3.0, "fail_confidence": 1.0}, "metrics": {"eval_loss": 0.25}},
            **{"commands": ["train it"], "made_on": "a box", "created_at": "2020-01-01T00:00:00+00:00"},
            "training": {"num_steps": 7},
        }
        kept = {name: value for name, value in (card | changed).items() if value is not None}
        (weights.parent / "card.json").write_text(json.dumps(kept))

    return lay


def test_what_a_card_says_of_the_weights_is_kept_and_what_it_says_of_their_place_is_not(home, weights, lay):
    lay(name="other", num_bytes=1, num_parameters=1, source="elsewhere", builtin=True)
    added = add_checkpoint("mine", weights, home=home)
    assert (added.role, added.licence, added.trained_on, added.made_on) == ("scorer", "MIT", "us", "a box")
    assert added.thresholds == {"pass_confidence": 3.0, "fail_confidence": 1.0}
    assert (added.metrics, added.commands, added.training) == ({"eval_loss": 0.25}, ("train it",), {"num_steps": 7})
    assert (added.name, added.source, added.builtin) == ("mine", str(weights), False)
    assert added.num_parameters == sum(p.numel() for p in SyncExpert(width=0.0625).parameters())
    assert added.created_at > "2025"
    assert registry.find_card("mine", home) == added
    assert registry.verify(home) == []


def test_what_is_told_beats_the_card_and_a_publishers_word_beats_it_too(home, weights, lay, monkeypatch):
    lay()
    assert add_checkpoint("a", weights, home=home, role="expert", licence="CC0").licence == "CC0"
    known = cards.Published("lipsync_expert.pth", None, cards.file_sha256(weights), "research only", "LRS2")
    monkeypatch.setattr(cards, "PUBLISHED", (known,))
    added = add_checkpoint("b", weights, home=home)
    assert (added.licence, added.trained_on, added.published) == ("research only", "LRS2", "lipsync_expert.pth")


def test_a_model_that_was_added_elsewhere_is_added_here_with_all_that_is_known_of_it(home, weights, lay, tmp_path):
    lay(published="lipsync_expert.pth")
    first = add_checkpoint("mine", weights, home=tmp_path / "other computer")
    again = add_checkpoint("theirs", first.weights, home=home)
    ignored = {"name", "weights", "source", "source_sha256", "created_at"}
    assert again.model_dump(exclude=ignored) == first.model_dump(exclude=ignored)


def test_the_card_of_another_file_in_the_folder_is_no_business_of_this_one(home, weights, lay):
    lay(weights="model.pth", weights_sha256="0" * 64)
    (weights.parent / "model.pth").write_bytes(b"other weights")
    assert add_checkpoint("mine", weights, home=home).licence.startswith("unknown")


def test_a_card_follows_weights_that_were_renamed(home, weights, lay):
    lay(weights="as it was called.pth")
    assert add_checkpoint("mine", weights, home=home).licence == "MIT"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights_sha256": "0" * 64}, r"card\.json: the card is not of expert\.pth.*'0000.*expected weights_sha256"),
        ({"weights_sha256": "0" * 64, "weights": "lost.pth"}, r"the card is not of expert\.pth"),
        ({"architecture": "wav2lip_generator"}, "another network.*wav2lip_generator, scorer.*expected lipsync_expert"),
        ({"role": "generator"}, "another network.*expected lipsync_expert, expert or scorer"),
        ({"name": None, "weights_sha256": None}, "name: Field required; weights_sha256: Field required"),
        ({"licence": 7}, "licence: Input should be a valid string"),
        ({"thresholds": {"pass_confidence": "high"}}, "thresholds.pass_confidence: Input should be a valid number"),
        ({"invented": 1}, "invented: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_or_incomplete_card_is_told_with_what_to_do_and_nothing_is_added(home, weights, lay, changed, said):
    lay(**changed)
    with pytest.raises(WeightsError, match=said) as caught:
        add_checkpoint("mine", weights, home=home)
    assert "move it away" in str(caught.value)
    assert not home.exists()


def test_a_card_that_is_no_json_or_no_file_is_told(home, weights):
    card = weights.parent / "card.json"
    card.write_text("{")
    with pytest.raises(WeightsError, match="Invalid JSON"):
        add_checkpoint("mine", weights, home=home)
    card.unlink()
    card.mkdir()
    with pytest.raises(WeightsError, match="Is a directory"):
        add_checkpoint("mine", weights, home=home)
