"""Metrics of a run: the ledger in numbers, whoever drove it, and safe to write whatever things are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from singalong.contracts import AttemptRow, Plan, SyncScore, Verdict
from singalong.errors import ErrorClass, UsageError
from singalong.fold import StartedMark, fold_attempts
from singalong.metrics import FORMER, RUN_STATES, RunMetrics
from singalong.metrics_output import MetricsFile, MetricsServer, last_success_in, registry_of
from tests.singalong.builders import attempt, model, pair_row, plan_of, shard_result

ROWS = [pair_row(n, song_end_s=4, generator="g" if n < 3 else "h") for n in range(1, 5)]
PLAN = plan_of(ROWS)
NASTY = 'a"b\\c\nd{e="f"}\x1b[31m'
HOSTILE = f"{NASTY}\udcff"


def judge(score: SyncScore) -> Verdict:
    return Verdict.PASS if score.confidence else Verdict.FAIL


def metrics_of(plan: Plan = PLAN, name: str = "night") -> RunMetrics:
    return RunMetrics(name, plan, judge, info={"run_id": "r"})


def resumed(rows: Sequence[AttemptRow], marks: Sequence[StartedMark] = (), plan: Plan = PLAN) -> RunMetrics:
    metrics = metrics_of(plan)
    metrics.begin(rows, fold_attempts(plan, rows, marks))
    return metrics


def samples(metrics: RunMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(registry_of(metrics)).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: RunMetrics, name: str, **labels: str) -> float:
    return samples(metrics)[f"singalong_{name}", frozenset({"run": "night", **labels}.items())]


def without_times(metrics: RunMetrics) -> dict[Any, float]:
    return {key: number for key, number in samples(metrics).items() if not key[0].endswith("timestamp_seconds")}


ENDS = st.sampled_from(["done", "reused", *ErrorClass])


@settings(max_examples=30)
@given(ends=st.lists(st.tuples(st.integers(0, 3), ENDS, st.booleans()), max_size=12), split=st.integers(0, 12))
def test_a_resumed_run_goes_on_counting_where_it_was_and_nothing_ever_goes_down(
    ends: list[tuple[int, str, bool]], split: int
) -> None:
    rows: list[AttemptRow] = []
    for number, (index, end, final) in enumerate(ends, start=1):
        outcome = "done" if end in ("done", "reused") else end
        row = attempt(PLAN.shards[index], number, outcome, reused=end == "reused", final=final)
        spent = {"decode": 0.1 * number, "encode": 1e-7 / number}
        made = row.result and row.result.model_copy(update={"seconds": spent})
        rows.append(row.model_copy(update={"result": made}))
    live = resumed([])
    before = samples(live)
    for row in rows[:split]:
        live.attempt(row)
    again = resumed(rows[:split][::-1])  # the ledger keeps no order: even sums of fractions must not depend on it
    assert without_times(again) == without_times(live)
    for row in rows[split:]:
        again.attempt(row)
        after = samples(again)
        for (name, labels), number in before.items():
            if name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert after[name, labels] >= number, name
        before = after
    assert without_times(again) == without_times(resumed(rows))


def test_attempts_frames_failures_and_retries_are_told_apart() -> None:
    one, two, three, four = PLAN.shards
    rows = [
        attempt(one, 1, "INFRA", final=False),
        attempt(one, 2, result=shard_result(one, num_face_frames=60, passed_through={"turned": 40})),
        attempt(two, 1, reused=True),
        attempt(three, 1, "INPUT", worker="", started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:00:00Z"),
    ]
    mark = StartedMark(shard_id=four.shard_id, attempt=1, work_key=four.work_key, started_at="2026-01-01T00:00:00Z")
    metrics = resumed(rows, [mark])
    found = {o: value(metrics, "attempts_total", outcome=o) for o in ("done", "failed", "reused", "blocked")}
    assert found == {"done": 1, "failed": 1, "reused": 1, "blocked": 1}
    assert value(metrics, "attempts_total", outcome="interrupted") == 1
    assert value(metrics, "failures_total", stage="lipsync", error_class="INFRA") == 1
    assert value(metrics, "retries_total", stage="lipsync", error_class="INFRA") == 1
    assert value(metrics, "failures_total", stage="lipsync", error_class="INPUT") == 0, "its cause is counted elsewhere"
    assert value(metrics, "frames_total", generator="g", outcome="synced") == 60
    assert value(metrics, "frames_total", generator="g", outcome="turned") == 40
    assert value(metrics, "frames_done") == 200, "made and reused"
    assert value(metrics, "stage_seconds_total", stage="decode") == 1.5
    assert value(metrics, "shards", generator="g", status="done") == 2
    assert value(metrics, "shards", generator="h", status="quarantined") == 1
    assert value(metrics, "shards", generator="h", status="pending") == 1
    assert value(metrics, "shard_verdicts_total", generator="g", verdict="pass") == 1
    assert value(metrics, "sync_confidence_count", scorer="expert") == 1
    assert value(metrics, "attempt_duration_seconds_sum") == 120


def test_work_of_former_plans_still_counts_but_not_as_shards_of_this_one() -> None:
    metrics = resumed([attempt(PLAN.shards[3])], plan=plan_of(ROWS[:3]))
    assert value(metrics, "attempts_total", outcome="done") == 1
    assert value(metrics, "frames_total", generator=FORMER, outcome="synced") == 100
    assert value(metrics, "shards", generator="h", status="done") == 0


def test_hostile_names_make_text_that_every_parser_reads_and_no_name_of_a_pair_is_in_it() -> None:
    row = pair_row(pair_id="secret-pair", generator=NASTY, clip=f"/clips/{NASTY}")
    plan = plan_of([row], generator_for=lambda name: model(name))
    (shard, *_), score = plan.shards, SyncScore(scorer=NASTY, confidence=1)
    metrics = RunMetrics(HOSTILE, plan, judge, info={"run_id": HOSTILE, "version": "1"})
    result = shard_result(shard, seconds={NASTY: 1.0}, passed_through={NASTY: 1}, score=score)
    metrics.attempt(attempt(shard, result=result))
    metrics.step(HOSTILE, 1.0, HOSTILE, final=False)
    found = samples(metrics)
    expected = HOSTILE.replace("\udcff", "?")
    assert {dict(labels)["run"] for _, labels in found} == {expected}
    assert "secret-pair" not in str(found)
    assert "/clips/" not in str(found)


def test_a_run_is_in_one_state_and_remembers_when_it_last_succeeded() -> None:
    metrics = metrics_of()
    for state in RUN_STATES:
        metrics.end(state)
        found = {other: value(metrics, "run_state", state=other) for other in RUN_STATES}
        assert found == {other: float(other == state) for other in RUN_STATES}
    assert value(metrics, "run_last_success_timestamp_seconds") == metrics.last_success_s


def test_the_last_success_outlives_the_file_of_a_night_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "night.prom"
    good = metrics_of()
    good.end("complete")
    MetricsFile(good, path).try_first()
    assert last_success_in(path, "night") == pytest.approx(good.last_success_s)
    assert last_success_in(path, "another") is None
    for damage in (
        b"",
        b"\xff\xfe",
        b"singalong_run_last_success_timestamp_seconds{run=",
        b"<html>" * 100,
        b"a b c d e",
    ):
        path.write_bytes(damage)
        assert last_success_in(path, "night") is None
    assert last_success_in(tmp_path / "none.prom", "night") is None


def test_metrics_are_served_on_this_machine_alone_and_the_port_is_free_again_afterwards() -> None:
    import socket
    import urllib.request

    server = MetricsServer(metrics_of(), 0)
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    with urllib.request.urlopen(server.url) as answer:
        assert "singalong_shards" in answer.read().decode()
    request = urllib.request.Request(server.url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(request) as answer:
        assert answer.read().endswith(b"# EOF\n")
    with pytest.raises(UsageError, match=f"saw {port}"):
        MetricsServer(metrics_of(), port)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), 5)
    server.close()
    MetricsServer(metrics_of(), port).close()


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "m.prom", tmp_path / "file" / "m.prom"):
        with pytest.raises(UsageError, match="metrics cannot be written"):
            MetricsFile(metrics_of(), path).try_first()
