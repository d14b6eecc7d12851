"""The Ray pool on a real local cluster: jobs run, late ones are stopped, and a dead worker is blamed on its job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.errors import ErrorClass
from singalong.settings import RunSettings
from singalong.store import sha256_of
from singalong.synthetic.clips import write_wav
from tasks.actors import RayPool
from tasks.jobs import Outcome, SongJob, WorkerSpec
from tests.gate import Gate

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")]

DETECTOR = ModelRef(name="none", architecture="none", weights_sha256="0" * 64)
PATIENCE_S = 120.0
ONE_WORKER = Settings(run=RunSettings(num_actors=1, gpus_per_actor=1.0))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "gate")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[RayPool]:
    spec = WorkerSpec(settings=ONE_WORKER, store=str(tmp_path_factory.mktemp("store")), detector=DETECTOR, scorer=None)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in gate.environment().items():
            patch.setenv(name, value)
        pool = RayPool(spec)
        yield pool
        pool.close()


@pytest.fixture
def song(tmp_path: Path) -> SongJob:
    path = tmp_path / "song.wav"
    write_wav(path, np.random.default_rng(0).normal(0, 0.1, (8000, 2)).astype(np.float32))
    return SongJob(path=str(path), sha256=sha256_of(path))


def submit(pool: RayPool, job: SongJob, *, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while pool.choose([job]) is None:
        assert time.monotonic() < deadline, "no worker came up"
        assert pool.wait(0.2) == []
    pool.submit("job", job, timeout_s=timeout_s)


def run(pool: RayPool, job: SongJob, *, timeout_s: float = PATIENCE_S) -> Outcome:
    submit(pool, job, timeout_s=timeout_s)
    return answer(pool)


def answer(pool: RayPool) -> Outcome:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for job_id, outcome in pool.wait(0.2):
            assert job_id == "job"
            assert pool.free_slots() == (process_of(outcome) > 0), "whoever answered is idle, whoever died is not"
            return outcome
    raise AssertionError("no answer from the pool")


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def process_of(outcome: Outcome) -> int:
    return int(outcome.worker.rpartition(":")[2] or 0)


def test_workers_come_up_unasked_and_no_process_that_nobody_needs_stands_beside_them(pool: RayPool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not pool.free_slots():
        assert time.monotonic() < deadline, "no worker came up before there was a job"
        assert pool.wait(0.2) == []
    kinds = {kind for kind, infos in ray._private.worker._global_node.all_processes.items() if infos}
    assert kinds <= {"gcs_server", "raylet", "reaper"}


def test_a_job_runs_in_another_process_and_answers_with_a_row(pool: RayPool, song: SongJob) -> None:
    outcome = run(pool, song)
    assert outcome.ok
    assert outcome.folder is not None
    assert process_of(outcome) != os.getpid()


def test_a_job_that_hangs_is_stopped_at_its_deadline_and_the_slot_works_again(pool: RayPool, song: SongJob) -> None:
    hung = process_of(run(pool, song))
    os.kill(hung, signal.SIGSTOP)  # hears nothing and does nothing, like a decoder stuck in the kernel
    outcome = run(pool, song, timeout_s=2.0)
    assert outcome.failure is not None
    assert outcome.failure.error_class is ErrorClass.TIMEOUT
    again = run(pool, song)
    assert again.ok
    assert process_of(again) != hung


def test_a_worker_killed_in_its_work_is_blamed_on_its_job_and_replaced(pool: RayPool, song: SongJob) -> None:
    victim = process_of(run(pool, song))
    os.kill(victim, signal.SIGSTOP)  # so that it is still at work when it is killed
    killer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
    killer.start()
    outcome = run(pool, song)
    killer.join()
    assert outcome.failure is not None
    assert outcome.failure.error_class is ErrorClass.INFRA
    again = run(pool, song)
    assert again.ok
    assert process_of(again) != victim


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_when_a_part_of_ray_dies_the_job_is_told_and_the_pool_works_again(
    pool: RayPool, song: SongJob, gate: Gate, part: str
) -> None:
    worker = process_of(run(pool, song))
    (processes,) = (infos for kind, infos in ray._private.worker._global_node.all_processes.items() if kind == part)
    # not stopped by a signal: the kernel lets who is stopped go on when its parent dies, and it would answer
    with gate.shut(after=0, kind="SongJob"):
        submit(pool, song)
        wait_until(lambda: worker in gate.standing(), "the job is at work")
        os.kill(processes[0].process.pid, signal.SIGKILL)
        outcome = answer(pool)
    assert outcome.failure is not None
    assert outcome.failure.error_class is ErrorClass.INFRA
    assert run(pool, song).ok


class Told(BaseException):
    """Raised by the handler of a signal."""


def test_what_a_signal_handler_raises_comes_out_of_waiting_as_it_was(pool: RayPool, song: SongJob) -> None:
    def handler(_number: int, _frame: object) -> None:
        raise Told

    worker = process_of(run(pool, song))
    os.kill(worker, signal.SIGSTOP)  # so that the wait is long
    before = signal.signal(signal.SIGTERM, handler)
    sender = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    try:
        submit(pool, song)
        sender.start()
        with pytest.raises(Told):
            pool.wait(30.0)  # Ray may wait to the end before it looks
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, before)
        os.kill(worker, signal.SIGCONT)
    assert pool.wait(PATIENCE_S)


def test_an_unreadable_song_comes_back_as_input_failure_not_as_exception(pool: RayPool, tmp_path: Path) -> None:
    path = tmp_path / "page.wav"
    path.write_text("<html></html>")
    outcome = run(pool, SongJob(path=str(path), sha256=sha256_of(path)))
    assert outcome.failure is not None
    assert outcome.failure.error_class is ErrorClass.INPUT
    assert "page.wav" in outcome.failure.message


def test_a_worker_does_not_stand_in_the_background_of_a_terminal(tmp_path: Path) -> None:
    code = (
        "import os; from tasks.actors import WorkerActor; from tests.tasks.test_actors import DETECTOR\n"
        "from tasks.jobs import WorkerSpec; from singalong.config import Settings; print(os.isatty(0))\n"
        f"WorkerActor(WorkerSpec(settings=Settings(), store={str(tmp_path)!r}, detector=DETECTOR, scorer=None))\n"
        "print(os.isatty(0))"
    )
    controller, terminal = os.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", code], stdin=terminal, capture_output=True, text=True, check=False)
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.stdout.split() == ["True", "False"], done.stderr
