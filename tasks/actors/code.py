"""The code of this program as a wheel, and what tells whether two machines run the same.

The wheel is made of the files this process runs, so it is what an editable install or a checkout holds at this moment.
It has no dependencies: nodes have those installed, and need neither an index nor pip.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import platformdirs

import singalong
from singalong import versions

PACKAGES = ("singalong", "models", "tasks", "flows", "review")
_ROOT = Path(singalong.__file__).parents[1]
_SKIPPED = frozenset({"__pycache__", ".DS_Store"})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the least a zip knows; the same files give the same wheel
_CACHED = 6  # three wheels, each under two endings


def algorithms() -> dict[str, str]:
    """Versions of all algorithms whose results are kept."""
    return {name: str(value) for name, value in vars(versions).items() if name.isupper()}


@cache
def code_id() -> str:
    """Hash of this program's files, whatever folder they are in, and the version of Python."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for name, path in _files():
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def wheel(folder: Path | None = None) -> Path:
    """The wheel of this program's code, made once for each state of it; kept in `folder` or the user's cache."""
    folder = folder or Path(platformdirs.user_cache_dir("singalong")) / "wheels"
    path = folder / f"singalong-{singalong.__version__}+{code_id()}-py3-none-any.whl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            _write(Path(part.name))
        Path(part.name).replace(path)
        for old in sorted(folder.glob("singalong-*"), key=lambda file: file.stat().st_mtime)[:-_CACHED]:
            old.unlink(missing_ok=True)
    return path


def as_zip(wheel: Path) -> Path:
    """A wheel under the ending by which Ray knows an archive."""
    path = wheel.with_suffix(".zip")
    if not path.exists():
        part = wheel.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(wheel, part)
        part.replace(path)
    return path


def _files() -> list[tuple[str, Path]]:
    """Every file of the packages, by its name in the wheel."""
    found = []
    for package in PACKAGES:
        for folder, folders, names in os.walk(_ROOT / package):
            folders[:] = sorted(set(folders) - _SKIPPED)
            paths = [Path(folder, name) for name in sorted(set(names) - _SKIPPED) if not name.endswith(".pyc")]
            found += [(path.relative_to(_ROOT).as_posix(), path) for path in paths]
    return found


def _write(path: Path) -> None:
    """Write the wheel (PyPA's binary distribution format 1.0)."""
    version = f"{singalong.__version__}+{code_id()}"
    info = f"singalong-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: singalong\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: singalong\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        record = []
        for name, content in [*((name, file.read_bytes()) for name, file in _files()), *_encoded(about)]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", _EPOCH), "".join(record) + f"{info}/RECORD,,\n")


def _encoded(texts: dict[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in texts.items()]
