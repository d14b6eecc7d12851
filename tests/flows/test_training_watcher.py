from pathlib import Path

import pytest

from flows.training_watcher import describe, training_progress
from tasks.training.paper.folder import TrainingFolder, TrainingProgress

PROGRESS = TrainingProgress(
    step=100,
    num_steps=500,
    phase="training",
    steps_per_s=0.5,
    figures={"loss": 0.61234, "accuracy": 0.5, "l1": 0.1},
    evaluation={"sync": 0.7},
)


def test_a_line_tells_loss_evaluation_rate_and_time_left() -> None:
    assert describe(PROGRESS) == "loss 0.6123  l1 0.1000  eval sync 0.7000  0.50 steps/s  0:13:20 left"


def test_what_is_not_known_yet_is_left_out() -> None:
    assert describe(TrainingProgress(step=0, num_steps=5, phase="training")) == ""


def test_nothing_is_shown_where_nobody_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress(TrainingFolder(tmp_path)):
        pass
    assert capsys.readouterr().err == ""
