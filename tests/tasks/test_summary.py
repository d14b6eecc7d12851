"""The end of a run in words and numbers."""

from pathlib import Path

from singalong.config import Settings
from singalong.runfolder import RunFolder
from tasks.summary import run_notes
from tests.singalong.builders import attempt, pair_row, plan_of, shard_result


def test_a_pair_that_sings_in_none_of_its_frames_is_mentioned(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", plan_of([pair_row(n, song_end_s=16) for n in (1, 2, 3)]), Settings())
    for shard in run.plan.shards:
        some = shard.pair_id == "p2" and shard.index == 1
        if (shard.pair_id, shard.index) != ("p3", 1):  # which is not done yet
            run.record(attempt(shard, result=shard_result(shard, num_face_frames=int(some))))
    (note,) = run_notes(run)
    assert note.startswith("p1 sings in none of its frames")
