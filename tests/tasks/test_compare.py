"""What became of a pair between two runs."""

import pytest

from singalong.contracts import Status, Verdict
from singalong.scoring import LEVEL_CONFIDENCE
from tasks.compare import Change, PairState, change_between


def state(confidence: float | None = 5.0, verdict: Verdict | None = Verdict.REVIEW, **values: object) -> PairState:
    defaults = {"status": Status.DONE, "verdict": verdict, "sync_confidence": confidence}
    return PairState.model_validate(defaults | values)


FAILED = state(None, None, status=Status.FAILED)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, state(), Change.NEW),
        (FAILED, state(), Change.NEW),
        (state(), FAILED, Change.LOST),
        (state(), None, Change.GONE),
        (FAILED, FAILED, Change.SAME),
        (state(9.0, Verdict.FAIL), state(5.0, Verdict.PASS), Change.BETTER),
        (state(5.0, Verdict.PASS), state(9.0, Verdict.FAIL), Change.WORSE),
        (state(5.0), state(5.5), Change.BETTER),
        (state(5.0), state(4.5), Change.WORSE),
        (state(5.0), state(5.0 + LEVEL_CONFIDENCE / 2), Change.SAME),
        (state(None, Verdict.NOT_SCORABLE), state(None, Verdict.NOT_SCORABLE), Change.SAME),
    ],
)
def test_status_goes_before_verdict_and_verdict_before_confidence(
    before: PairState | None, after: PairState | None, expected: Change
) -> None:
    assert change_between(before, after) is expected
