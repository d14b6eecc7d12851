"""takes.parquet: all takes of the pairs that were made more than once, and which of them stand."""

from __future__ import annotations

import pyarrow as pa

from singalong.report_schema import TakeRow, report_table
from singalong.takes import JudgedTake
from tasks.standing import Standing


def take_table(stands: Standing) -> pa.Table:
    """A row a take, by pair, the oldest first."""
    rows = []
    for pair_id, takes in stands.takes.items():
        best = stands.best(pair_id)
        rows += [
            _row(stands.plan.run_id, number, judged, stands=judged is best)
            for number, judged in enumerate(takes, start=1)
        ]
    return report_table(TakeRow, rows)


def _row(run_id: str, number: int, judged: JudgedTake, *, stands: bool) -> TakeRow:
    take, score = judged.take, judged.score
    return TakeRow(
        run_id=run_id,
        pair_id=take.pair.pair_id,
        take=number,
        take_run_id=take.run_id,
        stands=stands,
        done=judged.results is not None,
        rejected=take.rejected,
        verdict=judged.verdict,
        sync_confidence=score.confidence,
        sync_distance=score.distance,
        sync_offset_frames=score.offset_frames,
        scorer=score.scorer,
        generator=take.pair.generator.name,
        weights_sha256=take.pair.generator.weights_sha256,
        work_keys=tuple(shard.work_key for shard in take.shards),
    )
