"""The report by columns is the report row by row: of any run, in any parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singalong import report as report_module
from singalong.contracts import AttemptRow, Failure, PairRow, Plan, ShardPlan, ShardResult, SyncScore, Verdict
from singalong.errors import ErrorClass
from singalong.fold import fold_attempts
from singalong.plan_table import plan_to_table
from singalong.report import Film, Media, Report
from singalong.report_schema import PairReportRow, ReportRow, report_schema
from singalong.reviews import Decision, Ruling
from singalong.scoring import Scored
from singalong.tables import to_table
from tests.singalong.builders import attempt, model, pair_row, plan_of, sha, shard_result
from tests.singalong.report_rows import Rows, rows_of_report

NAMES = [f"p{n}" for n in range(1, 8)]
amounts = st.floats(0, 9, allow_nan=False)
tags = st.dictionaries(st.sampled_from(["a", "é"]), st.text(max_size=2), max_size=2)
scores = st.builds(
    SyncScore,
    scorer=st.sampled_from([None, "expert", "syncnet"]),
    num_windows=st.integers(0, 3),
    confidence=st.none() | amounts,
    distance=st.none() | amounts,
    offset_frames=st.none() | st.integers(-3, 3),
    confidence_mismatched=st.none() | amounts,
    confidence_untouched=st.none() | amounts,
)
failures = st.builds(Failure, error_class=st.sampled_from(ErrorClass), message=st.text(max_size=3))
films = st.builds(
    Film,
    path=st.none() | st.just("outputs/film.mp4"),
    sha256=st.none() | st.just(sha("film")),
    duration_s=st.none() | amounts,
    thumbnail=st.none() | st.just("outputs/film.jpg"),
    failure=st.none() | failures,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    return plan_of(
        [draw(rows(number)) for number in range(1, draw(st.integers(0, 6)) + 1)],
        scorer=draw(st.sampled_from([None, model("expert")])),
        enhancer=draw(st.sampled_from([None, model("enhancer")])),
        parent_run_id=draw(st.sampled_from([None, "run-0"])),
        generator_for=lambda name: model(name or "g"),
    )


@st.composite
def rows(draw: st.DrawFn, number: int) -> PairRow:
    """One in five cannot be planned; spans make one shard to four."""
    start_s = draw(st.integers(0, 3))
    span = {"clip_end_s": 99.0} if draw(st.integers(0, 4)) == 0 else {"song_end_s": start_s + draw(st.integers(2, 27))}
    return pair_row(
        number,
        **{"song_start_s": float(start_s), **span},
        montage=draw(st.sampled_from([None, "m", "n"])),
        position=draw(st.none() | st.integers(0, 2)),
        priority=draw(st.integers(0, 2)),
        rights=draw(st.sampled_from([None, "", "mine", "CC BY"])),
        generator=draw(st.sampled_from([None, "h"])),
        tags=draw(tags),
    )


@st.composite
def results(draw: st.DrawFn, shard: ShardPlan) -> ShardResult:
    return shard_result(
        shard,
        num_face_frames=draw(st.integers(0, shard.num_frames)),
        num_voiced_frames=draw(st.integers(0, shard.num_frames)),
        passed_through=draw(st.dictionaries(st.sampled_from(["turned", "no_face"]), st.integers(0, 9))),
        rest_motion=draw(st.none() | amounts),
        seconds=draw(st.dictionaries(st.sampled_from(["decode", "encode", "é"]), amounts)),
        peak_rss_mb=draw(amounts),
        score=draw(scores),
        created_at=draw(st.sampled_from(["2026-01-01", "2026-01-02"])),
    )


@st.composite
def tries(draw: st.DrawFn, shard: ShardPlan) -> list[AttemptRow]:
    made = []
    for number in range(1, draw(st.integers(0, 2)) + 1):
        if draw(st.integers(0, 2)):
            made.append(attempt(shard, number, result=draw(results(shard))))
        else:
            made.append(attempt(shard, number, "BUG", failure=draw(failures), final=draw(st.booleans())))
    return made


@st.composite
def takes(draw: st.DrawFn) -> dict[str, object]:
    return {
        "num_takes": draw(st.integers(2, 3)),
        "take_run_id": "run-0",
        "confidence_before": draw(st.none() | amounts),
        "verdict_before": draw(st.none() | st.sampled_from(Verdict)),
        "asked_settings": draw(st.sampled_from([(), ("a.b=1",)])),
    }


decisions = st.builds(
    Decision,
    pair_id=st.just("p"),
    ruling=st.sampled_from([Ruling.ACCEPT, Ruling.REJECT]),
    reviewer=st.just("ann"),
    decided_at=st.just("2026-01-01T00:00:00.000+00:00"),
    reason=st.sampled_from(["", "why"]),
    note=st.sampled_from(["", "note"]),
    settings=st.sampled_from([(), ("lipsync.crf=30",)]),
    output_sha256=st.sampled_from([None, "", sha("film"), sha("another")]),
)


def judge(score: Scored) -> Verdict:
    if score.confidence is None or score.offset_frames is None:
        return Verdict.NOT_SCORABLE
    wrong = score.confidence_mismatched or 0
    return Verdict.PASS if score.scorer == "syncnet" and score.confidence > wrong else Verdict.FAIL


def merge(shard_ids: Sequence[str], results: Sequence[ShardResult]) -> SyncScore | None:
    """A score that tells what it was made of; none for some."""
    if shard_ids[0].startswith("p2"):
        return None
    confidence = sum(result.num_face_frames for result in results) / len(shard_ids)
    return results[0].score.model_copy(update={"confidence": confidence, "num_windows": len(results)})


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data(), part_rows=st.sampled_from([1, 2, 5, 1000]))
def test_columns_come_to_what_rows_come_to(data: st.DataObject, part_rows: int) -> None:
    plan = data.draw(plans())
    fold = fold_attempts(plan, [row for shard in plan.shards for row in data.draw(tries(shard))])
    segments = {shard.work_key: f"/{shard.shard_id}.mp4" for shard in plan.shards if data.draw(st.booleans())}
    options: dict[str, Any] = {
        "judge": judge,
        "merge": merge,
        "takes": data.draw(st.dictionaries(st.sampled_from(NAMES), takes(), max_size=3)),
        "decisions": data.draw(st.dictionaries(st.sampled_from(NAMES), decisions, max_size=3)),
    }
    own_films = data.draw(st.dictionaries(st.sampled_from(NAMES), films))
    montage_films = data.draw(st.dictionaries(st.sampled_from(["m", "n"]), films))
    wanted = rows_of_report(
        plan,
        fold,
        segment_path=lambda result: segments.get(result.work_key),
        films=own_films,
        montage_films=montage_films,
        **options,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_module, "PART_ROWS", part_rows)
        report = Report(plan_to_table(plan), fold, media=lambda _: Media(segments, own_films), **options)
        check(report, wanted)
        assert report.montages(montage_films) == wanted.montages


def check(report: Report, wanted: Rows) -> None:
    for rows, table in ((wanted.shards, report.shards()), (wanted.pairs, report.pairs())):
        model = ReportRow if rows is wanted.shards else PairReportRow
        table.validate(full=True)
        expected = table_of_rows(model, rows)
        assert table.schema.equals(expected.schema, check_metadata=True)
        for name in table.column_names:
            assert table[name].to_pylist() == expected[name].to_pylist(), name


def table_of_rows(model: Any, rows: Sequence[Any]) -> pa.Table:
    """Rows as they have always been written."""
    names = sorted({name for row in rows for name in row.tags})
    table, schema = to_table(model, rows), report_schema(model, names)
    arrays = [table[field.name] for field in report_schema(model)]
    arrays += [pa.array([row.tags.get(name) for row in rows], pa.string()) for name in names]
    return pa.Table.from_arrays(arrays, schema=schema)
