"""Metrics of real runs: scraped while they go on, after an interruption, and by every panel of the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from flows.order import run_stages
from singalong.config import load_settings
from singalong.errors import UsageError
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.dispatch import Item
from tasks.jobs import Outcome
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.flows.console import call

DOCS = Path(__file__).parents[2] / "docs"

_WORD = re.compile(r"\bsingalong_[a-z_]+")
Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Scrape:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names_in(scrape: Scrape) -> set[str]:
    return {name for name, _ in scrape}


class Watching:
    """Calls back at the end of every item."""

    def __init__(self, then: Callable[[str], None]) -> None:
        self._then = then

    def begin(self, stage: str, total: int) -> None:
        pass

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        self._then(stage)


class _Unplugged(KeyboardInterrupt):
    pass


@pytest.fixture(scope="module")
def told(demo_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Scrape], Path]:
    """A run that is interrupted after its second shard and resumed: what was scraped meanwhile, and its file."""
    folder = tmp_path_factory.mktemp("metrics")
    (demo_inputs / "bad.mp4").write_bytes(b"<html>")
    manifest = demo_inputs / "metrics.csv"
    rows = ["good,clip1_640x360.mp4,song.wav,0,1.2,m", "bad,bad.mp4,song.wav,0,1,m"]
    manifest.write_text("\n".join(["pair_id,clip,song,song_start_s,song_end_s,montage", *rows]) + "\n")
    file = folder / "night.prom"
    overrides = ["run.executor=inprocess", f"run.store={folder / 'store'}", "plan.shard_s=0.4", "run.metrics_port=0"]
    settings = load_settings(None, [*overrides, f"run.metrics_file={file}", "run.metrics_name=night"])
    plan, table = plan_run(manifest, settings=settings, store=Store(settings.store_path))
    scrapes: list[Scrape] = []

    def hold(stop_after: int) -> None:
        seen = 0

        def look(stage: str) -> None:
            nonlocal seen
            seen += stage == "lipsync"
            assert session.meter is not None
            assert session.meter.url is not None
            with urllib.request.urlopen(session.meter.url) as answer:
                scrapes.append(parsed(answer.read().decode()))
            if seen == stop_after:
                raise _Unplugged

        session = Session(RunFolder.create(folder / "run", plan, settings, manifest=table), Watching(look))
        with session:
            run_stages(session)

    with pytest.raises(_Unplugged):
        hold(stop_after=2)
    scrapes.append(parsed(file.read_text()))
    hold(stop_after=-1)
    scrapes.append(parsed(file.read_text()))
    return scrapes, file


def test_counters_go_up_and_never_down_through_an_interruption(told: tuple[list[Scrape], Path]) -> None:
    scrapes, _ = told
    last: Scrape = {}
    for scrape in scrapes:
        for (name, labels), value in scrape.items():
            if name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert value >= last.get((name, labels), 0.0), name
        assert set(last) <= set(scrape), "what was there once stays there"
        last = {**last, **scrape}
    night = ("run", "night")
    attempts = {
        outcome: last["singalong_attempts_total", frozenset({night, ("outcome", outcome)})]
        for outcome in ("done", "failed", "reused")
    }
    assert attempts == {"done": 3, "failed": 0, "reused": 0}
    assert last["singalong_frames_total", frozenset({night, ("generator", "singalong-warper"), ("outcome", "synced")})]
    assert last["singalong_steps_total", frozenset({night, ("stage", "join"), ("outcome", "done")})] == 1
    assert last["singalong_step_seconds_total", frozenset({night, ("stage", "prepare")})] > 0
    assert last["singalong_manifest_problems", frozenset({night})] == 1


def test_the_file_says_how_each_session_ended(told: tuple[list[Scrape], Path]) -> None:
    scrapes, file = told
    interrupted = next(scrape for scrape in scrapes if state_of(scrape) != "running")
    assert state_of(interrupted) == "interrupted"
    assert state_of(scrapes[0]) == "running"
    assert state_of(scrapes[-1]) == "incomplete", "one row of the manifest could not be planned"
    assert [path.name for path in file.parent.glob("*night*")] == ["night.prom"], "nothing half-written is left"
    assert file.stat().st_mode & 0o044 == 0o044, "node_exporter is another user"


def state_of(scrape: Scrape) -> str:
    (state,) = [
        dict(labels)["state"] for (name, labels), value in scrape.items() if name == "singalong_run_state" and value
    ]
    return state


def test_no_pair_shard_or_file_is_named(told: tuple[list[Scrape], Path]) -> None:
    scrapes, file = told
    labels = {value for scrape in scrapes for _, pairs in scrape for _, value in pairs}
    assert not [value for value in labels if "good" in value or "clip1" in value or str(file.parent) in value]
    assert len(scrapes[-1]) < 400


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text())
    return found


def queries() -> list[str]:
    panels = dashboard()["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DOCS / "prometheus-alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_all_that_dashboard_and_alerts_ask_for_is_exposed_and_all_that_is_exposed_is_shown_and_explained(
    told: tuple[list[Scrape], Path],
) -> None:
    exposed = {name for scrape in told[0] for name in names_in(scrape)}
    exposed |= {"singalong_run_last_success_timestamp_seconds"}  # since the first success
    exposed |= {f"singalong_sync_confidence{part}" for part in ("_bucket", "_sum", "_count")}  # of scorable shards
    asked = set(_WORD.findall(" ".join([*queries(), *(rule["expr"] for rule in alerts())])))
    assert asked <= exposed
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed}
    assert {re.sub(r"_bucket$", "", name) for name in asked} == families
    explained = set(_WORD.findall((DOCS / "metrics.md").read_text()))
    assert families <= explained


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 36
    assert board["id"] is None
    source, run = board["templating"]["list"]
    assert (source["type"], source["query"], run["datasource"]["uid"]) == ("datasource", "prometheus", "${datasource}")
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert '{run=~"$run"' in target["expr"]
    assert sum("thresholds" in panel.get("fieldConfig", {}).get("defaults", {}) for panel in board["panels"]) >= 8


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_no_fault_with_metrics_and_alerts(told: tuple[list[Scrape], Path]) -> None:
    subprocess.run(["promtool", "check", "rules", str(DOCS / "prometheus-alerts.yml")], check=True)
    with told[1].open("rb") as file:
        done = subprocess.run(["promtool", "check", "metrics"], stdin=file, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_finished_run_that_is_run_again_tells_so_in_the_file(
    told: tuple[list[Scrape], Path], demo_inputs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, file = told[1].parent / "store", tmp_path / "again.prom"
    manifest = demo_inputs / "again.csv"
    manifest.write_text("pair_id,clip,song,song_start_s,song_end_s\ngood,clip1_640x360.mp4,song.wav,0,1.2\n")
    options = ["run.executor=inprocess", f"run.store={store}", "plan.shard_s=0.4", f"run.metrics_file={file}"]
    command = ["run", str(manifest), "--run", str(tmp_path / "run")]
    command += [word for option in options for word in ("--set", option)]
    successes = []
    for _ in range(2):
        assert call(monkeypatch, *command) == 0
        scrape = parsed(file.read_text())
        assert state_of(scrape) == "complete"
        successes.append(scrape["singalong_run_last_success_timestamp_seconds", frozenset({("run", "run")})])
    assert successes[1] > successes[0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("run.metrics_file=/tmp/metrics.txt", "ends in .prom"),
        ("run.metrics_port=70000", "less than or equal to 65535"),
        ("run.metrics_name=", "at least 1 character"),
    ],
)
def test_settings_that_could_not_work_are_refused(setting: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_settings(None, [setting])
