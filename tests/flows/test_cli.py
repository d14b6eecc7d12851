"""The command line: its surface is frozen here, and it answers without loading what it does not need."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from flows.cli import _report_error, app
from singalong.config import Settings
from singalong.errors import InfraError, MediaError, ResourceError, UsageError
from singalong.runfolder import RunFolder
from tasks.dispatch import TooManyBugsError
from tests.flows.console import call
from tests.singalong.builders import pair_row, plan_of

TRAINING = {
    *("dataset", "--run", "--json", "--batch-size", "--num-steps", "--learning-rate", "--seed", "--eval-every"),
    *("--eval-batches", "--checkpoint-every", "--num-workers", "--device", "--precision", "--executor", "--width"),
    "--licence",
}
SURFACE = {
    "demo": {"--dir", "--json"},
    "plan": {"--config", "--set", "--require-rights", "--preview", "--preview-results", "--json", "manifest"},
    "run": {"--run", "--config", "--set", "--ray-address", "--require-rights", "--metrics-port", "--json", "manifest"},
    "reprocess": {
        "--failed",
        "--rejected",
        "--below",
        "--where",
        "--run",
        "--set",
        "--ray-address",
        "--dry-run",
        "--json",
        "run",
    },
    "status": {"--watch", "--json", "run"},
    "logs": {"--attempt", "--failed", "--follow", "--json", "run", "shard"},
    "report": {"--json", "runs"},
    "review": {"--port", "--open", "--json", "run"},
    "schedule": {
        *("manifest", "--cron", "--run", "--name", "--timezone", "--pool", "--priority", "--at-once", "--retries"),
        *("--retry-delay", "--config", "--set", "--require-rights", "--replace", "--list", "--pause", "--resume"),
        *("--remove", "--now", "--json"),
    },
    "score": {"--audio", "--face", "--config", "--set", "--json", "videos"},
    "doctor": {"--json"},
    "train expert": TRAINING,
    "train generator": TRAINING | {"--expert", "--gan", "--sync-switch"},
    "models list": {"--json"},
    "models add": {"--replace", "--json", "name", "checkpoint"},
    "models pull": {"--all", "--url", "--accept-licence", "--replace", "--json", "names"},
    "models verify": {"--json"},
    "train prepare": {"--data", "--config", "--set", "--ray-address", "--json", "folder"},
}


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SINGALONG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SINGALONG_MODELS", str(tmp_path / "models"))


def test_commands_and_options_change_only_on_purpose() -> None:
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            parameters = command.params  # type: ignore[attr-defined]
            found[name] = {
                parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
                for parameter in parameters
            } - {"--help"}
        else:
            for child_name, child in children.items():
                walk(child, f"{name} {child_name}".strip())

    walk(get_command(app), "")
    assert found == SURFACE


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom flows.cli import app\ntry:\n    app(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'prefect', 'numpy', 'av', 'cv2', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--run" in done.stdout


def test_a_bad_manifest_exits_with_2_and_names_every_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("clip,song,fit\nnone.mp4,none.wav,bounce\nnone2.mp4,none.wav,bonce\n")
    assert call(monkeypatch, "plan", manifest) == 2
    message = capsys.readouterr().err
    for expected in ("row 1", "row 2", "none.mp4", "none2.mp4", "bonce", "bounce"):
        assert expected in message
    assert "Traceback" not in message


@pytest.mark.parametrize("command", [["plan"], ["run", "--run", "r"]])
def test_rows_without_rights_are_all_refused_where_rights_are_required(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "s.wav"):
        (tmp_path / name).write_bytes(b"media")
    (tmp_path / "m.csv").write_text("clip,song,rights\na.mp4,s.wav,\na.mp4,s.wav,CC BY 4.0\na.mp4,s.wav, \n")
    assert call(monkeypatch, *command, "m.csv", "--require-rights") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "2 problems" in message
    assert "row 1, column rights: missing" in message
    assert "row 3, column rights: missing" in message
    assert "row 2" not in message
    assert not (tmp_path / "r").exists()


def test_previews_into_a_file_exit_with_2_before_the_manifest_is_even_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("mine")
    assert call(monkeypatch, "plan", tmp_path / "no manifest.csv", "--preview", tmp_path / "taken") == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "taken: previews cannot be written there" in message
    assert "a folder that can be written" in message
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_preview_of_nothing_but_bad_rows_is_a_page_that_says_why_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "s.wav"):
        (tmp_path / name).write_bytes(b"no media")
    (tmp_path / "m.csv").write_text("pair_id,clip,song\nfirst,a.mp4,s.wav\n")
    assert call(monkeypatch, "plan", tmp_path / "m.csv", "--preview", tmp_path / "new" / "out", "--json") == 1
    preview = json.loads(capsys.readouterr().out)["preview"]
    assert (preview["clips"], preview["results"]) == ([], [])
    page = Path(preview["page"])
    assert page == tmp_path / "new" / "out" / "index.html"
    assert "first" in page.read_text()
    assert "a.mp4" in page.read_text()


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("lipsync.crv=20", "lipsync.crf"),
        ("lipsync.crf=many", "lipsync.crf"),
        ("crf=20", "section.key=value"),
    ],
)
def test_a_bad_setting_exits_with_2_and_says_which(
    setting: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "plan", tmp_path / "m.csv", "--set", setting) == 2
    assert hint in capsys.readouterr().err


def test_a_folder_that_is_no_run_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "status", tmp_path) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_scoring_without_a_scorer_exits_with_2_and_says_how_to_add_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "score", tmp_path / "video.mp4", "--set", "score.scorer=none") == 2
    assert "singalong models add" in capsys.readouterr().err


def test_models_list_knows_what_is_built_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "models", "list", "--json") == 0
    names = {card["name"] for card in json.loads(capsys.readouterr().out)}
    assert {"centerface", "untrained"} <= names


def test_a_web_page_saved_as_weights_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "wav2lip_gan.pth"
    page.write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    assert call(monkeypatch, "models", "add", "gan", page) == 2
    assert "web page" in capsys.readouterr().err


def test_doctor_looks_at_a_store_at_a_url(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bucket_url: str,
    tmp_path: Path,
) -> None:
    def told(store: str) -> dict[str, str]:
        monkeypatch.setenv("SINGALONG_STORE", store)
        findings = json.loads((call(monkeypatch, "doctor", "--json"), capsys.readouterr().out)[1])
        return next(finding for finding in findings if finding["subject"] == "store")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert told(f"{bucket_url}/store")["level"] == "ok"
    for wrong, says in (("s3://no-such-bucket/store", "no such bucket"), ("s3:///store", "cannot be the name")):
        found = told(wrong)
        assert found["level"] == "missing"
        assert says in found["found"]


def test_doctor_finds_what_a_run_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "doctor", "--json") == 0
    findings = {finding["subject"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["media"]["level"] == "ok"
    assert findings["generator"]["level"] == findings["scorer"]["level"] == "ok"
    assert "singalong-warper" in findings["generator"]["found"]
    assert "own.pem" in findings["signature"]["found"]
    assert "not who made it" in findings["signature"]["found"]


def test_watching_a_run_that_nobody_works_on_shows_it_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder.create(tmp_path / "run", plan_of([pair_row()]), Settings())
    assert call(monkeypatch, "status", run.path, "--watch") == 0
    assert "nobody is working on it" in capsys.readouterr().out
    assert call(monkeypatch, "status", run.path, "--watch", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["shards"] == {"pending": 3}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such run"), 2),
        (MediaError("not a clip"), 2),
        (ResourceError("no space"), 1),
        (TooManyBugsError("stopped"), 1),
        (InfraError("Ray keeps dying"), 1),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (FileNotFoundError(errno.ENOENT, "vanished under the run"), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_only_what_the_user_gave_makes_exit_code_2(error: Exception, code: int) -> None:
    assert _report_error(error) == code
