"""The report: frozen columns, and a fold that says of every shard, pair and montage where it stands."""

from collections.abc import Sequence
from typing import Any

import pytest

from singalong.contracts import AttemptRow, Failure, Plan, ShardResult, Status, SyncScore, Verdict
from singalong.errors import ErrorClass
from singalong.fold import fold_attempts
from singalong.plan_table import plan_to_table
from singalong.report import Film, Media, Report, judge_without_thresholds
from singalong.report_schema import (
    REPORT_SCHEMA_VERSION,
    VERSION_KEY,
    MontageReportRow,
    PairReportRow,
    ReportRow,
    report_schema,
    report_table,
    rows_of,
)
from tests.singalong.builders import attempt, pair_row, plan_of, sha, shard_result
from tests.singalong.report_rows import Rows

MERGED = SyncScore(scorer="expert", num_windows=20, confidence=5.0, distance=8.0, offset_frames=2)


def columns(model: Any) -> dict[str, str]:
    return {field.name: str(field.type) for field in report_schema(model)}


COMMON = {
    "clip": "string",
    "song": "string",
    "clip_start_s": "double",
    "clip_end_s": "double",
    "song_start_s": "double",
    "song_end_s": "double",
    "num_frames": "int64",
    "fps": "double",
    "width": "int64",
    "height": "int64",
    "face_coverage": "double",
    "passed_through": "map<string, int64>",
    "sync_confidence": "double",
    "sync_distance": "double",
    "sync_offset_frames": "int64",
    "confidence_mismatched": "double",
    "confidence_untouched": "double",
    "num_windows": "int64",
    "voiced_share": "double",
    "rest_motion": "double",
    "generator": "string",
    "weights_sha256": "string",
    "enhancer": "string",
    "scorer": "string",
    "detector": "string",
    "seconds_total": "double",
    "peak_rss_mb": "double",
    "output": "string",
    "output_sha256": "string",
    "rights": "string",
    "created_at": "string",
}
STATE = {
    "status": "string",
    "verdict": "string",
    "error_class": "string",
    "error_message": "string",
    "num_attempts": "int64",
}


def test_columns_of_the_shard_report_are_frozen() -> None:
    assert columns(ReportRow) == {
        **{"run_id": "string", "parent_run_id": "string", "pair_id": "string", "shard_id": "string"},
        **{"work_key": "string", "montage": "string", "row": "int64"},
        **STATE,
        **COMMON,
        **{"start_frame": "int64", "end_frame": "int64", "device": "string", "node": "string"},
        "seconds": "map<string, double>",
    }


def test_columns_of_the_pair_report_are_frozen() -> None:
    assert columns(PairReportRow) == {
        **{"run_id": "string", "parent_run_id": "string", "pair_id": "string", "montage": "string"},
        **{"position": "double", "row": "int64"},
        **STATE,
        **COMMON,
        **{"priority": "int64", "num_shards": "int64", "num_done": "int64", "duration_s": "double"},
        **{"thumbnail": "string", "num_takes": "int64", "take_run_id": "string"},
        **{"confidence_before": "double", "verdict_before": "string", "review_ruling": "string"},
        **{"review_reason": "string", "review_settings": "list<item: string>", "reviewer": "string"},
        **{"asked_settings": "list<item: string>", "asked_by": "string", "asked_reason": "string"},
    }


def test_columns_of_the_montage_report_are_frozen() -> None:
    assert columns(MontageReportRow) == {
        **{"run_id": "string", "parent_run_id": "string", "montage": "string"},
        **{name: kind for name, kind in STATE.items() if name != "num_attempts"},
        **{"num_pairs": "int64", "num_done": "int64", "missing": "list<item: string>", "num_frames": "int64"},
        **{"duration_s": "double", "sync_confidence_mean": "double", "sync_confidence_min": "double"},
        **{"output": "string", "output_sha256": "string", "thumbnail": "string", "rights": "string"},
    }


def test_reports_carry_their_version() -> None:
    assert report_schema(ReportRow).metadata == {VERSION_KEY: str(REPORT_SCHEMA_VERSION).encode()}
    assert REPORT_SCHEMA_VERSION == 1


# ---- the fold


def report_of(plan: Plan, attempts: Sequence[AttemptRow] = (), **options: Any) -> Report:
    def merge(shard_ids: Sequence[str], results: Sequence[ShardResult]) -> SyncScore:
        assert len(shard_ids) == len(results) > 1
        return MERGED

    films = options.pop("films", {pair.pair_id: film(pair.pair_id) for pair in plan.pairs})
    media = Media(options.pop("segments", {}), films)
    table, fold = plan_to_table(plan), fold_attempts(plan, attempts)
    return Report(table, fold, media=lambda _: media, **{"merge": merge} | options)


def reported(plan: Plan, attempts: Sequence[AttemptRow] = (), **options: Any) -> Rows:
    """The rows of a report."""
    montage_films = options.pop("montage_films", {})
    report = report_of(plan, attempts, **options)
    shards, pairs = rows_of(ReportRow, report.shards()), rows_of(PairReportRow, report.pairs())
    return Rows(shards, pairs, report.montages(montage_films))


def film(name: str, **values: Any) -> Film:
    return Film(**{"path": f"outputs/{name}.mp4", "sha256": sha(name), "duration_s": 10.0} | values)


def two_shards(**values: Any) -> Plan:
    return plan_of([pair_row(**{"song_end_s": 16} | values)])


def test_a_shard_row_tells_where_it_comes_from_and_what_came_of_it() -> None:
    plan = plan_of(
        [pair_row(song_start_s=2, song_end_s=9, rights="mine", montage="m", tags={"a": "b"})], parent_run_id="run-0"
    )
    (shard,) = plan.shards
    result = shard_result(shard, num_face_frames=140, num_voiced_frames=35)
    report = reported(
        plan, [attempt(shard, 1, "INFRA"), attempt(shard, 2, result=result)], segments={shard.work_key: "/s.mp4"}
    )
    assert report.shards[0].model_dump(exclude_defaults=True) == {
        **{"run_id": "run-1", "parent_run_id": "run-0", "pair_id": "p1", "shard_id": "p1-0000", "row": 1},
        **{"work_key": shard.work_key, "montage": "m", "status": Status.DONE, "verdict": Verdict.REVIEW},
        **{"clip": "/clips/a.mp4", "song": "/songs/s.wav", "clip_start_s": 0.0, "clip_end_s": 8.0},
        **{"song_start_s": 2.0, "song_end_s": 9.0, "start_frame": 0, "end_frame": 175, "num_frames": 175},
        **{"fps": 25.0, "width": 640, "height": 360, "num_attempts": 2, "face_coverage": 0.8, "voiced_share": 0.2},
        **{"sync_confidence": 7.5, "sync_distance": 6.5, "sync_offset_frames": -1, "num_windows": 9},
        **{"rest_motion": 0.5, "generator": "g", "weights_sha256": sha("g"), "scorer": "expert"},
        **{"detector": "centerface", "device": "cpu", "node": "box", "seconds": {"decode": 1.5, "generate": 2.0}},
        **{"seconds_total": 3.5, "peak_rss_mb": 512.0, "output": "/s.mp4", "output_sha256": sha("seg")},
        **{"rights": "mine", "created_at": "2026-01-01T00:00:00Z", "tags": {"a": "b"}},
    }


def test_a_row_that_could_not_be_planned_is_in_every_report() -> None:
    plan = plan_of([pair_row(1), pair_row(2, clip_end_s=99, montage="m", tags={"x": "y"}, rights="mine")])
    report = reported(plan)
    for row in (report.shards[-1], report.pairs[-1]):
        assert (row.pair_id, row.row, row.status) == ("p2", 2, Status.QUARANTINED)
        assert row.error_class is ErrorClass.INPUT
        assert "column clip_end_s" in (row.error_message or "")
        assert (row.tags, row.rights, row.verdict) == ({"x": "y"}, "mine", None)
    assert report.shards[-1].shard_id is None
    assert (report.montages[0].montage, report.montages[0].status) == ("m", Status.FAILED)


@pytest.mark.parametrize(
    ("outcomes", "status", "error_class"),
    [
        ([None, None], Status.PENDING, None),
        (["done", None], Status.PENDING, None),
        (["done", "BUG"], Status.FAILED, ErrorClass.BUG),
        (["TIMEOUT", "INPUT"], Status.QUARANTINED, ErrorClass.INPUT),
        ([None, "TIMEOUT"], Status.FAILED, ErrorClass.TIMEOUT),
        (["done", "done"], Status.DONE, None),
    ],
)
def test_a_pair_is_as_bad_as_its_worst_shard(
    outcomes: list[str | None], status: Status, error_class: ErrorClass | None
) -> None:
    plan = two_shards()
    rows = [attempt(shard, 1, kind) for shard, kind in zip(plan.shards, outcomes, strict=True) if kind]
    pair = reported(plan, rows).pairs[0]
    assert (pair.status, pair.error_class, pair.num_shards) == (status, error_class, 2)
    assert pair.num_done == outcomes.count("done")
    assert (pair.sync_confidence is not None) == (status is Status.DONE)


def test_a_pair_is_done_only_when_its_film_stands() -> None:
    plan = two_shards()
    rows = [attempt(shard) for shard in plan.shards]
    assert reported(plan, rows, films={}).pairs[0].status is Status.PENDING
    failure = Failure(error_class=ErrorClass.RESOURCE, message="disk full")
    pair = reported(plan, rows, films={"p1": Film(failure=failure)}).pairs[0]
    assert (pair.status, pair.error_class, pair.error_message) == (Status.FAILED, ErrorClass.RESOURCE, "disk full")
    pair = reported(plan, rows).pairs[0]
    assert (pair.status, pair.output, pair.output_sha256, pair.duration_s) == (
        *(Status.DONE, "outputs/p1.mp4", sha("p1"), 10.0),
    )


def test_a_pair_of_several_shards_has_the_score_of_the_whole_and_sums_of_the_parts() -> None:
    plan = two_shards()
    first, second = plan.shards
    rows = [
        attempt(
            first,
            result=shard_result(
                first, num_face_frames=250, rest_motion=1.0, peak_rss_mb=10.0, passed_through={"turned": 3}
            ),
        ),
        attempt(
            second,
            result=shard_result(
                second,
                num_face_frames=0,
                rest_motion=None,
                peak_rss_mb=20.0,
                passed_through={"turned": 2, "no_face": 1},
            ),
        ),
    ]
    pair = reported(plan, rows).pairs[0]
    assert (pair.sync_confidence, pair.sync_distance, pair.sync_offset_frames) == (5.0, 8.0, 2)
    assert (pair.face_coverage, pair.rest_motion, pair.peak_rss_mb, pair.seconds_total) == (250 / 400, 1.0, 20.0, 7.0)
    assert pair.passed_through == {"turned": 5, "no_face": 1}


def test_a_pair_of_one_shard_has_that_shards_score() -> None:
    plan = two_shards(song_end_s=8)
    assert reported(plan, [attempt(plan.shards[0])]).pairs[0].sync_confidence == 7.5


def test_a_pair_whose_frames_are_gone_has_no_score_and_no_verdict() -> None:
    plan = two_shards()
    pair = reported(plan, [attempt(shard) for shard in plan.shards], merge=lambda *_: None).pairs[0]
    assert (pair.status, pair.verdict, pair.sync_confidence) == (Status.DONE, None, None)


def test_verdicts_come_from_the_judge_and_without_one_a_person_looks() -> None:
    plan = two_shards()
    rows = [attempt(shard) for shard in plan.shards]
    report = reported(plan, rows, judge=lambda score: Verdict.FAIL if score.confidence == 5.0 else Verdict.PASS)
    assert [row.verdict for row in report.shards] == [Verdict.PASS, Verdict.PASS]
    assert report.pairs[0].verdict is Verdict.FAIL
    assert report.pairs[0].status is Status.DONE
    assert judge_without_thresholds(MERGED) is Verdict.REVIEW
    assert judge_without_thresholds(SyncScore()) is Verdict.NOT_SCORABLE


def montage_plan() -> Plan:
    rows = [pair_row(n, montage="film", clip_end_s=n, position=9 - n, rights=f"r{n % 2}") for n in (1, 2, 3)]
    return plan_of([*rows, pair_row(4, montage="other", clip_end_s=1)])


def test_a_montage_is_folded_from_its_pairs() -> None:
    plan = montage_plan()
    scores = {"p1": 9.0, "p2": 3.0, "p3": 6.0, "p4": 1.0}
    rows = [
        attempt(
            shard, result=shard_result(shard, score=MERGED.model_copy(update={"confidence": scores[shard.pair_id]}))
        )
        for shard in plan.shards
    ]
    films = {"film": film("film", path="montages/film.mp4", duration_s=6.0)}
    report = reported(
        plan, rows, montage_films=films, judge=lambda s: Verdict.PASS if s.confidence != 3 else Verdict.FAIL
    )
    whole, other = report.montages
    assert (whole.status, whole.num_pairs, whole.num_done, whole.verdict) == (Status.DONE, 3, 3, Verdict.FAIL)
    assert (whole.sync_confidence_mean, whole.sync_confidence_min) == (6.0, 3.0)
    assert (whole.num_frames, whole.duration_s, whole.output, whole.rights) == (150, 6.0, "montages/film.mp4", "r0; r1")
    assert (other.montage, other.status, other.output) == ("other", Status.PENDING, None)


def test_a_montage_made_without_a_pair_names_it_and_is_not_done() -> None:
    plan = montage_plan()
    rows = [attempt(shard, 1, "INPUT" if shard.pair_id == "p2" else "done") for shard in plan.shards]
    whole = reported(plan, rows, montage_films={"film": film("film", missing=("p2",))}).montages[0]
    assert (whole.status, whole.num_done, whole.missing) == (Status.FAILED, 2, ("p2",))
    assert whole.error_message == "p2: attempt 1 failed"
    assert whole.output == "outputs/film.mp4"


def test_tables_hold_every_row_and_a_column_for_every_tag() -> None:
    plan = plan_of([pair_row(1, tags={"b": "1"}), pair_row(2, tags={"a": "é"}), pair_row(3, clip_end_s=99)])
    report = report_of(plan, [attempt(plan.shards[0])])
    shards, pairs = report.shards(), report.pairs()
    for model, table in ((ReportRow, shards), (PairReportRow, pairs)):
        table.validate(full=True)
        assert table.schema.equals(report_schema(model, ["a", "b"]), check_metadata=True)
        assert table.column_names[-2:] == ["tag_a", "tag_b"]
    assert (shards.num_rows, pairs.num_rows) == (len(plan.shards) + 1, 3)
    assert pairs.select(["tag_a", "tag_b"]).to_pylist() == [
        *[{"tag_a": None, "tag_b": "1"}, {"tag_a": "é", "tag_b": None}, {"tag_a": None, "tag_b": None}],
    ]
    assert report_table(MontageReportRow, []).schema.equals(report_schema(MontageReportRow), check_metadata=True)


def test_an_empty_run_has_empty_tables() -> None:
    report = report_of(plan_of([]))
    assert report.pairs().schema.equals(report_schema(PairReportRow), check_metadata=True)
    assert (report.shards().num_rows, report.pairs().num_rows, report.montages({})) == (0, 0, [])
