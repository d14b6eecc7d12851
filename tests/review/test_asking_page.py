"""Sending a take back to be made again with something else: choosing, pointing at a face, being told what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from singalong.errors import InputError, UsageError
from singalong.reviews import read_decisions
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.asking import SAME, Asking
from tests.review.test_page import CONTRAST, NO_SCROLL, chosen, decided, judged, until, until_decided

OpenPage = Callable[..., Any]
SUBMIT = "#reject-submit"
TOLD = "document.querySelector('#reject-asked').textContent.includes('{}')"


def test_a_choice_is_checked_as_it_is_made_and_sent_with_the_rejection(
    run: RunFolder, address: str, open_page: OpenPage
) -> None:
    page = open_page(address)
    name = chosen(page)
    page.keyboard.press("s")
    page.select_option("select[name='lipsync.mask']", "box")
    page.fill("input[name='lipsync.feather']", "0.1")
    until(page, TOLD.format("lipsync.feather=0.1"))
    page.fill("#reject-note", "too soft")
    page.click(SUBMIT)
    until_decided(run, {name: "reject"})
    found = read_decisions(run.path)[name]
    assert (found.note, found.settings) == ("too soft", ("lipsync.mask=box", "lipsync.feather=0.1"))


def test_a_wrong_wish_is_told_while_it_is_typed_and_nothing_is_sent(
    run: RunFolder, address: str, open_page: OpenPage
) -> None:
    page = open_page(address)
    name = chosen(page)
    page.keyboard.press("s")
    page.fill("#ask-more", "lipsync.crv=30")
    page.wait_for_selector("#reject-error:has-text('Did you mean lipsync.crf')")
    page.click(SUBMIT)
    page.wait_for_selector("#reject-error:has-text('Did you mean lipsync.crf')")
    assert page.locator("#reject-dialog[open]").count() == 1
    assert decided(run) == {}
    page.fill("#ask-more", "lipsync.crf=30")
    until(page, TOLD.format("lipsync.crf=30"))
    page.keyboard.press("Control+Enter")
    until_decided(run, {name: "reject"})
    assert chosen(page) != name
    page.keyboard.press("k")
    until(page, judged(1))
    page.goto(f"{page.url.split('?')[0]}?pair={name}")
    page.wait_for_selector("#facts dd")
    page.keyboard.press("r")
    assert page.input_value("#ask-more") == "lipsync.crf=30", "what was asked for is there to be changed"


def test_another_face_is_pointed_at_in_the_picture(run: RunFolder, address: str, open_page: OpenPage) -> None:
    page = open_page(address)
    page.wait_for_selector("#facts dd")
    name = chosen(page)
    page.keyboard.press("f")
    page.wait_for_selector("button.face")
    until(page, "document.activeElement.classList.contains('face')")
    until(page, "document.querySelector('#ask-still').naturalWidth > 0")
    until(page, "document.querySelector('#ask-still').getBoundingClientRect().height > 50")
    page.keyboard.press("Enter")
    until(page, TOLD.format("face=at:"))
    assert page.locator("button.face[aria-pressed=true]").count() == 1
    page.click(SUBMIT)
    until_decided(run, {name: "reject"})
    found = read_decisions(run.path)[name]
    assert found.reason == "wrong face"
    assert [word.split(":")[0] for word in found.settings] == ["face=at"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialog_fits_a_small_screen_and_can_be_read(address: str, open_page: OpenPage, scheme: str) -> None:
    page = open_page(address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.wait_for_selector("#facts dd")
    page.keyboard.press("s")
    assert page.evaluate(NO_SCROLL)
    assert page.evaluate("document.querySelector('#reject-dialog').scrollWidth <= window.innerWidth")
    assert page.evaluate(CONTRAST) == []
    assert page.locator(SUBMIT).is_visible()


# ---- what stands behind it


@pytest.fixture(scope="module")
def asking(made_run: Path) -> Asking:
    return Asking(RunFolder.open(made_run))


def present(run: Path, pair_id: str) -> frozenset[str]:
    return frozenset(shard.work_key for shard in RunFolder.open(run).plan.shards if shard.pair_id == pair_id)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("lipsync.mask=lower_face",), SAME),
        (("score.min_windows=3",), "one for all pairs"),
        (("song_start_s=4000",), "beyond the end"),
        (("generator=nobody",), "no model named"),
        (("face=index:5",), "that many faces"),
        (("face=at:1,1@0",), "no face at that point"),
        (("face=at:1,1@900",), "outside the clip's span"),
        (("analysis.min_face_px=5000",), "no usable face"),
    ],
)
def test_what_could_not_be_done_is_refused_before_anything_is_made(
    asking: Asking, made_run: Path, words: tuple[str, ...], expected: str
) -> None:
    with pytest.raises((UsageError, InputError), match=expected):
        asking.check("whole_song", words, present(made_run, "whole_song"))


def test_a_face_that_is_offered_can_be_asked_for(asking: Asking, made_run: Path) -> None:
    run = RunFolder.open(made_run)
    pair = next(pair for pair in run.plan.pairs if pair.pair_id == "part1")
    (face,) = asking.faces(pair, pair.clip_start_s + 0.2)
    x1, y1, x2, y2 = face["box"]
    assert 0 <= x1 < x2 <= pair.width
    assert 0 <= y1 < y2 <= pair.height
    assert face["flaw"] is None
    asking.check("part1", [face["ask"]], present(made_run, "part1"))
    assert asking.offers(pair)["now"]["face"] == pair.face
    assert Store(run.settings.store_path).root.is_dir()
