"""`singalong schedule` as a user meets it before there is any server: what is wrong is said now, not at two o'clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.commands.schedule import _frozen
from flows.schedule_notes import slug
from flows.schedule_page import summary_page
from tasks.summary import FailureNote, RunSummary
from tests.flows import console

CRON = ("--cron", "0 2 * * *")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.csv").write_text("clip,song\n")


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What is said of a command that is refused."""
    assert console.call(monkeypatch, "schedule", *words) == 2
    return " ".join(capsys.readouterr().err.split())


def test_without_a_server_it_says_exactly_what_to_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        said = call(monkeypatch, capsys, "night.csv", *CRON, "--run", "night")
    assert "PREFECT_API_URL is not set" in said
    for command in (
        "prefect server start --host 127.0.0.1",
        "export PREFECT_API_URL=http://127.0.0.1:4200/api",
        "prefect worker start --pool singalong",
        "lease_storage.filesystem",
        "docs/scheduling.md",
    ):
        assert command in said


def test_a_server_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        said = call(monkeypatch, capsys, "--list")
    assert "http://127.0.0.1:9/api" in said
    assert "does not answer" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["night.csv", "--run", "r"], "--cron"),
        (["night.csv", *CRON], "--run"),
        (["none.csv", *CRON, "--run", "r"], "none.csv: there is no such manifest"),
        (["night.csv", "--cron", "2 o'clock", "--run", "r"], "five fields"),
        (["night.csv", *CRON, "--run", "r", "--timezone", "Mars"], "unknown time zone"),
        (["night.csv", *CRON, "--run", "r", "--priority", "highest"], "one of high, normal, low"),
        (["night.csv", *CRON, "--run", "r", "--name", "a/b"], "a/b"),
        (["night.csv", *CRON, "--run", "r", "--set", "plan.shart_s=1"], "plan.shard_s"),
        (["night.csv", *CRON, "--run", "r", "--config", "no.toml"], "no.toml"),
        ([], "one thing at a time"),
        (["--list", "--pause", "x"], "one thing at a time"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in call(monkeypatch, capsys, *words)


def test_paths_are_frozen_absolute_because_a_worker_starts_somewhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SINGALONG_STORE", raising=False)
    config = tmp_path / "my.toml"
    config.write_text('[run]\nstore = "near"\n')
    assert _frozen(config, []) == [f"run.store={tmp_path / 'near'}"]
    assert _frozen(None, ["run.store=s3://bucket/store"]) == ["run.store=s3://bucket/store"]
    assert _frozen(None, ["film.certificate=a.pem"]) == [
        "film.certificate=a.pem",
        f"film.certificate={tmp_path / 'a.pem'}",
    ]
    monkeypatch.setenv("SINGALONG_STORE", "here")
    assert _frozen(None, []) == [f"run.store={tmp_path / 'here'}"]


def test_the_summary_page_shows_text_as_text_and_commands_that_can_be_copied(tmp_path: Path) -> None:
    summary = RunSummary(
        run=str(tmp_path),
        run_id="r",
        num_pairs=2,
        num_shards=3,
        shards={"done": 2, "failed": 1},
        num_frames=1200,
        films=(str(tmp_path / "outputs" / "a.mp4"),),
        montages=(),
        failures=(FailureNote(name="b", error_class="INPUT", message="bad"),),
        notes=("<script>alert(1)</script> | `x`",),
        report=str(tmp_path / "index.html"),
    )
    page = summary_page(summary, "/runs/my night", tmp_path, started=datetime.now(UTC), was_finished=False)
    assert "# 1 failed, 1 of 2 pairs made" in page
    assert "    singalong review '/runs/my night'" in page
    assert "    singalong reprocess '/runs/my night' --failed" in page
    assert "3 (2 done, 1 failed)" in page
    assert "<script>" not in page


@pytest.mark.parametrize(("name", "key"), [("Night one!", "night-one"), ("ünïcode", "n-code"), ("§", "run")])
def test_any_name_makes_a_key_that_prefect_takes(name: str, key: str) -> None:
    assert slug(name) == key
