"""Log, curves and progress of a training, also when it was interrupted."""

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from singalong.errors import InputError
from tasks.training.paper.folder import TrainingFolder
from tasks.training.paper.record import Record

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> TrainingFolder:
    return TrainingFolder(tmp_path)


def record_steps(folder: TrainingFolder, first: int, last: int, *, factor: float = 1.0) -> None:
    with Record(folder, first - 1, 20, CPU) as record:
        for step in range(first, last + 1):
            record.add_step(step, {"loss": torch.tensor(factor * step)})


def log_of(folder: TrainingFolder) -> list[dict[str, float]]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


def points_of(folder: TrainingFolder, tag: str) -> list[tuple[int, float]]:
    """The curve as TensorBoard shows it: a session's start takes away what lies beyond it."""
    points: list[tuple[int, float]] = []
    for path in sorted(folder.tensorboard.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            if event.HasField("session_log"):
                points = [point for point in points if point[0] < event.step]
            points += [(event.step, value.simple_value) for value in event.summary.value if value.tag == tag]
    return points


def test_every_step_has_a_row_and_a_point(folder):
    record_steps(folder, 1, 5)
    assert log_of(folder) == [{"step": step, "loss": float(step)} for step in range(1, 6)]
    assert points_of(folder, "train/loss") == [(step, float(step)) for step in range(1, 6)]


def test_what_lies_beyond_the_checkpoint_is_replaced_not_doubled(folder, monkeypatch):
    record_steps(folder, 1, 7)
    monkeypatch.setattr("time.time", lambda: 4e9)  # event files are named by the second, and read in this order
    record_steps(folder, 4, 8, factor=10.0)
    expected = [(step, float(step if step < 4 else 10 * step)) for step in range(1, 9)]
    assert [(row["step"], row["loss"]) for row in log_of(folder)] == expected
    assert points_of(folder, "train/loss") == expected


def test_a_row_that_was_half_written_is_cut(folder):
    record_steps(folder, 1, 3)
    with folder.log.open("a") as file:
        file.write('{"step": 4, "lo')
    record_steps(folder, 4, 4)
    assert [row["step"] for row in log_of(folder)] == [1, 2, 3, 4]


def test_an_evaluation_has_its_own_row_after_its_steps(folder):
    with Record(folder, 0, 20, CPU) as record:
        record.add_step(1, {"loss": torch.tensor(1.0)})
        record.add_evaluation(1, {"sync": 0.5}, {"sync_weight": 0.01})
    assert log_of(folder) == [{"step": 1, "loss": 1.0}, {"step": 1, "eval_sync": 0.5, "sync_weight": 0.01}]
    assert points_of(folder, "eval/sync") == [(1, 0.5)]
    assert folder.progress().evaluation == {"sync": 0.5}


def test_rows_and_points_are_on_the_disk_before_a_checkpoint_follows(folder):
    record = Record(folder, 0, 20, CPU)
    record.add_step(1, {"loss": torch.tensor(1.0)})
    record.sync()
    assert len(log_of(folder)) == 1
    deadline = time.monotonic() + 30
    while not points_of(folder, "train/loss") and time.monotonic() < deadline:
        time.sleep(0.05)  # they are written by a thread
    assert points_of(folder, "train/loss") == [(1, 1.0)]
    record.__exit__(None, None, None)


def test_a_loss_that_is_no_number_ends_the_training_with_advice(folder):
    with Record(folder, 0, 20, CPU) as record:
        record.add_step(1, {"loss": torch.tensor(1.0)})
        record.add_step(2, {"loss": torch.tensor(float("nan"))})
        with pytest.raises(InputError, match=r"diverged.*step 2.*--learning-rate"):
            record.flush()
    assert [row["step"] for row in log_of(folder)] == [1]


def test_seconds_add_up_over_sessions(folder):
    record_steps(folder, 1, 2)
    first = folder.progress()
    assert first.phase == "done"
    record_steps(folder, 3, 4)
    second = folder.progress()
    assert second.step == 4
    assert second.seconds > first.seconds > 0
