"""A worker that really runs out of memory says so: RESOURCE, to be tried again with less, and no fault of the input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from singalong.synthetic.dsp import write_wav

CHILD = """
import json, resource, sys
from pathlib import Path
from singalong.config import Settings
from singalong.contracts import ModelRef
from singalong.store import sha256_of
from tasks.jobs import SongJob, WorkerSpec
from tasks.worker import Worker

folder, room_mb = Path(sys.argv[1]), int(sys.argv[2])
detector = ModelRef(name="none", architecture="none", weights_sha256="0" * 64)
worker = Worker(WorkerSpec(settings=Settings(), store=str(folder / "store"), detector=detector, scorer=None))

def job(name):
    path = folder / name
    return SongJob(path=str(path), sha256=sha256_of(path))

long = job("long.wav")
assert worker.run(job("short.wav")).ok
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (room_mb << 20)
unlimited = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (limit, unlimited[1]))
outcome = worker.run(long)
resource.setrlimit(resource.RLIMIT_AS, unlimited)
failure = outcome.failure
print(json.dumps([failure and failure.error_class, failure and failure.message, worker.run(long).ok]))
"""


UNSAID = """
import resource
from pathlib import Path
from tasks.checked_store import checked_store
from singalong.store import Store
from tasks.jobs import SongJob
from tasks.worker import _cause

error, store = SystemError("error return without exception set"), checked_store(Store(Path("nowhere")), [])
job = SongJob(path="song.wav", sha256="0" * 64)
before = type(_cause(error, job, store)).__name__
resource.setrlimit(resource.RLIMIT_AS, (64 << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
print(before, type(_cause(error, job, store)).__name__)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_what_fails_without_saying_why_where_there_is_no_memory_failed_for_that() -> None:
    done = subprocess.run([sys.executable, "-c", UNSAID], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SystemError", "ResourceError"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
@pytest.mark.parametrize("room_mb", [-400, -50])
def test_no_memory_is_filed_under_resource_and_the_same_worker_goes_on(tmp_path: Path, room_mb: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (44100 * 300, 2)).astype(np.float32)
    write_wav(tmp_path / "short.wav", noise[:4410])
    write_wav(tmp_path / "long.wav", noise)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(room_mb)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    error_class, message, goes_on = json.loads(done.stdout.splitlines()[-1])
    assert error_class == "RESOURCE", message
    assert goes_on
