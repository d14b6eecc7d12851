"""The page in a real browser: what a person sees, hears, presses, and finds again."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from singalong.config import Settings
from singalong.contracts import Status, Verdict
from singalong.reviews import DecisionLog, Ruling, read_decisions
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.probe_media import clip_facts
from tasks.viewable import viewable_clips
from tests.review.builders import HOSTILE, NO_FILM, TOKEN, report_row, reviewable, run_of, served, small_run
from tests.singalong.builders import pair_row, plan_of

OpenPage = Callable[..., Any]
NO_SCROLL = "document.documentElement.scrollWidth <= window.innerWidth"
INTERACTIVE_S = 2.0
PATIENCE_S = 20.0
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


def until(page: Any, expression: str) -> None:
    """Wait until a JavaScript expression is true; Playwright's own way needs eval, which the page forbids."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.02)


def chosen(page: Any) -> str:
    return str(page.text_content("#pair-name"))


def listed(page: Any) -> list[str]:
    return [str(name) for name in page.locator(".row-name").all_text_contents()]


def film_is_ready(page: Any) -> None:
    until(page, "document.querySelector('#film').readyState >= 3 && document.querySelector('#curve path')")


def press(page: Any, key: str, expected: str) -> None:
    page.keyboard.press(key)
    until(page, expected)


def judged(number: int) -> str:
    return f"document.querySelector('#progress-text').textContent.startsWith('{number} of')"


def decided(run: RunFolder) -> dict[str, str]:
    return {pair_id: decision.ruling.value for pair_id, decision in read_decisions(run.path).items()}


def until_decided(run: RunFolder, expected: dict[str, str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while decided(run) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert decided(run) == expected


# ---- looking


def test_the_worst_take_is_open_and_the_token_is_gone_from_the_address(address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    assert listed(page)[0] == chosen(page)
    assert "token" not in page.url
    assert f"pair={chosen(page)}" in page.url


def test_filters_live_in_the_address_and_outlive_a_reload(address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    page.fill("#f-text", "part")
    assert sorted(listed(page)) == ["part1", "part2"]
    page.select_option("#f-montage", "demo")
    assert ("text=part" in page.url, "montage=demo" in page.url) == (True, True)
    page.reload()
    page.wait_for_selector(".row")
    assert sorted(listed(page)) == ["part1", "part2"]
    page.click("#f-clear")
    assert len(listed(page)) == 3


def test_the_clip_plays_in_step_with_the_film(address: str, open_page: OpenPage) -> None:
    page = open_page(address + "&pair=whole_song")
    film_is_ready(page)
    points = page.evaluate("fetch('/api/curve?pair=whole_song').then((answer) => answer.json())")
    press(page, " ", "document.querySelector('#film').currentTime > 0.4")
    press(page, " ", "document.querySelector('#film').paused")
    for at_s in (0.1, 0.5, 1.3, 2.0):  # in its second half the clip runs backwards
        page.evaluate(f"document.querySelector('#film').currentTime = {at_s}")
        expected = points["source_s"][int(at_s * points["fps"])]
        near = f"Math.abs(document.querySelector('#clip').currentTime - {expected}) < 0.03"
        until(page, f"!document.querySelector('#clip').seeking && {near}")


def test_the_curve_seeks_and_single_frames_can_be_stepped(address: str, open_page: OpenPage) -> None:
    page = open_page(address + "&pair=whole_song")
    film_is_ready(page)
    box = page.locator("#curve").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 40)
    until(page, "Math.abs(document.querySelector('#film').currentTime / 2.4 - 0.75) < 0.02")
    until(page, "!document.querySelector('#film').seeking")
    until(page, "!document.querySelector('#clock').textContent.endsWith(' 0')")
    frame = int(str(page.text_content("#clock")).split()[-1])
    press(page, ".", f"document.querySelector('#clock').textContent.endsWith('frame {frame + 1}')")
    press(page, ",", f"document.querySelector('#clock').textContent.endsWith('frame {frame}')")
    page.keyboard.press("b")
    drawn = "document.querySelector('#box').getContext('2d').getImageData(0, 0, 2000, 2000).data.some((value) => value)"
    until(page, drawn)


# ---- deciding


def test_takes_are_judged_and_taken_back_from_the_keyboard(run: RunFolder, address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    first, second, third = listed(page)
    press(page, "a", judged(1))
    assert chosen(page) == second
    press(page, "2", judged(2))
    assert chosen(page) == third
    until_decided(run, {first: "accept", second: "reject"})
    assert read_decisions(run.path)[second].reason == "wrong face"
    assert listed(page)[0] == third, "what was judged goes to the end"
    press(page, "u", judged(1))
    assert chosen(page) == second
    until_decided(run, {first: "accept"})
    page.reload()
    until(page, judged(1))
    page.select_option("#f-judged", "accept")
    assert listed(page) == [first]


def test_what_the_server_refuses_is_told_and_not_shown_as_decided(
    run: RunFolder, address: str, open_page: OpenPage
) -> None:
    page = open_page(address, quiet=True)
    page.route("**/api/check", lambda route: route.fulfill(json={"problem": None}))  # it was all right a moment ago
    page.keyboard.press("s")
    page.fill("#ask-more", "lipsync.crv=30")
    page.click("#reject-submit")
    page.wait_for_selector("#said:has-text('Did you mean lipsync.crf')")
    until(page, judged(0))
    assert decided(run) == {}


def test_two_people_at_once_lose_no_decision_and_see_each_other(
    run: RunFolder, address: str, open_page: OpenPage
) -> None:
    ann, bob = open_page(address), open_page(address)
    ann.fill("#reviewer", "ann")
    bob.fill("#reviewer", "bob")
    ann.locator("#list").focus()
    bob.locator("#list").focus()
    first, second, third = listed(ann)
    ann.keyboard.press("a")
    bob.keyboard.press("1")
    bob.keyboard.press("a")
    until(ann, judged(2))
    until(bob, judged(2))
    made = [(one.reviewer, one.ruling) for own in DecisionLog(run.path).all().values() for one in own]
    assert sorted(made) == [("ann", Ruling.ACCEPT), ("bob", Ruling.ACCEPT), ("bob", Ruling.REJECT)]
    ann.select_option("#f-judged", "disputed")
    until(ann, "document.querySelectorAll('.row').length === 1")
    assert listed(ann) == [first]
    assert chosen(bob) == third
    assert second in decided(run)


class Command:
    """`singalong review` in a process of its own."""

    def __init__(self, run: Path, port: int) -> None:
        command = (sys.executable, "-m", "flows", "review", str(run), "--port", str(port), "--no-open", "--json")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.url = str(json.loads("".join(lines))["url"])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Those that are in this list are killed at the end, however it comes."""
    started: list[Command] = []
    yield started
    for command in started:
        if command.process.poll() is None:
            command.end(signal.SIGKILL)


def test_a_server_that_is_killed_and_started_again_loses_no_decision(
    run: RunFolder, open_page: OpenPage, commands: list[Command]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Command(run.path, port)
    commands.append(server)
    page = open_page(server.url, quiet=True)
    first, second, third = listed(page)
    press(page, "a", judged(1))
    until_decided(run, {first: "accept"})
    server.end(signal.SIGKILL)
    press(page, "1", judged(2))
    page.keyboard.press("a")
    # three where the first was written and the server died before it could say so; then it is sent again, harmlessly
    until(page, "/^[23] decisions are kept here/.test(document.querySelector('#trouble').textContent)")
    server = Command(run.path, port)
    commands.append(server)
    page.goto(server.url)
    until_decided(run, {first: "accept", second: "reject", third: "accept"})
    until(page, judged(3))
    assert server.end(signal.SIGINT) == 0


# ---- many, strange, small


def many(folder: Path, number: int) -> tuple[RunFolder, list[Any]]:
    verdicts = [Verdict.PASS, Verdict.REVIEW, Verdict.FAIL, Verdict.NOT_SCORABLE]
    rows = [
        report_row(
            f"pair-{n:05d}",
            **{"row": n + 1, "verdict": verdicts[n % 4], "sync_confidence": n % 97 / 10, "montage": f"film {n % 20}"},
            tags={"scene": f"s{n % 50}"},
        )
        for n in range(number)
    ]
    return run_of(folder / "run", [pair_row(1, song_end_s=4)]), rows


def test_five_thousand_pairs_can_be_worked_on_within_two_seconds(tmp_path: Path, open_page: OpenPage) -> None:
    run, rows = many(tmp_path, 5000)
    with served(reviewable(run, rows), TOKEN) as url:
        ready_s = []
        for _ in range(3):  # other tests may be at work beside this one: the best counts
            page = open_page(f"{url}/?token={TOKEN}", quiet=True)  # there are no films to be fetched
            first = chosen(page)
            page.keyboard.press("j")
            ready_s.append(page.evaluate("performance.now()") / 1000)
            assert chosen(page) != first
            if ready_s[-1] < INTERACTIVE_S:
                break
        assert min(ready_s) < INTERACTIVE_S
        assert page.locator(".row").count() < 60
        started = time.monotonic()
        page.fill("#f-text", "pair-04999")
        until(page, "document.querySelectorAll('.row').length === 1")
        assert time.monotonic() - started < 1.0
        page.fill("#f-text", "")
        page.keyboard.press("Escape")  # back to where keys judge
        press(page, "3", judged(1))
        page.evaluate("document.querySelector('#list').scrollTop = 1e9")
        page.wait_for_selector(".row.judged")


def test_hostile_names_are_text(tmp_path: Path, open_page: OpenPage) -> None:
    run, rows = small_run(tmp_path)
    rows[2] = report_row(HOSTILE, row=3, status=Status.FAILED, montage=HOSTILE, error_message=HOSTILE, **NO_FILM)
    with served(reviewable(run, rows), TOKEN) as url:
        page = open_page(f"{url}/?token={TOKEN}", quiet=True)
        page.click(f".row:has-text('{HOSTILE[:8]}')")
        until(page, "document.querySelector('#facts').textContent.includes('onerror')")
        press(page, "1", judged(1))
        assert "owned" not in page.title()
        assert page.locator("img[src=x]").count() == 0
        until_decided(run, {HOSTILE: "reject"})


@pytest.fixture
def old_clip(tmp_path: Path) -> Path:
    """A clip of a second that no browser plays."""
    clip = tmp_path / "old.avi"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for shade in range(0, 250, 10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return clip


def test_a_clip_that_no_browser_plays_is_shown_frame_by_frame(
    tmp_path: Path, old_clip: Path, open_page: OpenPage
) -> None:
    run = run_of(tmp_path / "run", [pair_row(1, clip=str(old_clip), song_end_s=1)])
    with served(reviewable(run, [report_row("p1", clip=str(old_clip))]), TOKEN) as url:
        page = open_page(f"{url}/?token={TOKEN}", quiet=True)
        until(page, "document.querySelector('#still').naturalWidth === 96")
        assert "cannot play" in str(page.text_content("#clip-caption"))


def test_of_a_clip_that_no_browser_plays_a_copy_is_made_that_one_does(
    tmp_path: Path, old_clip: Path, open_page: OpenPage
) -> None:
    settings = Settings()
    facts = clip_facts(str(old_clip), settings=settings, store=Store(settings.store_path))
    row = pair_row(1, clip=str(old_clip), clip_start_s=0.4, song_end_s=0.4)
    run = RunFolder.create(tmp_path / "run", plan_of([row], clips={row.clip: facts}), settings)
    what = reviewable(run, [report_row("p1", clip=row.clip)], viewable=viewable_clips(run))
    with served(what, TOKEN) as url:
        page = open_page(f"{url}/?token={TOKEN}", quiet=True)
        page.wait_for_selector("#clip-caption:has-text('a copy that this browser can play')")
        assert page.evaluate(
            "[document.querySelector('#clip').videoWidth, document.querySelector('#still').hidden]"
        ) == [
            96,
            True,
        ]
        assert page.evaluate("document.querySelector('#clip').duration") == pytest.approx(0.6, abs=0.02), "of its span"


def test_a_clip_that_is_gone_is_said_to_be_gone(tmp_path: Path, open_page: OpenPage) -> None:
    run, rows = small_run(tmp_path)
    (tmp_path / "media" / "clip.mp4").unlink()
    with served(reviewable(run, rows), TOKEN) as url:
        page = open_page(f"{url}/?token={TOKEN}", quiet=True)
        page.wait_for_selector("#clip-absent:has-text('not there any more')")
        assert "cannot play" not in str(page.text_content("#clip-caption"))


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(390, 844, 1), (640, 400, 2)], ids=["390 px", "200 % zoom of 1280 px"]
)
def test_small_screens_scroll_one_way_only(
    address: str, open_page: OpenPage, width: int, height: int, scale: int
) -> None:
    page = open_page(address, viewport={"width": width, "height": height}, device_scale_factor=scale)
    film_is_ready(page)
    assert page.evaluate(NO_SCROLL)
    page.click("#toggle-queue")
    page.locator(".row").nth(1).click()
    assert page.evaluate(NO_SCROLL)
    name = chosen(page)
    page.keyboard.press("?")
    assert page.evaluate(NO_SCROLL)
    page.keyboard.press("Escape")
    page.click("#accept")
    until(page, judged(1))
    assert chosen(page) != name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_everything_has_a_name(address: str, open_page: OpenPage, scheme: str) -> None:
    page = open_page(address, color_scheme=scheme)
    film_is_ready(page)
    assert page.evaluate(CONTRAST) == []
    nameless = """[...document.querySelectorAll('button, input, select, textarea, video, [role=slider]')]
        .filter((one) => !one.textContent.trim() && !one.labels?.length && !one.getAttribute('aria-label'))
        .map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []


def test_the_focus_goes_through_the_page_in_the_order_one_reads(address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    seen: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(str(page.evaluate("document.activeElement.id")))
    order = ["reviewer", "open-help", "f-text", "list", "play", "curve", "accept", "reject", "undo"]
    assert [name for name in seen if name in order][: len(order)] == order
