"""plan.parquet: one row a shard with all it needs to know of its pair, the rest of the plan in the file's
metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from singalong.contracts import PairPlan, Plan, ShardPlan
from singalong.newer import refuse_newer
from singalong.tables import from_table, to_table

PLAN_SCHEMA_VERSION = 2
"""2: pairs may have settings of their own. A reader of version 1 would make them without."""
_METADATA_KEY = b"singalong.plan"
_PAIR_ORDER = "pair_order"


def plan_to_table(plan: Plan) -> pa.Table:
    """The plan as a table; `plan_from_table` gives back exactly the same plan."""
    order = {pair.pair_id: number for number, pair in enumerate(plan.pairs)}
    pair_numbers = pa.array([order[shard.pair_id] for shard in plan.shards], pa.int64())
    shards = to_table(ShardPlan, plan.shards)
    pairs = to_table(PairPlan, plan.pairs).take(pair_numbers)
    table = shards.append_column(pa.field(_PAIR_ORDER, pa.int64(), nullable=False), pair_numbers)
    for name in pairs.column_names:
        if name not in shards.column_names:
            table = table.append_column(pairs.schema.field(name), pairs[name])
    rest = plan.model_dump(mode="json", exclude={"pairs", "shards"}) | {"schema_version": PLAN_SCHEMA_VERSION}
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(rest).encode()})


def plan_from_table(table: pa.Table, *, file: Path | None = None) -> Plan:
    """The plan that `plan_to_table` stored. Raises ValueError when the table is no plan, UsageError when it is of a
    newer version.
    """
    metadata = (table.schema.metadata or {}).get(_METADATA_KEY)
    if metadata is None:
        raise ValueError("not a plan of singalong")
    rest: dict[str, Any] = json.loads(metadata)
    refuse_newer("the plan", rest.pop("schema_version"), PLAN_SCHEMA_VERSION, file=file)
    first_rows: dict[int, int] = {}
    for row, number in enumerate(table[_PAIR_ORDER].to_pylist()):
        first_rows.setdefault(number, row)
    pairs = table.take(pa.array([first_rows[number] for number in sorted(first_rows)], pa.int64()))
    return Plan(**rest, pairs=tuple(from_table(PairPlan, pairs)), shards=tuple(from_table(ShardPlan, table)))
