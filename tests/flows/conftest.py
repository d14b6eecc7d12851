"""Synthetic input, made once for all tests of whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.synthetic_inputs import write_inputs


@pytest.fixture(scope="session")
def demo_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two short clips of synthetic faces, a song of three seconds and its vocals."""
    folder = tmp_path_factory.mktemp("demo-inputs")
    write_inputs(folder)
    return folder
