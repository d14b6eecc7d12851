"""Copies of clips are made aside, one at a time, the one that somebody waits for first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from review.viewable import Viewables
from singalong.contracts import PairPlan
from singalong.errors import MediaError
from tests.singalong.builders import pair_row, plan_of, touch

PLANS = plan_of([pair_row(n, clip_start_s=n / 10, song_end_s=1) for n in (1, 2, 3, 4)]).pairs


def until_found(copies: Viewables, pair: PairPlan) -> Path | str:
    deadline = time.monotonic() + 60
    while (found := copies.ask(pair)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def test_asking_never_waits_and_what_was_passed_over_is_not_made(tmp_path: Path) -> None:
    gate, made = threading.Event(), list[str]()

    def make(pair: PairPlan) -> Path:
        gate.wait(60)
        made.append(pair.pair_id)
        return touch(tmp_path / f"{pair.pair_id}.mp4")

    copies = Viewables(make)
    assert copies.ask(PLANS[0]) is None
    while copies._wanted is not None:  # the first is at work
        time.sleep(0.001)
    assert [copies.ask(pair) for pair in PLANS[1:]] == [None, None, None]
    gate.set()
    assert until_found(copies, PLANS[3]) == tmp_path / "p4.mp4"
    assert made == ["p1", "p4"]


def test_a_copy_that_is_gone_is_made_again_and_why_there_is_none_is_remembered(tmp_path: Path) -> None:
    made: list[str] = []

    def make(pair: PairPlan) -> Path:
        made.append(pair.pair_id)
        if pair.pair_id == "p2":
            raise MediaError("is in HDR", file=pair.clip)
        return touch(tmp_path / "copy.mp4")

    copies = Viewables(make)
    first = until_found(copies, PLANS[0])
    assert isinstance(first, Path)
    first.unlink()
    assert until_found(copies, PLANS[0]) == first
    assert "HDR" in str(until_found(copies, PLANS[1]))
    assert "HDR" in str(copies.ask(PLANS[1]))
    assert made == ["p1", "p1", "p2"]
