"""`singalong models pull`: terms first, then the files, one failure stops nobody."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from models import cards
from models.generator import Generator
from tests.flows import console


@pytest.fixture(autouse=True)
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Address of a folder with a small generator as wav2lip.pth, and nothing else."""
    monkeypatch.setenv("SINGALONG_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "mirror"
    folder.mkdir()
    torch.save(Generator(width=0.0625).state_dict(), folder / "wav2lip.pth")
    content = (folder / "wav2lip.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    known = tuple(
        entry._replace(num_bytes=len(content), sha256=digest) if entry.file == "wav2lip.pth" else entry
        for entry in cards.PUBLISHED
    )
    monkeypatch.setattr(cards, "PUBLISHED", known)
    return folder.as_uri() + "/"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return console.call(monkeypatch, "models", "pull", *arguments)


def test_terms_are_shown_and_demanded_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "wav2lip", "--url", mirror) == 2
    shown = capsys.readouterr().err
    assert "no commercial use" in shown
    assert "--accept-licence" in shown
    assert not (tmp_path / "models").exists()


def test_accepted_terms_fetch_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "wav2lip", "--url", mirror, "--accept-licence", "--json") == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert card["name"] == "wav2lip"
    assert (tmp_path / "models" / "wav2lip" / "weights.safetensors").is_file()


def test_files_that_cannot_be_fetched_do_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--all", "--url", mirror, "--accept-licence") == 1
    shown = capsys.readouterr()
    assert "wav2lip: wav2lip_generator" in shown.out
    for missing in ("wav2lip_gan.pth", "s3fd.pth", "syncnet_v2.model"):
        assert missing in shown.err
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["wav2lip"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "names or --all"),
        (["wav2lips"], "wav2lip_gan"),
        (["wav2lip", "s3fd", "--url", "https://example.org/wav2lip.pth"], "ends in /"),
    ],
)
def test_what_makes_no_sense_exits_with_2(
    arguments: list[str], hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments, "--accept-licence") == 2
    assert hint in capsys.readouterr().err
