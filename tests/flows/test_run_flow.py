"""The whole command under Prefect and Ray: interrupted twice, resumed, finished, nothing lost and nothing twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from singalong.attempts import AttemptLog
from singalong.contracts import Status
from singalong.runfolder import RunFolder
from tests.gate import Gate
from tests.synthetic_inputs import write_inputs

pytestmark = pytest.mark.ray

PATIENCE_S = 300.0


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def environment(tmp_path: Path, gate: Gate) -> dict[str, str]:
    changes = gate.environment() | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "SINGALONG_STORE": str(tmp_path / "store"),
        "SINGALONG_MODELS": str(tmp_path / "models"),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RAY_"))}
    return inherited | changes


def start(manifest: Path, run: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows", "run", str(manifest), "--run", str(run), "--json"]
    settings = ["--set", "plan.shard_s=0.2", "--set", "run.num_actors=1", "--set", "lipsync.generator=untrained"]
    return subprocess.Popen(
        command + settings,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished_shards(run: Path) -> set[str]:
    """Shards that a worker brought to an end; those found in the store are not marked as started."""
    rows = AttemptLog(run / "attempts").read().rows
    return {row.shard_id for row in rows if row.worker}


def interrupt(process: subprocess.Popen[str], gate: Gate, number: signal.Signals) -> str:
    """Interrupt it when it has made a shard and is at the next."""
    wait_until(lambda: gate.standing() or process.poll() is not None)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # to everybody in the foreground, as a terminal does it
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    wait_until(lambda: not gate.standing())
    return errors


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def flow_states(environment: dict[str, str]) -> list[str]:
    with sqlite3.connect(Path(environment["PREFECT_HOME"]) / "prefect.db") as database:
        return [state for (state,) in database.execute("select state_type from flow_run order by start_time")]


def test_an_interrupted_run_is_cancelled_and_resumed_until_it_is_done(
    tmp_path: Path, environment: dict[str, str], gate: Gate
) -> None:
    run = tmp_path / "run"
    manifest = write_inputs(tmp_path, clip_s=0.4, song_s=0.8)
    with gate.shut():
        errors = interrupt(start(manifest, run, environment), gate, signal.SIGINT)
        assert "again to go on" in errors
        kept = finished_shards(run)
        assert len(kept) == 1
        interrupt(start(manifest, run, environment), gate, signal.SIGTERM)
    assert kept < finished_shards(run)
    process = start(manifest, run, environment)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors

    summary = json.loads(output)
    assert summary["shards"] == {"done": summary["num_shards"]}
    assert len(summary["films"]) == 3
    assert len(summary["montages"]) == 1
    assert any("untrained" in note for note in summary["notes"])
    for name in ("report.parquet", "pairs.parquet", "montages.parquet", "index.html"):
        assert (run / name).stat().st_size > 0
    folder = RunFolder.open(run)
    results = [attempt for attempt in folder.attempts() if attempt.result is not None]
    assert len(results) == len({attempt.shard_id for attempt in results}), "a finished shard was done again"
    assert all(shard.status is Status.DONE for shard in folder.fold().shards.values())
    assert flow_states(environment) == ["CANCELLED", "CANCELLED", "COMPLETED"]
