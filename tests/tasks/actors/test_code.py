"""The wheel that carries this program's code to the nodes of a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from singalong import __version__
from tasks.actors import code


def run(program: str, path: Path, cwd: Path) -> str:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{program}"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_the_wheel_runs_from_anywhere_and_is_the_very_same_code(tmp_path: Path) -> None:
    made = code.wheel(tmp_path / "wheels")
    unpacked, elsewhere = tmp_path / "unpacked", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        archive.extractall(unpacked)
    told = run("import tasks.actors.code as c; print(c.__file__, c.code_id())", unpacked, elsewhere).split()
    assert Path(told[0]).is_relative_to(unpacked)
    assert told[1] == code.code_id()
    assert (unpacked / "models" / "bundled" / "singalong-warper" / "weights.safetensors").is_file()


def test_pip_takes_it_for_the_wheel_it_is(tmp_path: Path) -> None:
    made = code.wheel(tmp_path)
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "-q"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(made)], check=True, capture_output=True)
    assert (tmp_path / "site" / "tasks" / "worker.py").is_file()
    assert list((tmp_path / "site").glob(f"singalong-{__version__}+*.dist-info"))


def test_it_is_made_once_and_made_again_for_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    for package in code.PACKAGES:
        (checkout / package).mkdir(parents=True)
        (checkout / package / "__init__.py").write_text("")
    monkeypatch.setattr(code, "_ROOT", checkout)
    code.code_id.cache_clear()
    try:
        first = code.wheel(tmp_path / "wheels")
        written = first.stat().st_mtime_ns
        assert code.wheel(tmp_path / "wheels").stat().st_mtime_ns == written
        shutil.copy(checkout / "tasks" / "__init__.py", checkout / "tasks" / "more.py")
        (checkout / "tasks" / "__pycache__").mkdir()
        code.code_id.cache_clear()
        assert code.wheel(tmp_path / "wheels") != first
        assert code.as_zip(first).read_bytes() == first.read_bytes()
    finally:
        code.code_id.cache_clear()
