"""Signals that come while Ray starts, or once it has started, are heard as if there were no Ray."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ray

IN_A_THREAD = """
import os, signal, threading, time
import ray
from tasks.actors.connect import connect
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("heard"))
def work():
    connect(None)
    os.kill(os.getpid(), signal.SIGTERM)
    ray.shutdown()  # here: Ray's processes end with the thread that started them
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(*heard)
print("alarm in", signal.alarm(0))
"""


def test_a_cluster_that_a_thread_started_has_no_hold_on_sigterm() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_THREAD], env=environment, capture_output=True, text=True, check=False
    )
    assert "SIGTERM" not in done.stderr
    assert done.stdout == "heard\nalarm in 0\n", done.stderr
