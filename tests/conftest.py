"""Fixtures for all tests: real media and reference vectors where they lie beside this checkout."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.object_server import ObjectServer

if "PYTEST_XDIST_WORKER" in os.environ:
    # before librosa is imported: its code is compiled into a cache, and of two processes that fill it one may crash
    os.environ["NUMBA_CACHE_DIR"] = str(Path(sys.prefix) / "numba" / os.environ["PYTEST_XDIST_WORKER"])

# a busy machine is no failure: speeds are measured in bench/
hypothesis.settings.register_profile("singalong", deadline=None)
hypothesis.settings.load_profile("singalong")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(path: Path, holds: str) -> Path:
    if not path.is_dir():
        pytest.skip(f"{holds} are not beside this checkout ({path})")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips, songs and stills."""
    return _folder(SHARED / "data", "the real media")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of vectors made with the original programs."""
    return _folder(SHARED / "reference" / "golden", "the reference vectors")


@pytest.fixture(scope="session", autouse=True)
def interrupts_heard() -> None:
    """Commands that tests interrupt hear it, even where tests are started deaf to Ctrl-C, as `make &` starts them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees or changes the models and the store of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINGALONG_STORE", str(home / "store"))
        patch.setenv("SINGALONG_MODELS", str(home / "models"))
        patch.setenv("SINGALONG_CACHE", str(home / "remote"))
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nobody asks real stores, nor a cloud for its role
        patch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
        yield


@pytest.fixture(scope="session")
def started_object_server() -> Iterator[ObjectServer]:
    """A server that speaks S3, once for all tests that ask for it; see `object_server`."""
    server = ObjectServer()
    yield server
    server.close()


@pytest.fixture
def object_server(started_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """The server that speaks S3, well, and in the environment of this test."""
    started_object_server.reset()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in started_object_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "20")
    yield started_object_server
    started_object_server.reset()


@pytest.fixture
def bucket_url(object_server: ObjectServer) -> str:
    """URL of a new, empty bucket."""
    return f"s3://{object_server.make_bucket()}"
