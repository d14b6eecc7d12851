"""The contracts: records that cannot be changed, mistaken or half true."""

from fractions import Fraction

import pytest
from pydantic import ValidationError

import singalong.contracts as contracts
from singalong.contracts import AttemptRow, Failure, Fit, ModelRef, Row, ShardPlan, Status, SyncScore, Verdict
from singalong.errors import ErrorClass
from tests.singalong.builders import attempt, clip_facts, pair_row, plan_of, shard_result


def shard() -> ShardPlan:
    return plan_of([pair_row()]).shards[0]


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        pair_row().clip = "other.mp4"  # type: ignore[misc]


def test_records_refuse_fields_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ModelRef(name="g", architecture="wav2lip", weights_sha256="0", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_known_is_none_and_never_nan(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        SyncScore(confidence=value)
    assert SyncScore(confidence=None).confidence is None


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), "30000/1001"])
def test_frame_rates_are_exact_fractions_also_in_files(rate: Fraction | str) -> None:
    facts = clip_facts(fps=rate)
    assert facts.fps == Fraction(30000, 1001)
    assert '"fps":"30000/1001"' in facts.model_dump_json()
    assert type(facts).model_validate_json(facts.model_dump_json()) == facts


def test_words_of_the_reports_are_fixed() -> None:
    assert [status.value for status in Status] == ["pending", "done", "failed", "quarantined"]
    assert [verdict.value for verdict in Verdict] == ["pass", "review", "fail", "not scorable"]
    assert [fit.value for fit in Fit] == ["cut", "loop", "bounce", "hold"]


def test_the_number_of_frames_of_a_shard_is_the_length_of_its_half_open_range() -> None:
    one = ShardPlan(shard_id="p-0001", pair_id="p", index=1, start_frame=250, end_frame=400, work_key="00")
    assert one.num_frames == 150


def test_an_attempt_has_a_result_or_a_failure_and_never_both_or_neither() -> None:
    one = shard()
    failure = Failure(error_class=ErrorClass.BUG, message="x")
    for values in ({"result": None}, {"failure": failure}):
        with pytest.raises(ValidationError, match="either a result or a failure"):
            attempt(one, **values)
    assert attempt(one, 1, "BUG").result is None


def test_an_attempt_cannot_carry_the_result_of_other_work() -> None:
    one = shard()
    with pytest.raises(ValidationError, match="not of"):
        attempt(one, result=shard_result(one, work_key="ff" * 20))


def test_every_record_survives_json() -> None:
    plan = plan_of([pair_row(tags={"a": "b"}), pair_row(2, clip_end_s=99)])
    rows: list[Row] = [plan, attempt(plan.shards[0]), attempt(plan.shards[0], 2, "INPUT"), pair_row(), clip_facts()]
    for row in rows:
        assert type(row).model_validate_json(row.model_dump_json()) == row


def test_every_public_record_says_what_it_is() -> None:
    records = [value for value in vars(contracts).values() if isinstance(value, type) and issubclass(value, Row)]
    assert AttemptRow in records
    assert all(record.__doc__ and record.__doc__.strip() for record in records)
