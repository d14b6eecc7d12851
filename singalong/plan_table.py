"""plan.parquet: one row a shard with all it needs to know of its pair, the rest of the plan in the file's
metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from singalong.contracts import PairPlan, Plan, ShardPlan
from singalong.newer import refuse_newer
from singalong.tables import from_table, schema_of, to_table

PLAN_SCHEMA_VERSION = 2
"""2: pairs may have settings of their own. A reader of version 1 would make them without."""
PLAN_VERSION_KEY = b"singalong.plan_version"
"""In the metadata of a run folder's plans: their number."""
_METADATA_KEY = b"singalong.plan"
PAIR_ORDER = "pair_order"
"""Column that tells which of the plan's pairs a shard is of, and their order."""
_OUTLINE = ["shard_id", "work_key", "start_frame", "end_frame", PAIR_ORDER]


_SHARED = frozenset(
    field.name for field in schema_of(PairPlan) if pa.types.is_string(field.type) and field.name != "pair_id"
)


class PlanOutline:
    """What a plan asks for, as columns: enough to say where a run stands, at a hundredth of the whole plan's cost.

    Attributes:
        head: the plan without its pairs and shards.
        shard_ids, work_keys: in the order of the plan.
        num_frames: (n,) of each shard.
        num_pairs: pairs that could be planned.
        version: number of the plan in its run folder; 0 for a plan that is in none.
    """

    def __init__(self, table: pa.Table, *, file: Path | None = None) -> None:
        """Raises as `plan_from_table` does, and KeyError where a column is missing."""
        self.head = plan_head(table, file=file)
        self.version = int(table.schema.metadata.get(PLAN_VERSION_KEY, 0))
        self.shard_ids: list[str] = table["shard_id"].to_pylist()
        self.work_keys: list[str] = table["work_key"].to_pylist()
        frames = table["end_frame"].to_numpy() - table["start_frame"].to_numpy()
        self.num_frames: NDArray[np.int64] = frames.astype(np.int64)
        self.num_pairs = len(np.unique(table[PAIR_ORDER].to_numpy()))

    @classmethod
    def of(cls, plan: Plan) -> PlanOutline:
        """The outline of a plan."""
        outline = cls.__new__(cls)
        outline.head, outline.version = plan.model_copy(update={"pairs": (), "shards": ()}), 0
        outline.num_pairs = len(plan.pairs)
        outline.shard_ids = [shard.shard_id for shard in plan.shards]
        outline.work_keys = [shard.work_key for shard in plan.shards]
        outline.num_frames = np.array([shard.num_frames for shard in plan.shards], np.int64)
        return outline

    @classmethod
    def read(cls, file: Path) -> PlanOutline:
        """The outline of a plan in a file, of which it reads no more."""
        return cls(pq.read_table(file, columns=_OUTLINE, page_checksum_verification=True), file=file)


def plan_to_table(plan: Plan) -> pa.Table:
    """The plan as a table; `plan_from_table` gives back exactly the same plan."""
    order = {pair.pair_id: number for number, pair in enumerate(plan.pairs)}
    pair_numbers = pa.array([order[shard.pair_id] for shard in plan.shards], pa.int64())
    shards = to_table(ShardPlan, plan.shards)
    pairs = to_table(PairPlan, plan.pairs).take(pair_numbers)
    table = shards.append_column(pa.field(PAIR_ORDER, pa.int64(), nullable=False), pair_numbers)
    for name in pairs.column_names:
        if name not in shards.column_names:
            table = table.append_column(pairs.schema.field(name), pairs[name])
    rest = plan.model_dump(mode="json", exclude={"pairs", "shards"}) | {"schema_version": PLAN_SCHEMA_VERSION}
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(rest).encode()})


def read_plan_table(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table of `plan_to_table` from a file, or some of its columns; those that are as a rule the same in many rows
    are encoded by their values.
    """
    names = [name for name in pq.read_schema(file).names if columns is None or name in columns]
    shared = [name for name in names if name in _SHARED]
    return pq.read_table(file, columns=names, read_dictionary=shared, page_checksum_verification=True)


def plan_head(table: pa.Table, *, file: Path | None = None) -> Plan:
    """The plan of a table without its pairs and shards. Raises as `plan_from_table` does."""
    return Plan(**_rest_of(table, file), pairs=(), shards=())


def plan_from_table(table: pa.Table, *, file: Path | None = None) -> Plan:
    """The plan that `plan_to_table` stored. Raises ValueError when the table is no plan, UsageError when it is of a
    newer version.
    """
    rest = _rest_of(table, file)
    numbers = table[PAIR_ORDER].to_numpy()
    _, first_rows = np.unique(numbers, return_index=True)
    pairs = table.take(pa.array(first_rows))
    return Plan(**rest, pairs=tuple(from_table(PairPlan, pairs)), shards=tuple(from_table(ShardPlan, table)))


def _rest_of(table: pa.Table, file: Path | None) -> dict[str, Any]:
    """All of a plan that is not in the rows of its table."""
    metadata = (table.schema.metadata or {}).get(_METADATA_KEY)
    if metadata is None:
        raise ValueError("not a plan of singalong")
    rest: dict[str, Any] = json.loads(metadata)
    refuse_newer("the plan", rest.pop("schema_version"), PLAN_SCHEMA_VERSION, file=file)
    return rest
