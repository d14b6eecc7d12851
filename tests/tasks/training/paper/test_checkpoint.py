import os

import pytest
import torch

from singalong.errors import UsageError
from tasks.training.paper.checkpoint import checkpoints, read_network, restore, save, sweep
from tasks.training.paper.context import TrainContext
from tasks.training.paper.loop import new_training


@pytest.fixture
def training(plan, tmp_path):
    settings = plan("expert", tmp_path / "run").settings()
    training = new_training(settings, TrainContext(torch.device("cpu")))
    training.begin()
    return training


def weights(training) -> list[torch.Tensor]:
    return [value.clone() for value in training.networks["expert"].state_dict().values()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_weights_optimizer_and_random_state_come_back(training, tmp_path):
    training.learn(training.batch(1))
    save(tmp_path, 1, training)
    learned, drawn = weights(training), torch.rand(3)
    training.learn(training.batch(2))
    after_two = weights(training)
    assert restore(tmp_path, training) == 1
    assert same(weights(training), learned)
    assert torch.equal(torch.rand(3), drawn)
    training.learn(training.batch(2))
    assert same(weights(training), after_two)


def test_there_is_nothing_to_restore_at_first(training, tmp_path):
    before = weights(training)
    assert restore(tmp_path / "none", training) == 0
    assert same(weights(training), before)


def test_the_last_two_are_kept(training, tmp_path):
    for step in (1, 9, 10):
        save(tmp_path, step, training)
    assert list(checkpoints(tmp_path)) == [10, 9]


def test_the_same_state_gives_the_same_bytes_also_when_it_was_restored(training, tmp_path):
    training.learn(training.batch(1))
    save(tmp_path / "a", 1, training)
    restore(tmp_path / "a", training)
    save(tmp_path / "b", 1, training)
    first, second = (next((tmp_path / name).iterdir()).read_bytes() for name in "ab")
    assert first == second


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(training, tmp_path):
    for step in (1, 2):
        save(tmp_path, step, training)
    path = checkpoints(tmp_path)[2]
    path.write_bytes(path.read_bytes()[:5000])
    assert restore(tmp_path, training) == 1
    assert read_network(tmp_path, "expert")[0] == 1
    checkpoints(tmp_path)[1].write_bytes(b"")
    with pytest.raises(UsageError, match="damaged"):
        restore(tmp_path, training)


def test_no_code_in_a_checkpoint_is_run(training, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"step": Attack()}, tmp_path / "step-000000002.pt")
    with pytest.raises(UsageError, match="damaged"):
        restore(tmp_path, training)
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_other_settings_is_refused_by_name(training, plan, tmp_path):
    save(tmp_path, 1, training)
    other = plan("expert", tmp_path / "other", seed=9, learning_rate=0.1).settings()
    with pytest.raises(UsageError, match=r"--learning-rate: 0.0001 then, 0.1 now; --seed: 3 then, 9 now"):
        restore(tmp_path, new_training(other, TrainContext(torch.device("cpu"))))


def test_what_an_interrupted_write_left_is_swept_away(training, tmp_path):
    (tmp_path / ".step-000000001.pt.abc.tmp").write_bytes(b"half")
    save(tmp_path, 1, training)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["step-000000001.pt"]


def test_a_folder_without_checkpoints_has_no_network(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint"):
        read_network(tmp_path, "expert")
