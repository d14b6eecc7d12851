"""What a firing tells must never end it, and a cancellation that its worker missed must."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import schedule_notes
from flows.schedule_notes import CancelledAtLastError, FiringWatcher, Notes
from singalong.config import Settings
from singalong.runfolder import RunFolder
from tasks.dispatch import Item
from tasks.jobs import Outcome
from tests.singalong.builders import pair_row, plan_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", plan_of([pair_row()]), Settings())


def test_a_run_whose_server_is_away_is_told_of_in_its_own_log_all_the_same(run: RunFolder) -> None:
    notes = Notes("night", str(run.path), uuid4())
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        notes.began(run)
        notes.progress(50.0)
        notes.cancelled("cancelled")
    lines = [json.loads(line) for line in (run.path / "logs" / "firings.jsonl").read_text().splitlines()]
    assert [(line["event"], line["schedule"]) for line in lines] == [("began", "night"), ("cancelled", "night")]


def test_a_firing_that_never_made_its_run_folder_leaves_none_behind(tmp_path: Path) -> None:
    Notes("night", str(tmp_path / "run"), uuid4()).record("failed", "no manifest")
    assert not (tmp_path / "run").exists()


def test_a_cancellation_that_the_worker_did_not_hear_ends_the_run_at_the_next_shard(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_notes, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(schedule_notes, "WORKER_ENDS_IT_S", 0.0)
    answers = iter([False, True])
    monkeypatch.setattr(schedule_notes, "is_being_cancelled", lambda: next(answers))
    watcher = FiringWatcher(run, Notes("night", str(run.path), uuid4()))
    item = Item("shard", None)  # type: ignore[arg-type]
    watcher.advance("lipsync", item, Outcome())
    with pytest.raises(CancelledAtLastError):
        watcher.advance("lipsync", item, Outcome())
