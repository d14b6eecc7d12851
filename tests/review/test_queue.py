"""What comes first in the queue, and why."""

from __future__ import annotations

from typing import Any

import pytest

from review.queue import Need, need_of, queue_item
from singalong.contracts import Status, Verdict
from singalong.reviews import Decision
from tests.review.builders import NO_FILM, report_row


@pytest.mark.parametrize(
    ("values", "need"),
    [
        ({"verdict": Verdict.PASS, "verdict_before": Verdict.PASS, "confidence_before": 3.2}, Need.REGRESSED),
        ({"verdict": Verdict.FAIL, "verdict_before": Verdict.REVIEW, "confidence_before": 1.0}, Need.REGRESSED),
        ({"verdict": Verdict.FAIL, "verdict_before": Verdict.FAIL, "confidence_before": 1.0}, Need.FAIL),
        ({"verdict": Verdict.PASS, "confidence_untouched": 3.0}, Need.NO_GAIN),
        ({"verdict": Verdict.PASS, "confidence_untouched": 2.9, "confidence_before": 3.04}, Need.PASS),
        ({"verdict": Verdict.REVIEW}, Need.REVIEW),
        ({"verdict": Verdict.NOT_SCORABLE, "sync_confidence": None}, Need.NOT_SCORABLE),
        ({"status": Status.FAILED, **NO_FILM}, Need.NO_FILM),
        ({"status": Status.PENDING, **NO_FILM}, Need.PENDING),
    ],
)
def test_why_a_pair_needs_a_look(values: dict[str, Any], need: Need) -> None:
    assert need_of(report_row(**values)) is need


def decision(ruling: str, reviewer: str, second: int) -> Decision:
    values = {"pair_id": "p1", "ruling": ruling, "reviewer": reviewer}
    return Decision.model_validate(values | {"decided_at": f"2026-01-01T00:00:{second:02d}.000+00:00"})


def test_a_pair_is_disputed_while_two_people_stand_by_different_rulings() -> None:
    told = [decision("accept", "ann", 1), decision("reject", "bob", 2)]
    assert queue_item(report_row(), told)["decision"]["disputed"]
    assert not queue_item(report_row(), told[:1])["decision"]["disputed"]
    agreed = queue_item(report_row(), [*told, decision("accept", "bob", 3)])["decision"]
    assert (agreed["ruling"], agreed["disputed"]) == ("accept", False)
    alone = queue_item(report_row(), [*told, decision("undo", "bob", 3)])["decision"]
    assert (alone["reviewer"], alone["disputed"]) == ("ann", False)
