"""The demo command: which settings it runs with, and what it says first."""

from __future__ import annotations

from pathlib import Path

import pytest

import flows.commands.run as command
import flows.running
import singalong.synthetic
from singalong.config import Settings
from tasks.summary import RunSummary


def summary(folder: Path, **values: object) -> RunSummary:
    facts: dict[str, object] = {
        **{"run": str(folder), "run_id": "r", "num_pairs": 1, "num_shards": 1, "shards": {"done": 1}},
        **{"num_frames": 10, "films": (), "montages": (), "failures": (), "notes": ()},
        "report": str(folder / "index.html"),
    }
    return RunSummary.model_validate(facts | values)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Settings]:
    """The settings of the run that was not really made."""
    found: dict[str, Settings] = {}

    def plan_and_run(manifest: Path, run: Path, settings: Settings) -> RunSummary:
        found["settings"] = settings
        return summary(run, montages=(str(run / "montages" / "demo.mp4"),))

    monkeypatch.setattr(singalong.synthetic, "write_demo_inputs", lambda folder, **_: folder / "manifest.csv")
    monkeypatch.setattr(flows.running, "plan_and_run", plan_and_run)
    monkeypatch.setattr(command, "_begin", lambda _settings: None)
    return found


def test_the_film_to_watch_is_named_before_all_else(
    seen: dict[str, Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.demo_command(tmp_path, as_json=False) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.split(maxsplit=1) == ["watch", str(tmp_path / "run" / "montages" / "demo.mp4")]


def test_the_demo_shows_scores(seen: dict[str, Settings], tmp_path: Path) -> None:
    command.demo_command(tmp_path, as_json=True)
    assert seen["settings"].film.titles == "score"
