"""Manifests that tests write, and the problems found in them."""

from pathlib import Path

import pytest

from singalong.errors import InputError, ManifestError
from singalong.manifest import read_manifest


def csv(folder: Path, *lines: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problems(path: Path, **options: object) -> list[InputError]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    assert str(path) in str(caught.value)
    return caught.value.problems


def only(path: Path, **options: object) -> InputError:
    found = problems(path, **options)
    assert len(found) == 1, found
    return found[0]
