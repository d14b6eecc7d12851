"""The fold: whatever the order, the duplicates and the interruptions, attempts give one truth."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import AttemptRow, Failure, Plan, Status
from singalong.errors import ErrorClass
from singalong.fold import StartedMark, fold_attempts
from tests.singalong.builders import attempt, pair_row, plan_of

PLAN = plan_of([pair_row(1, song_end_s=20), pair_row(2, song_start_s=1, song_end_s=11)])
SHARD = PLAN.shards[0]


def mark(number: int, **values: Any) -> StartedMark:
    return StartedMark(
        **{"shard_id": SHARD.shard_id, "attempt": number, "work_key": SHARD.work_key, "started_at": "now"} | values
    )


def status(*rows: AttemptRow, marks: tuple[StartedMark, ...] = ()) -> Status:
    return fold_attempts(PLAN, rows, marks).shards[SHARD.shard_id].status


def test_a_shard_never_tried_is_pending() -> None:
    fold = fold_attempts(PLAN, [])
    assert list(fold.shards) == [shard.shard_id for shard in PLAN.shards]
    assert fold.counts() == {Status.PENDING: 3, Status.DONE: 0, Status.FAILED: 0, Status.QUARANTINED: 0}


def test_done_wins_over_failures_before_and_after_it() -> None:
    rows = [attempt(SHARD, 1, "INFRA"), attempt(SHARD, 2), attempt(SHARD, 3, "INPUT")]
    fold = fold_attempts(PLAN, rows).shards[SHARD.shard_id]
    assert (fold.status, fold.num_attempts, fold.failure) == (Status.DONE, 3, None)
    assert fold.result == rows[1].result


def test_the_last_failure_decides_and_is_kept() -> None:
    assert status(attempt(SHARD, 1, "BUG")) is Status.FAILED
    assert status(attempt(SHARD, 1, "INPUT")) is Status.QUARANTINED
    assert status(attempt(SHARD, 1, "INPUT"), attempt(SHARD, 2, "TIMEOUT")) is Status.FAILED
    fold = fold_attempts(PLAN, [attempt(SHARD, 2, "TIMEOUT"), attempt(SHARD, 1, "BUG")])
    failure = fold.shards[SHARD.shard_id].failure
    assert failure is not None
    assert failure.message == "attempt 2 failed"
    assert fold.failures() == {ErrorClass.TIMEOUT: 1}


def test_a_file_that_was_not_the_planned_one_does_not_condemn_the_planned_one() -> None:
    changed = Failure(error_class=ErrorClass.INPUT, message="changed since this run was planned", file_changed=True)
    assert status(attempt(SHARD, 1, "INPUT", failure=changed)) is Status.FAILED


def test_a_failure_that_will_be_tried_again_leaves_the_shard_pending() -> None:
    assert status(attempt(SHARD, 1, "TRANSIENT_IO", final=False)) is Status.PENDING
    assert status(attempt(SHARD, 1, "INPUT", final=False)) is Status.QUARANTINED


def test_an_attempt_that_never_ended_is_counted_and_named() -> None:
    fold = fold_attempts(PLAN, [attempt(SHARD, 1, "INFRA", final=False)], [mark(1), mark(2)])
    shard = fold.shards[SHARD.shard_id]
    assert (shard.status, shard.num_attempts, shard.unfinished) == (Status.PENDING, 2, (2,))


def test_attempts_under_another_work_key_do_not_count() -> None:
    stale = attempt(SHARD, 1).model_dump() | {"work_key": "ff" * 20}
    stale["result"]["work_key"] = "ff" * 20
    fold = fold_attempts(PLAN, [AttemptRow(**stale)], [mark(2, work_key="ff" * 20)])
    assert fold.shards[SHARD.shard_id].status is Status.PENDING
    assert fold.shards[SHARD.shard_id].num_attempts == 0
    assert fold.num_stale == 1


def test_attempts_at_shards_the_plan_does_not_have_are_counted_as_stale() -> None:
    other: Plan = plan_of([pair_row(9)])
    fold = fold_attempts(PLAN, [attempt(other.shards[0])])
    assert fold.count(Status.DONE) == 0
    assert fold.num_stale == 1


attempts_strategy = st.lists(
    st.builds(
        attempt,
        st.sampled_from(PLAN.shards),
        st.integers(1, 4),
        st.sampled_from(["done", *ErrorClass]),
        final=st.booleans(),
        worker=st.sampled_from(["a", "b"]),
    ),
    max_size=12,
)
marks_strategy = st.lists(
    st.builds(
        lambda shard, number: mark(number, shard_id=shard.shard_id, work_key=shard.work_key),
        st.sampled_from(PLAN.shards),
        st.integers(1, 5),
    ),
    max_size=6,
)


@given(attempts=attempts_strategy, marks=marks_strategy, data=st.data())
def test_order_and_duplicates_do_not_matter(
    attempts: list[AttemptRow], marks: list[StartedMark], data: st.DataObject
) -> None:
    once = fold_attempts(PLAN, attempts, marks)
    again = data.draw(st.permutations(attempts + attempts)), data.draw(st.permutations(marks + marks))
    assert fold_attempts(PLAN, *again) == once


@given(attempts=attempts_strategy, marks=marks_strategy)
def test_every_fold_is_sound(attempts: list[AttemptRow], marks: list[StartedMark]) -> None:
    fold = fold_attempts(PLAN, attempts, marks)
    assert sum(fold.counts().values()) == len(PLAN.shards)
    for shard in PLAN.shards:
        state = fold.shards[shard.shard_id]
        own = [row for row in attempts if row.shard_id == shard.shard_id]
        ended = {row.attempt for row in own if row.result is not None}
        only_failed = {row.attempt for row in own} - ended
        assert (state.status is Status.DONE) == bool(ended)
        assert (state.result is not None) == bool(ended)
        assert (state.failure is not None) == (not ended and bool(only_failed))
        assert state.num_attempts >= len(ended | only_failed)


@given(attempts=attempts_strategy, more=attempts_strategy)
def test_done_is_for_ever(attempts: list[AttemptRow], more: list[AttemptRow]) -> None:
    before, after = fold_attempts(PLAN, attempts), fold_attempts(PLAN, attempts + more)
    for shard_id, state in before.shards.items():
        if state.status is Status.DONE:
            assert after.shards[shard_id].status is Status.DONE


@given(drivers=st.lists(st.lists(st.sampled_from(["done", *ErrorClass, "killed"]), max_size=4), max_size=4))
def test_drivers_that_die_anywhere_leave_what_happened_and_no_more(drivers: list[list[str]]) -> None:
    """Each driver goes on where the one before it died, with numbers of its own, until the shard is done."""
    rows, marks, number, happened = list[AttemptRow](), list[StartedMark](), 0, list[str]()
    for driver in drivers:
        for outcome in driver if "done" not in happened else ():
            number += 1
            marks.append(mark(number))
            if outcome == "killed":
                break
            rows.append(attempt(SHARD, number, outcome))
            happened.append(outcome)
            if outcome == "done":
                break
    state = fold_attempts(PLAN, rows, marks).shards[SHARD.shard_id]
    ended = {row.attempt for row in rows}
    assert state.num_attempts == number
    assert state.unfinished == tuple(sorted(set(range(1, number + 1)) - ended))
    wanted = Status.PENDING
    if happened:
        last = happened[-1]
        wanted = {"done": Status.DONE, "INPUT": Status.QUARANTINED}.get(last, Status.FAILED)
    assert state.status is wanted
