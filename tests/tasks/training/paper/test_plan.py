"""What is checked before a training starts; each refusal says what to do."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from models.generator import Generator
from models.registry import add_checkpoint
from singalong.config import default_models_home
from singalong.errors import InputError, UsageError, WeightsError
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.launch import launch
from tasks.training.paper.plan import find_expert, plan_training
from tasks.training.paper.settings import default_eval_batches
from tests.tasks.training.paper.conftest import OPTIONS
from tests.tasks.training.paper.datasets import write_dataset


def test_the_settings_stand_in_the_run_folder(plan, tmp_path, dataset):
    settings = plan("expert", tmp_path / "run").settings()
    assert settings.dataset == str(dataset)
    assert (settings.num_train_sequences, settings.num_val_sequences) == (3, 1)
    assert settings == TrainingFolder(tmp_path / "run").settings()


@pytest.mark.parametrize(
    ("kind", "gan", "num_val", "expected"),
    [
        ("expert", False, 1082, 17),
        ("expert", False, 10**6, 1400),
        ("generator", False, 10, 701),
        ("generator", True, 10, 1),
        ("generator", True, 10**6, 302),
    ],
)
def test_evaluations_are_as_long_as_in_the_reference(kind, gan, num_val, expected):
    batch_size = 64 if kind == "expert" else 16
    assert default_eval_batches(kind, gan=gan, num_val_sequences=num_val, batch_size=batch_size) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, "--seed: 3 then, 4 now"),
        ({"batch_size": 4}, "--batch-size"),
        ({"learning_rate": 1e-3}, "--learning-rate"),
        ({"width": 0.03}, "--width"),
        ({"precision": "bfloat16"}, "--precision"),
        ({"eval_every": 5}, "--eval-every"),
    ],
)
def test_other_settings_are_refused_by_name(change, words, plan, tmp_path):
    plan("expert", tmp_path / "run")
    with pytest.raises(UsageError, match=words):
        plan("expert", tmp_path / "run", **change)


def test_another_dataset_is_refused(plan, tmp_path):
    plan("expert", tmp_path / "run")
    other = write_dataset(tmp_path / "other", num_videos=3)
    with pytest.raises(UsageError, match="the training sequences of the dataset"):
        plan("expert", tmp_path / "run", dataset=other)


def test_another_expert_and_another_kind_are_refused(plan, tmp_path, expert_file):
    plan("generator", tmp_path / "run")
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(expert_file.read_bytes()[:-1] + b"\0")
    with pytest.raises(UsageError, match="--expert"):
        plan("generator", tmp_path / "run", expert=str(changed))
    with pytest.raises(UsageError, match="train expert or train generator"):
        plan("expert", tmp_path / "run")


def test_where_and_how_long_may_change(plan, tmp_path):
    plan("expert", tmp_path / "run")
    folder = plan("expert", tmp_path / "run", num_steps=99, checkpoint_every=7, licence="MIT")
    assert folder.settings().num_steps == 99


def test_going_on_is_announced_and_fewer_steps_than_made_are_refused(plan, tmp_path, dataset):
    launch(plan("expert", tmp_path / "run", num_steps=2))
    _, notes = plan_training("expert", dataset, tmp_path / "run", **OPTIONS | {"num_steps": 3})
    assert notes == ["going on from step 2"]
    with pytest.raises(UsageError, match="stands at step 2 already"):
        plan("expert", tmp_path / "run", num_steps=1)
    assert TrainingFolder(tmp_path / "run").settings().num_steps == 3


def test_a_folder_of_something_else_is_left_alone(plan, tmp_path):
    (tmp_path / "thesis.doc").write_text("all my work")
    with pytest.raises(UsageError, match="not empty"):
        plan("expert", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_folder_that_is_being_trained_in_is_refused(plan, tmp_path):
    folder = plan("expert", tmp_path / "run")
    with folder.lock(), pytest.raises(UsageError, match="being worked on"):
        plan("expert", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 1}, "batch norm needs at least 2"),
        ({"batch_size": 6, "num_workers": 4, "executor": "ray"}, "divides --batch-size"),
        ({"num_workers": 2}, "--executor ray"),
        ({"batch_size": 4, "num_workers": 2, "executor": "ray", "eval_batches": 1}, "--eval-batches of at least 2"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"device": "cuda:77"}, "GPU"),
        ({"device": "toaster"}, "unknown device"),
        ({"device": "cuda:1", "executor": "ray"}, "cpu or cuda"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words, plan, tmp_path):
    with pytest.raises(UsageError, match=words):
        plan("expert", tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, "", "val only"])
def test_a_dataset_without_training_sequences_is_refused_with_advice(content, plan, tmp_path):
    data = tmp_path / "data"
    if content is not None:
        data.mkdir()
    if content:
        write_dataset(data, num_videos=1)
    with pytest.raises(InputError, match=r"(no training sequences|of the split).*Prepare"):
        plan("expert", tmp_path / "run", dataset=data)


def test_a_dataset_without_validation_sequences_is_refused_with_advice(plan, tmp_path):
    data = write_dataset(tmp_path / "data", num_videos=2)
    (data / "val.txt").write_text("")
    with pytest.raises(InputError, match=r"split val.*val\.txt"):
        plan("expert", tmp_path / "run", dataset=data)


def test_an_expert_is_found_by_folder_file_and_name(plan, tmp_path, expert_file):
    folder = plan("expert", tmp_path / "run", num_steps=1)
    with pytest.raises(InputError, match=r"no trained expert.*Finish"):
        find_expert(str(folder.path))
    folder.model.write_bytes(expert_file.read_bytes())
    card = add_checkpoint("my-expert", expert_file, home=default_models_home(), replace=True)
    for name in (str(folder.path), str(expert_file), "my-expert"):
        assert find_expert(name).name == name
    assert find_expert(str(folder.path)).sha256 == find_expert(str(expert_file)).sha256
    assert find_expert("my-expert").path == card.weights


def test_no_other_network_teaches_the_generator(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_file(Generator(0.02).state_dict(), path)
    with pytest.raises(InputError, match=r"wav2lip_generator.*paper's sync expert"):
        find_expert(str(path))
    with pytest.raises(InputError, match="singalong_expert"):
        find_expert("singalong-expert")
    with pytest.raises(InputError, match="is a detector"):
        find_expert("centerface")
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(WeightsError, match="web page"):
        find_expert(str(tmp_path / "page.pth"))


def test_an_unknown_expert_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_expert(str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match="singalong-expert"):
        find_expert("nobody")


def test_damaged_settings_are_refused_and_can_be_made_again(plan, tmp_path):
    folder = plan("expert", tmp_path / "run")
    launch(plan("expert", tmp_path / "run", num_steps=1))
    (folder.path / "training.json").write_text(json.dumps({"kind": "poet"}))
    with pytest.raises(UsageError, match=r"cannot be read.*delete it"):
        folder.settings()
    (folder.path / "training.json").unlink()
    assert launch(plan("expert", tmp_path / "run", num_steps=1)).keys() == {"loss", "accuracy"}
    with pytest.raises(UsageError, match="holds no training"):
        TrainingFolder(Path("/nowhere")).settings()
