"""Choosing what to make again."""

from collections.abc import Mapping

import pytest

from singalong.contracts import Plan, SyncScore
from singalong.errors import ErrorClass, UsageError
from singalong.fold import fold_attempts
from singalong.plan_table import plan_to_table
from singalong.report import Film, Media, Report
from singalong.reviews import Decision, Ruling
from tasks.selection import Wanted, select_pairs
from tests.singalong.builders import attempt, pair_row, plan_of, shard_result

PLAN: Plan = plan_of([pair_row(n, song_end_s=4, tags={"scene": f"s{n}"}) for n in (1, 2, 3, 4)])


def report(decisions: Mapping[str, Decision] | None = None) -> Report:
    """p1 is good, p2 bad, p3 failed, p4 was never tried."""
    shards = {shard.pair_id: shard for shard in PLAN.shards}
    bad = shard_result(shards["p2"], score=SyncScore(scorer="expert", confidence=1.5, offset_frames=7))
    rows = [
        attempt(shards["p1"]),
        attempt(shards["p2"], result=bad),
        attempt(shards["p3"], outcome=ErrorClass.INPUT.value),
    ]
    films = {name: Film(path=f"outputs/{name}.mp4") for name in ("p1", "p2")}
    return Report(
        plan_to_table(PLAN),
        fold_attempts(PLAN, rows),
        merge=lambda *_: None,
        media=lambda _: Media({}, films),
        decisions=decisions,
    )


def chosen(**wanted: object) -> list[str]:
    return list(select_pairs(report(), Wanted.model_validate(wanted)).reasons)


def test_failed_means_whatever_is_not_done() -> None:
    selection = select_pairs(report(), Wanted(failed=True))
    assert list(selection.reasons) == ["p3", "p4"]
    assert "attempt 1 failed" in selection.reasons["p3"][0]


def test_below_takes_low_confidence_and_leaves_what_has_none() -> None:
    assert chosen(below=3.0) == ["p2"]
    assert chosen(below=100.0) == ["p1", "p2"]


def test_ways_add_up() -> None:
    assert chosen(failed=True, below=3.0) == ["p2", "p3", "p4"]
    told = {"reviewer": "ann", "decided_at": "2026-01-01T00:00:00.000+00:00", "reason": "wrong face"}
    decisions = {
        "p1": Decision(pair_id="p1", ruling=Ruling.REJECT, **told),
        "p2": Decision(pair_id="p2", ruling=Ruling.ACCEPT, **told),
    }
    judged = report(decisions)
    assert select_pairs(judged, Wanted(rejected=True)).reasons == {"p1": ("rejected: wrong face",)}
    assert list(select_pairs(judged, Wanted(failed=True)).reasons) == ["p3", "p4"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("sync_confidence < 3", ["p2"]),
        ("error_class = 'INPUT'", ["p3"]),
        ("sync_confidence < 3 or error_class = 'INPUT' -- both", ["p2", "p3"]),
        ("tag_scene in ('s1', 's4')", ["p1", "p4"]),
        ("abs(sync_offset_frames) > 2", ["p2"]),
        ("status = 'pending'", ["p4"]),
        ("false", []),
    ],
)
def test_a_query_sees_the_columns_of_the_report(condition: str, expected: list[str]) -> None:
    assert chosen(where=condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "confidence < 3",
        "sync_confidence <",
        "",
        "true); drop view report; select (true",
        "pair_id in (select content from read_text('/etc/passwd'))",
        "pair_id in (select * from read_parquet('http://127.0.0.1/x'))",
    ],
)
def test_a_query_that_cannot_be_run_or_reaches_out_is_refused_with_the_columns(condition: str) -> None:
    with pytest.raises(UsageError, match="sync_confidence"):
        chosen(where=condition)
