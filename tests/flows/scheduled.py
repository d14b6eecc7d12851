"""Scheduled runs for tests: a folder with clips, a manifest whose second row waits at a gate, and a look at Prefect."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import State

from flows.commands.schedule import Wish, schedule_command
from flows.schedule_deploy import find, fire, latest
from singalong.runfolder import RunFolder
from tests.flows.prefect_bed import Bed, until

_GATE = """
import shutil, sys, time
from pathlib import Path
gate, vocals, output, song = map(Path, sys.argv[1:])
(gate / "reached").touch()
while not (gate / "open").exists():
    if (gate / "broken").exists():
        sys.exit("the gate is broken")
    time.sleep(0.05)
shutil.copy(vocals, output)
"""
HEAD = "pair_id,clip,song,vocals,song_end_s\n"
PLAIN_ROW = "plain,clip1_640x360.mp4,song.wav,vocals.wav,0.4\n"
GATED_ROW = "gated,clip1_640x360.mp4,gated.wav,separate,0.4\n"
BAD_ROW = "bad,bad.mp4,song.wav,vocals.wav,0.4\n"


def _far_hour() -> int:
    """An hour of Berlin that no test lasts to, and that every day has, also those on which the clocks change."""
    hour = (datetime.now(ZoneInfo("Europe/Berlin")).hour + 10) % 24
    return 4 if hour in (2, 3) else hour


HOUR = _far_hour()
"""When schedules would fire by themselves."""


class Place:
    """Inputs, manifest, store and run folder of one schedule."""

    def __init__(self, folder: Path, inputs: Path, bed: Bed, name: str) -> None:
        self.folder, self.bed, self.name = folder / name, bed, name
        shutil.copytree(inputs, self.folder)
        (self.folder / "bad.mp4").write_bytes(b"no film")
        self.gate = self.folder / "gate"
        self.gate.mkdir()
        (self.gate / "gate.py").write_text(_GATE)
        song = bytearray((self.folder / "song.wav").read_bytes())
        song[-1] ^= 1  # another song to the store
        (self.folder / "gated.wav").write_bytes(song)
        self.run, self.manifest = self.folder / "run", self.folder / "manifest.csv"

    def write(self, *rows: str) -> None:
        self.manifest.write_text(HEAD + "".join(rows))

    def open(self) -> None:
        (self.gate / "open").touch()

    def reached(self) -> bool:
        return (self.gate / "reached").exists()

    def wait_at_gate(self) -> None:
        until(self.reached, f"{self.name} stands at its gate")
        (self.gate / "reached").unlink()

    def wish(self, **changes: Any) -> Wish:
        separator = [sys.executable, self.gate / "gate.py", self.gate, self.folder / "vocals.wav", "{output}", "{song}"]
        overrides = [
            "run.executor=inprocess",
            f"run.store={self.folder / 'store'}",
            "plan.shard_s=0.2",
            "songs.separator=" + json.dumps([str(word) for word in separator]),
        ]
        plain: dict[str, Any] = {
            "manifest": str(self.manifest),
            "cron": f"0 {HOUR} * * *",
            "run": str(self.run),
            "name": self.name,
            "timezone": "Europe/Berlin",
            "pool": "quick",
            "priority": "normal",
            "config": None,
            "overrides": overrides,
            "require_rights": False,
            "retries": 1,
            "retry_delay_s": 1,
            "at_once": None,
            "replace": False,
        }
        return Wish(**(plain | changes))

    def schedule(self, **changes: Any) -> None:
        assert schedule_command(self.wish(**changes), as_json=True) == 0

    def made(self) -> dict[str, int]:
        """How often each shard was made; nothing as long as there is no run."""
        return made_in(RunFolder.open(self.run)) if (self.run / "plan.parquet").exists() else {}

    def events(self) -> list[str]:
        lines = (self.run / "logs" / "firings.jsonl").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]


def made_in(run: RunFolder) -> dict[str, int]:
    """How often each shard was made."""
    return dict(Counter(row.shard_id for row in run.attempts() if row.result is not None and not row.reused))


class Looker:
    """Looks at Prefect as a person does, and presses its buttons."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client

    def fire(self, place: Place) -> UUID:
        flow_run: Any = fire(self.client, place.name)
        return UUID(str(flow_run.id))

    def state(self, flow_run: UUID) -> State[Any]:
        state = self.client.read_flow_run(flow_run).state
        assert state is not None
        return state

    def wait(self, flow_run: UUID, *names: str) -> State[Any]:
        """Wait until a run is in one of these states, by name."""

        def look() -> State[Any] | None:
            state = self.state(flow_run)
            return state if state.name in names else None

        try:
            return until(look, f"the run is {names}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.state(flow_run)}") from None

    def press_cancel(self, flow_run: UUID) -> None:
        """What the button of that name does."""
        self._press(flow_run, {"type": StateType.CANCELLING.value, "name": "Cancelling"})

    def press_retry(self, flow_run: UUID) -> None:
        self._press(
            flow_run, {"type": StateType.SCHEDULED.value, "name": "AwaitingRetry", "message": "Retry from the UI"}
        )

    def _press(self, flow_run: UUID, state: dict[str, str]) -> None:
        answer = self.client.request(
            "POST", "/flow_runs/{id}/set_state", path_params={"id": flow_run}, json={"state": state}
        )
        assert answer.status_code == httpx.codes.CREATED, answer.text

    def latest(self, place: Place) -> UUID:
        """The run of a schedule that started last."""
        return UUID(str(latest(self.client, find(self.client, place.name).id).id))

    def planned(self, place: Place) -> list[Any]:
        """The firings to come that Prefect's scheduler made."""
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[find(self.client, place.name).id]))
        return self.client.read_flow_runs(deployment_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=5)

    def artifact(self, key: str) -> Any:
        """What is shown under a key, the latest."""
        response = self.client.request("GET", "/artifacts/{key}/latest", path_params={"key": key})
        return response.json()
