"""A real browser, and a small run that was really made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from singalong.runfolder import RunFolder
from tests.review.builders import TOKEN, served
from tests.synthetic_inputs import write_inputs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)
TIMEOUT_MS = 20000


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system, driven by Playwright."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (on Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), headless=True)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, each in a browser profile of its own; at the end none may have complained."""
    contexts, complaints = [], []

    def open_page(address: str, *, quiet: bool = False, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        if not quiet:
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#pair-name:not(:text('…'))")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three pairs; tests work on copies of it."""
    from flows.commands.run import run_command

    folder = tmp_path_factory.mktemp("made")
    manifest = write_inputs(folder, clip_s=0.8, song_s=2.4)
    options: dict[str, Any] = {"config": None, "require_rights": False, "as_json": True}
    assert run_command(manifest, folder / "run", overrides=["run.executor=inprocess"], **options) == 0
    return folder / "run"


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of the finished run."""
    shutil.copytree(made_run, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


@pytest.fixture
def address(run: RunFolder) -> Iterator[str]:
    """Where that run is served; the token included."""
    from flows.commands.review import reviewable

    with served(reviewable(run), TOKEN) as url:
        yield f"{url}/?token={TOKEN}"
