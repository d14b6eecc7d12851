"""Which take of a pair stands."""

from hypothesis import given
from hypothesis import strategies as st

from singalong.contracts import ShardResult, SyncScore, Verdict
from singalong.takes import EarlierRun, Heritage, JudgedTake, Pass, Take, best_take, takes_of, with_takes
from tests.singalong.builders import model, pair_row, plan_of, shard_result

PLAN = plan_of([pair_row(1, song_end_s=4), pair_row(2, song_end_s=4)])


def judged(
    run_id: str, confidence: float | None = None, verdict: Verdict | None = Verdict.REVIEW, **changes: object
) -> JudgedTake:
    done = bool(changes.pop("done", True))
    scorer = changes.pop("scorer", "expert")
    take = Take(run_id, PLAN.pairs[0], PLAN.shards[:1], **changes)  # type: ignore[arg-type]
    results: tuple[ShardResult, ...] | None = (shard_result(PLAN.shards[0]),) if done else None
    score = SyncScore(scorer=str(scorer), confidence=confidence)
    return JudgedTake(take, results, score, verdict if done else None)


def test_the_better_verdict_goes_before_the_higher_confidence() -> None:
    far_off = judged("a", 9.0, Verdict.FAIL)
    assert best_take([far_off, judged("b", 5.0, Verdict.PASS)]).take.run_id == "b"
    assert best_take([judged("b", 5.0, Verdict.PASS), far_off]).take.run_id == "b"


def test_of_equal_verdicts_the_higher_confidence_stands_and_of_equals_the_newest() -> None:
    assert best_take([judged("a", 5.0), judged("b", 4.0)]).take.run_id == "a"
    assert best_take([judged("a", 5.0), judged("b", 5.0)]).take.run_id == "b"


def test_a_take_that_failed_never_takes_the_place_of_one_that_is_done() -> None:
    assert best_take([judged("a", 1.0, Verdict.FAIL), judged("b", done=False)]).take.run_id == "a"
    assert best_take([judged("a", done=False), judged("b", done=False)]).take.run_id == "b"


def test_what_a_person_sent_back_stands_only_if_there_is_nothing_else() -> None:
    rejected = judged("a", 9.0, Verdict.PASS, rejected=True)
    assert best_take([rejected, judged("b", 1.0, Verdict.FAIL)]).take.run_id == "b"
    assert best_take([rejected, judged("b", done=False)]).take.run_id == "a"


def test_scores_of_another_scorer_are_not_compared() -> None:
    assert best_take([judged("a", 9.0, Verdict.PASS, scorer="syncnet"), judged("b", 1.0)]).take.run_id == "b"


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.sampled_from(list(Verdict)), st.floats(0, 20)),
        min_size=1,
        max_size=6,
    )
)
def test_a_finished_take_always_stands_if_there_is_one(
    takes: list[tuple[bool, bool, Verdict, float]],
) -> None:
    all_takes = [
        judged(str(n), confidence, verdict, done=done, rejected=rejected)
        for n, (done, rejected, verdict, confidence) in enumerate(takes)
    ]
    best = best_take(all_takes)
    assert (best.results is not None) == any(take.results is not None for take in all_takes)
    if any(take.results is not None and not take.take.rejected for take in all_takes):
        assert not best.take.rejected


def heritage(made: tuple[str, ...], rejected: tuple[str, ...] = ()) -> Heritage:
    earlier = EarlierRun(run_id="run-0", path="/runs/0", rejected=rejected)
    order = Pass(parent="/runs/0", parent_run_id="run-0", selection=("--failed",), pairs=made, earlier=(earlier,))
    own = {"pairs": PLAN.pairs[:1], "shards": PLAN.shards[:1], "run_id": "run-0"}
    return Heritage(order, (PLAN.model_copy(update=own),))


def test_takes_are_listed_oldest_first_for_what_was_made_again() -> None:
    takes = takes_of(PLAN, heritage(("p1",), rejected=("p1",)))
    assert list(takes) == ["p1"]
    assert [(take.run_id, take.rejected) for take in takes["p1"]] == [("run-0", True), ("run-1", False)]
    assert takes_of(PLAN, None) == {}


def test_a_plan_takes_pairs_and_shards_of_the_takes_that_stand() -> None:
    other = plan_of([pair_row(1, song_end_s=4)], generator_for=lambda _: model("other"))
    take = Take("run-0", other.pairs[0], other.shards)
    plan = with_takes(PLAN, {"p1": take})
    assert [pair.generator.name for pair in plan.pairs] == ["other", "g"]
    assert {shard.work_key for shard in plan.shards} == {other.shards[0].work_key, PLAN.shards[1].work_key}
