"""Schedules on a real Prefect server with real workers: fired, cancelled, killed, gone on with; nothing done twice."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.commands.schedule import list_command, now_command, pause_command
from flows.schedule_automations import ensure_automations
from flows.schedule_deploy import find, remove
from singalong.contracts import Status
from singalong.errors import UsageError
from singalong.objects import ObjectFolder
from singalong.remote_run import run_at
from singalong.runfolder import RunFolder
from tests.flows.prefect_bed import ROOT, Bed, pids_of_flow, running_postgres, until
from tests.flows.scheduled import BAD_ROW, GATED_ROW, HOUR, PLAIN_ROW, Looker, Place, made_in
from tests.gate import Gate
from tests.object_server import ObjectServer

pytestmark = pytest.mark.ray  # slow, as those are


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate") / "gate")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory, started_object_server: ObjectServer, gate: Gate) -> Iterator[Bed]:
    """A server on SQLite, with a worker of the pool quick that reaches the object store and heeds the gate."""
    more = started_object_server.env | gate.environment({"PYTHONPATH": str(ROOT)})
    made = Bed(tmp_path_factory.mktemp("prefect"), more=more)
    try:
        made.start_server()
        made.start_worker("quick")
        yield made
    finally:
        made.stop()


@pytest.fixture
def look(bed: Bed) -> Iterator[Looker]:
    with temporary_settings({PREFECT_API_URL: bed.url}), get_client(sync_client=True) as client:
        yield Looker(client)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, demo_inputs: Path, bed: Bed, look: Looker) -> Iterator[Place]:
    made = Place(tmp_path, demo_inputs, bed, request.node.name.removeprefix("test_")[:30])
    yield made
    with contextlib.suppress(UsageError):  # where the test failed, and never made it or left it running
        remove(look.client, made.name)


def test_a_firing_of_the_scheduler_makes_what_is_new_and_a_cancelled_one_goes_on_at_retry(
    place: Place, look: Looker
) -> None:
    place.write(PLAIN_ROW)
    place.schedule()
    first = until(lambda: look.planned(place), "Prefect's scheduler made firings")[0]
    assert f"{first.next_scheduled_start_time.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" == f"{HOUR:02}:00"
    look.press_retry(first.id)  # now, and not when its hour comes
    assert "1 of 1 pairs" in str(look.wait(first.id, "Completed", "SomeFailed").message)
    key = place.name.replace("_", "-")
    page = look.artifact(f"{key}-summary")["data"]
    assert "All 1 pairs made" in page
    assert f"singalong review {place.run}" in page
    assert look.artifact(f"{key}-progress")["data"] == 100.0
    made = place.made()
    assert set(made.values()) == {1}

    place.write(PLAIN_ROW, GATED_ROW, BAD_ROW)
    ray = ["run.executor=ray", "run.num_actors=1"]  # the harder case: Ray has processes and signal handlers of its own
    place.schedule(overrides=[*place.wish().overrides[1:], *ray])
    second = look.fire(place)
    place.wait_at_gate()
    assert len(pids_of_flow(second)) > 5, "where is Ray?"
    look.press_cancel(second)
    look.wait(second, "Cancelled")
    until(lambda: not pids_of_flow(second), "its processes are gone")
    until(lambda: place.events()[-1] == "cancelled", "the hook wrote it down")
    assert "It goes on there at the next firing" in look.artifact(f"{key}-summary")["data"]

    place.open()
    look.press_retry(second)
    state = look.wait(second, "Completed", "SomeFailed", "Failed")
    assert (state.name, "1 failed" in str(state.message)) == ("SomeFailed", True)
    (row,) = json.loads(look.artifact(f"{key}-failures")["data"])
    assert (row["name"], row["error_class"]) == ("bad", "INPUT")
    assert {shard: count for shard, count in place.made().items() if shard in made} == made
    assert set(place.made().values()) == {1}
    assert look.client.read_flow_run(second).run_count == 2, "what another try cannot mend was tried again"


def test_a_run_goes_on_after_every_way_to_die(place: Place, look: Looker, bed: Bed) -> None:
    place.write(PLAIN_ROW, GATED_ROW)
    place.schedule(pool="deaths", retries=0)
    ensure_automations(
        look.client, str(find(look.client, place.name).flow_id), dead_after_s=60.0
    )  # two heartbeats, one of them late
    bed.start_worker("deaths")
    first = look.fire(place)
    place.wait_at_gate()
    (engine,) = pids_of_flow(first, b"prefect.engine")
    os.kill(engine, signal.SIGKILL)  # the flow alone: its worker tells, and is there for the rest

    place.wait_at_gate()
    assert look.state(first).is_crashed()
    until(lambda: "died" in place.events(), "the hook wrote it down")
    second = look.latest(place)
    assert second != first
    bed.stop_worker("deaths", signal.SIGKILL)  # everybody at once, as when the power goes: nobody is left to tell
    for pid in pids_of_flow(second):
        os.kill(pid, signal.SIGKILL)
    assert str(look.wait(second, "Crashed").message).startswith("died: not heard of")

    place.open()
    bed.start_worker("deaths")
    third = until(lambda: other_than(second, look.latest(place)), "another firing goes on")
    look.wait(third, "Completed", "Failed", "SomeFailed")
    assert look.state(third).is_completed()
    assert set(place.made().values()) == {1}


def test_a_run_whose_own_process_is_told_to_stop_hands_itself_back_and_goes_on_by_itself(
    place: Place, look: Looker, gate: Gate
) -> None:
    """As Kubernetes stops a pod. In the middle of the shards, with Ray, which has handlers of SIGTERM of its own."""
    place.write("long,clip1_640x360.mp4,song.wav,vocals.wav,1\n")
    place.schedule(overrides=[*place.wish().overrides[1:], "run.executor=ray", "run.num_actors=1"], retries=0)
    with gate.shut():
        run = look.fire(place)
        before = until(place.made, "a shard is made")
        until(gate.standing, "its worker is at the next one")
        with pytest.raises(UsageError, match="while a firing is under way"):
            remove(look.client, place.name)  # it could never end, and keep its place in the pool
        (engine,) = pids_of_flow(run, b"prefect.engine")
        os.kill(engine, signal.SIGTERM)
        # Kubernetes waits 30 s, and then kills; of a machine that has other things to do no test can ask that
        until(lambda: engine not in pids_of_flow(run), "its process ended", patience_s=90)
    look.wait(run, "Completed", "Crashed", "Failed", "SomeFailed")
    names = [state.name for state in look.client.read_flow_run_states(run)]
    assert names.count("AwaitingRetry") == 1
    assert not {"Crashed", "Cancelled", "Failed"} & set(names), names
    assert names[-1] == "Completed"
    assert look.latest(place) == run, "it was taken for dead, and fired once more"
    shards = RunFolder.open(place.run).fold().shards
    assert len(shards) == 5
    assert all(shard.status is Status.DONE for shard in shards.values())
    assert before == {"long-0000": 1}
    assert set(place.made().values()) == {1}
    assert place.events() == ["began", "stopped", "began", "ended"]


def test_a_prefix_of_an_object_store_is_looked_through_at_each_firing_and_only_the_new_pair_is_made(
    place: Place, look: Looker, bucket_url: str, demo_inputs: Path
) -> None:
    """With manifest, run and store in the object store, nothing of the schedule lies on the worker's disk."""
    media, run = ObjectFolder.at(f"{bucket_url}/what came in"), f"{bucket_url}/runs/night"
    media.upload("clips/a.mp4", demo_inputs / "clip1_640x360.mp4")
    media.write("songs/song.wav", beginning_of(demo_inputs / "song.wav", seconds=0.4))
    settings = ["run.executor=inprocess", "score.scorer=none", f"run.store={bucket_url}/store"]
    place.schedule(manifest=media.url, run=run, overrides=settings)
    assert "made: 1 of 1 pairs" in str(look.wait(look.fire(place), "Completed", "Failed").message)
    assert made_at(run) == {"a__song-0000": 1}
    media.upload("clips/b.mp4", demo_inputs / "clip2_360x640.mp4")
    assert "made: 2 of 2 pairs" in str(look.wait(look.fire(place), "Completed", "Failed").message)
    assert made_at(run) == {"a__song-0000": 1, "b__song-0000": 1}
    page = look.artifact(f"{place.name.replace('_', '-')}-summary")["data"]
    assert f"singalong review {run}" in page


def beginning_of(song: Path, *, seconds: float) -> bytes:
    out = io.BytesIO()
    with wave.open(str(song)) as whole, wave.open(out, "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(int(seconds * whole.getframerate())))
    return out.getvalue()


def made_at(url: str) -> dict[str, int]:
    with run_at(url) as folder:
        return made_in(RunFolder.open(folder))


def other_than(one: UUID, found: UUID) -> UUID | None:
    return found if found != one else None


def test_what_may_pass_is_tried_again_and_nothing_else_is_lost(place: Place, look: Looker) -> None:
    place.write(PLAIN_ROW, GATED_ROW)
    place.schedule()
    (place.gate / "broken").touch()
    run = look.fire(place)
    look.wait(run, "AwaitingRetry")
    (place.gate / "broken").unlink()
    place.open()
    look.wait(run, "Completed", "Failed", "SomeFailed")
    assert look.state(run).is_completed()
    assert set(place.made().values()) == {1}


def listed(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    capsys.readouterr()
    assert list_command(as_json=True) == 0
    return next(row for row in json.loads(capsys.readouterr().out) if row["name"] == name)


def test_schedules_are_listed_paused_changed_and_removed(
    place: Place, look: Looker, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(PLAIN_ROW)
    place.schedule(pool="idle", priority="high", cron="30 3 * * *")
    said = json.loads(capsys.readouterr().out)
    assert said["new"]
    assert "no worker is polling idle" in said["hints"][0]
    row = listed(capsys, place.name)
    assert (row["cron"], row["timezone"], row["priority"]) == ("30 3 * * *", "Europe/Berlin", "high")
    assert "03:30" in row["next"]
    queues = {queue.name: queue.priority for queue in queues_of(look, "idle")}
    assert queues["high"] < queues["normal"] < queues["low"]

    assert pause_command(place.name, paused=True, as_json=True) == 0
    assert listed(capsys, place.name)["next"] == "paused"
    assert not look.planned(place), "a paused schedule would still fire"
    place.schedule(pool="idle", cron="45 3 * * *")  # a change is no leave to fire
    assert listed(capsys, place.name)["paused"]
    assert pause_command(place.name, paused=False, as_json=True) == 0
    until(lambda: "03:45" in listed(capsys, place.name)["next"], "it fires again, at its new time")

    with pytest.raises(UsageError, match="fires another manifest"):
        place.schedule(manifest=str(place.folder / "song.wav"))
    with pytest.raises(UsageError, match="runs there already"):
        place.schedule(name="twin")
    with pytest.raises(UsageError, match=place.name):
        now_command("nobody", as_json=True)


def queues_of(look: Looker, pool: str) -> list[Any]:
    answer = look.client.request(
        "POST", "/work_pools/{work_pool_name}/queues/filter", path_params={"work_pool_name": pool}, json={}
    )
    return [SimpleNamespace(**queue) for queue in answer.json()]


def test_the_file_for_teams_makes_the_same_as_the_command(place: Place, look: Looker, bed: Bed) -> None:
    place.write(PLAIN_ROW)
    place.schedule(pool="singalong", retries=2, retry_delay_s=60)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    shutil.copy(ROOT / "prefect.yaml", place.folder)
    done = subprocess.run(command, env=bed.environment, cwd=place.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = find(look.client, place.name)
    for name in ("night", "urgent"):
        theirs = find(look.client, name)
        for field in ("entrypoint", "path", "tags", "concurrency_options", "enforce_parameter_schema"):
            assert getattr(theirs, field) == getattr(ours, field), field
        for part in ("properties", "required"):
            assert theirs.parameter_openapi_schema[part] == ours.parameter_openapi_schema[part]
        assert theirs.global_concurrency_limit.limit == ours.global_concurrency_limit.limit
        ours_env = {key: value for key, value in ours.job_variables["env"].items() if not key.startswith("SINGALONG_")}
        assert theirs.job_variables["env"] == ours_env
        assert set(theirs.parameters) <= set(ours.parameters)
        remove(look.client, name)


@pytest.fixture(scope="module")
def postgres_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A server on Postgres, with a worker of the pool quick."""
    folder = tmp_path_factory.mktemp("prefect-postgres")
    with running_postgres(folder) as database:
        made = Bed(folder, database)
        try:
            made.start_server()
            made.start_worker("quick")
            yield made
        finally:
            made.stop()


def test_on_postgres_nobody_runs_beside_another_and_the_server_may_restart_meanwhile(
    postgres_bed: Bed, tmp_path: Path, demo_inputs: Path
) -> None:
    one, other, urgent = (Place(tmp_path, demo_inputs, postgres_bed, name) for name in ("one", "other", "urgent"))
    with temporary_settings({PREFECT_API_URL: postgres_bed.url}), get_client(sync_client=True) as client:
        look = Looker(client)
        for place, priority in ((one, "normal"), (other, "low"), (urgent, "high")):
            place.write(PLAIN_ROW, GATED_ROW) if place is one else place.write(PLAIN_ROW)
            place.schedule(priority=priority)
        first = look.fire(one)
        one.wait_at_gate()
        waiting = {"again": look.fire(one), "other": look.fire(other), "urgent": look.fire(urgent)}
        postgres_bed.stop_server()
        postgres_bed.start_server()
        until(lambda: look.state(waiting["other"]).name == "Late", "the others are late")
        assert not any(look.state(run).is_running() or look.state(run).is_final() for run in waiting.values())
        assert look.state(first).is_running()

        one.open()
        for run in (first, *waiting.values()):
            look.wait(run, "Completed", "Failed", "SomeFailed", "Crashed")
            assert look.state(run).is_completed(), look.state(run)
        assert look.state(waiting["again"]).message.startswith("nothing to do")
        assert set(one.made().values()) == {1}
        times = {name: client.read_flow_run(run) for name, run in waiting.items()}
        assert times["urgent"].start_time < times["other"].start_time
        spans = sorted((run.start_time, run.end_time) for run in (client.read_flow_run(first), *times.values()))
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), "they ran at once"
