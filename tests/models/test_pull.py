"""Fetching weights, from a real server on this machine."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from models import cards, pull, registry
from models.checkpoints import load_network
from models.generator import Generator
from singalong.errors import InputError, TransientIOError, UsageError, WeightsError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; some paths misbehave."""

    def do_GET(self) -> None:
        if self.path.startswith("/cut/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"x" * 1000)
        elif self.path.startswith("/busy/"):
            self.send_error(503)
        elif self.path.startswith("/login/"):
            page = b"<!DOCTYPE html><html>Sign in</html>"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)
        else:
            super().do_GET()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small generator under the name of a published one."""
    folder = tmp_path_factory.mktemp("mirror")
    torch.manual_seed(0)
    torch.save({"state_dict": Generator(width=0.0625).state_dict()}, folder / "wav2lip.pth")
    return folder


@pytest.fixture(scope="module")
def server(mirror: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(mirror))) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def published(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> cards.Published:
    """The small file takes the place of the published one."""
    content = (mirror / "wav2lip.pth").read_bytes()
    known = next(entry for entry in cards.PUBLISHED if entry.file == "wav2lip.pth")
    known = known._replace(num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    others = tuple(entry for entry in cards.PUBLISHED if entry.file != "wav2lip.pth")
    monkeypatch.setattr(cards, "PUBLISHED", (known, *others))
    monkeypatch.delenv(pull.MIRROR_VARIABLE, raising=False)
    return known


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "models"


def nothing_left(home: Path) -> bool:
    return not home.exists() or not list(home.iterdir())


class Bar:
    total = 0
    done = 0
    closed = False

    def update(self, num_bytes: int) -> None:
        self.done += num_bytes

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        self.closed = True


def test_a_file_is_fetched_checked_and_installed_as_safetensors(server, home, published):
    bar = Bar()
    asked = []

    def make_bar(name: str, num_bytes: int | None) -> Bar:
        asked.append((name, num_bytes))
        return bar

    card = pull.pull("wav2lip", home=home, url=server, bar=make_bar)
    assert asked == [("wav2lip.pth", published.num_bytes)]
    assert (card.published, card.source, card.licence) == ("wav2lip.pth", server + "wav2lip.pth", published.licence)
    assert isinstance(load_network(card.weights, card.architecture), Generator)
    assert [path.name for path in home.iterdir()] == ["wav2lip"]
    assert registry.verify(home) == []
    assert bar.closed
    assert bar.done == bar.total == published.num_bytes


def test_what_is_there_already_is_not_fetched_again(server, home):
    first = pull.pull("wav2lip", home=home, url=server)
    assert pull.pull("wav2lip", home=home, url="http://127.0.0.1:9/") == first
    again = pull.pull("wav2lip", home=home, url=server, replace=True)
    assert again.weights_sha256 == first.weights_sha256


def test_a_mirror_may_be_a_folder_a_file_or_named_by_the_environment(server, home, mirror, monkeypatch):
    assert pull.pull("wav2lip.pth", home=home, url=(mirror / "wav2lip.pth").as_uri()).source.startswith("file://")
    assert pull.pull("wav2lip", home=home, url=mirror.as_uri() + "/", replace=True).name == "wav2lip"
    monkeypatch.setenv(pull.MIRROR_VARIABLE, server.rstrip("/"))
    assert pull.pull("wav2lip", home=home, replace=True).source == server + "wav2lip.pth"


def test_other_content_is_refused_and_both_digests_are_named(server, home, published, monkeypatch):
    wrong = published._replace(sha256="f" * 64)
    monkeypatch.setattr(cards, "PUBLISHED", (wrong,))
    with pytest.raises(WeightsError, match=f"{published.sha256}.*{'f' * 64}"):
        pull.pull("wav2lip", home=home, url=server)
    assert nothing_left(home)


def test_a_file_of_another_size_is_not_even_transferred(server, home, published, monkeypatch):
    monkeypatch.setattr(cards, "PUBLISHED", (published._replace(num_bytes=435_807_851),))
    with pytest.raises(WeightsError, match=r"another file.*435807851 bytes"):
        pull.pull("wav2lip", home=home, url=server)
    assert nothing_left(home)


def test_a_login_page_is_called_a_web_page(server, home):
    with pytest.raises(WeightsError, match="web page"):
        pull.pull("wav2lip", home=home, url=server + "login/")
    assert nothing_left(home)


def test_a_transfer_that_is_cut_leaves_nothing_and_may_be_tried_again(server, home, published, monkeypatch):
    monkeypatch.setattr(cards, "PUBLISHED", (published._replace(num_bytes=None),))
    with pytest.raises(TransientIOError, match="/cut/"):
        pull.pull("wav2lip", home=home, url=server + "cut/")
    assert nothing_left(home)


def test_a_busy_server_may_be_tried_again(server, home):
    with pytest.raises(TransientIOError, match="HTTP 503"):
        pull.pull("wav2lip", home=home, url=server + "busy/")


def test_a_missing_file_says_where_to_look(server, home):
    with pytest.raises(InputError, match=r"HTTP 404.*Wav2Lip"):
        pull.pull("wav2lip", home=home, url=server + "lost/")
    with pytest.raises(InputError, match="no such file"):
        pull.pull("wav2lip", home=home, url="file:///lost/")
    assert nothing_left(home)


def test_nobody_listening_is_a_passing_error(home):
    with pytest.raises(TransientIOError, match=r"127\.0\.0\.1"):
        pull.pull("wav2lip", home=home, url="http://127.0.0.1:9/")


def test_what_a_killed_process_left_is_swept(server, home):
    code = f"""
        import os, signal
        from pathlib import Path
        from models import pull
        with pull._folder(Path({str(home)!r})) as folder:
            (folder / "half").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert list(home.glob(".fetching-*/half"))
    assert registry.list_models(home) == cards.builtin_cards()
    pull.pull("wav2lip", home=home, url=server)
    assert [path.name for path in home.iterdir()] == ["wav2lip"]


def test_a_transfer_in_progress_is_not_swept(home):
    with pull._folder(home) as one, pull._folder(home) as two:
        assert one.is_dir()
        assert two.is_dir()


def test_files_behind_a_browser_say_what_to_do(home):
    with pytest.raises(InputError, match=r"browser.*github.com/Rudrabha.*singalong models add wav2lip_gan"):
        pull.pull("wav2lip_gan", home=home)
    assert nothing_left(home)


def test_another_model_of_the_name_is_not_replaced_unasked(server, home, mirror, tmp_path):
    torch.save(Generator(width=0.125).state_dict(), tmp_path / "mine.pth")
    registry.add_checkpoint("wav2lip", tmp_path / "mine.pth", home=home)
    with pytest.raises(InputError, match="already"):
        pull.pull("wav2lip", home=home, url=server)


def test_unknown_names_and_addresses_are_usage_errors(home):
    with pytest.raises(UsageError, match="syncnet_v2"):
        pull.pull("wav2lips", home=home)
    with pytest.raises(UsageError, match="https://"):
        pull.pull("s3fd", home=home, url="ftp://example.org/")


def test_every_source_is_a_published_file_with_terms():
    for source in pull.SOURCES:
        assert len(source.published.sha256) == 64
        assert source.terms
        assert source.url is None or source.url.startswith("https://")


def test_nothing_heavy_is_loaded_to_list_what_there_is():
    code = "import sys, models.pull\nsys.exit(len({'torch', 'pooch', 'requests'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
