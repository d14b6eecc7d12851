"""Which take to look at first: a row of the queue for every pair, with why it needs a person.

What a person can judge at once comes first, the worst before all else. What was judged goes to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from singalong.contracts import Status, Verdict
from singalong.report_schema import PairReportRow
from singalong.reviews import Decision, Ruling, standing_decision
from singalong.scoring import LEVEL_CONFIDENCE, WORST_FIRST


class Need(IntEnum):
    """Why a pair needs a look, the most pressing first."""

    REGRESSED = 0
    FAIL = 1
    NO_GAIN = 2
    REVIEW = 3
    NOT_SCORABLE = 4
    NO_FILM = 5
    PASS = 6
    PENDING = 7


WORDS = {
    Need.REGRESSED: "worse than the take before",
    Need.FAIL: "out of sync by its score",
    Need.NO_GAIN: "the untouched clip scores as high",
    Need.REVIEW: "the score is not sure",
    Need.NOT_SCORABLE: "could not be scored",
    Need.NO_FILM: "came to nothing",
    Need.PASS: "good by its score",
    Need.PENDING: "not made yet",
}


def need_of(row: PairReportRow) -> Need:
    """Why a pair needs a look. A pair that is good by its score may still have got worse, or have gained nothing."""
    if row.status is Status.PENDING:
        return Need.PENDING
    if row.status is not Status.DONE:
        return Need.NO_FILM
    if _regressed(row):
        return Need.REGRESSED
    if row.verdict is Verdict.FAIL:
        return Need.FAIL
    if row.sync_confidence is None or row.verdict is None or row.verdict is Verdict.NOT_SCORABLE:
        return Need.NOT_SCORABLE
    if row.confidence_untouched is not None and row.confidence_untouched >= row.sync_confidence:
        return Need.NO_GAIN
    return Need.REVIEW if row.verdict is Verdict.REVIEW else Need.PASS


def queue_item(row: PairReportRow, decisions: Sequence[Decision]) -> dict[str, Any]:
    """What the page shows of a pair in its list; texts are as the manifest and the errors have them, unescaped.

    Args:
        row: of the report.
        decisions: all of this pair, in their order.
    """
    need = need_of(row)
    current = [decision for decision in decisions if decision.is_of(row.output_sha256)]
    return {
        **{"id": row.pair_id, "row": row.row, "montage": row.montage, "position": row.position, "tags": row.tags},
        **{"status": row.status.value, "verdict": row.verdict.value if row.verdict else None},
        **{"confidence": _rounded(row.sync_confidence), "before": _rounded(row.confidence_before)},
        **{"untouched": _rounded(row.confidence_untouched), "offset": row.sync_offset_frames},
        **{"need": int(need), "why": WORDS[need], "film": row.output_sha256, "thumb": row.thumbnail is not None},
        **{"error": row.error_message, "done": row.num_done, "shards": row.num_shards},
        **{"decision": _decision(current), "replaced": bool(decisions) and not current},
    }


def _decision(decisions: Sequence[Decision]) -> dict[str, Any] | None:
    decision = standing_decision(decisions)
    if decision is None:
        return None
    return decision_words(decision) | {"disputed": _is_disputed(decisions)}


def decision_words(decision: Decision) -> dict[str, Any]:
    """A decision for the page."""
    return {
        **{"ruling": decision.ruling.value, "reason": decision.reason, "note": decision.note},
        **{"settings": list(decision.settings), "reviewer": decision.reviewer, "at": decision.decided_at},
    }


def _is_disputed(decisions: Sequence[Decision]) -> bool:
    """Whether two people stand by different rulings."""
    own = {
        reviewer: standing_decision([one for one in decisions if one.reviewer == reviewer])
        for reviewer in {one.reviewer for one in decisions if one.ruling is not Ruling.UNDO}
    }
    return len({decision.ruling for decision in own.values() if decision is not None}) > 1


def _regressed(row: PairReportRow) -> bool:
    before = row.verdict_before
    if before is None or row.verdict is None:
        return False
    if row.verdict is not before:
        return WORST_FIRST.index(row.verdict) < WORST_FIRST.index(before)
    if row.sync_confidence is None or row.confidence_before is None:
        return False
    return row.sync_confidence < row.confidence_before - LEVEL_CONFIDENCE


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
