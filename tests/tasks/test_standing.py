"""What stands: of every pair the take that is in the films."""

from pathlib import Path

import pytest

from singalong.config import Settings
from singalong.contracts import Status
from singalong.fold import fold_attempts
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.reprocess import inherit_failures
from tasks.standing import standing
from tests.singalong.builders import attempt, pair_row, plan_of, shard_result

PLAN = plan_of([pair_row(n, song_end_s=20 + n, priority=n % 2) for n in range(1, 6)])


def test_work_keys_of_pairs_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    stands = standing(RunFolder.create(tmp_path / "run", PLAN, Settings()), Store(tmp_path / "store"))
    wanted = {"p5", "p2"}
    assert stands.work_keys_of(["p5", "p2"]) == [s.work_key for s in PLAN.shards if s.pair_id in wanted]
    assert stands.work_keys_of([]) == []


def test_results_from_elsewhere_take_the_place_of_what_a_run_made_itself() -> None:
    first, second, third = PLAN.shards[:3]
    fold = fold_attempts(PLAN, [attempt(first), attempt(second, 1, "BUG"), attempt(second, 2, "BUG")])
    theirs = shard_result(second, num_face_frames=1)
    merged = fold.with_results([shard.shard_id for shard in PLAN.shards], {second.shard_id: theirs})
    state = merged.shards[second.shard_id]
    assert (state.status, state.result, state.reused, state.num_attempts) == (Status.DONE, theirs, True, 2)
    assert merged.shards[first.shard_id] == fold.shards[first.shard_id]
    assert merged.shards[third.shard_id].status is Status.PENDING
    assert merged.outcomes(["result_num_face_frames"])["result_num_face_frames"].to_pylist()[:3] == [
        shard_result(first).num_face_frames,
        1,
        None,
    ]


def test_a_plan_of_other_shards_takes_its_own_results_and_keeps_the_rest() -> None:
    fold = fold_attempts(PLAN, [attempt(shard) for shard in PLAN.shards])
    kept = PLAN.shards[3]
    other = shard_result(PLAN.shards[0])
    merged = fold.with_results(["new", kept.shard_id], {"new": other})
    assert list(merged.shards) == ["new", kept.shard_id]
    assert merged.shards["new"].result == other
    assert merged.shards[kept.shard_id].result == fold.shards[kept.shard_id].result


def test_failures_are_inherited_with_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = RunFolder.create(tmp_path / "parent", PLAN, Settings())
    child = RunFolder.create(tmp_path / "child", PLAN.model_copy(update={"run_id": "run-2"}), Settings())
    for shard in PLAN.shards:
        parent.record(attempt(shard, 1, "BUG"), flush=False)
    parent.flush_attempts()
    monkeypatch.setattr(child, "makes", lambda pair_id: pair_id == "p1")
    inherit_failures(child, parent)
    inherit_failures(child, parent)
    written = list((child.path / "attempts" / "journal").iterdir())
    assert len(written) == 1
    failed = {shard.shard_id for shard in PLAN.shards if shard.pair_id != "p1"}
    assert {shard_id for shard_id, state in child.fold().shards.items() if state.failure} == failed
