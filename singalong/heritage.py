"""The files of a pass in a run folder: pass.json, and the plans of the takes before it under takes/."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.durable import write_atomic, write_parquet_atomic
from singalong.errors import UsageError
from singalong.newer import refuse_newer, version_in
from singalong.plan_table import plan_from_table, plan_to_table
from singalong.takes import PASS_SCHEMA_VERSION, Heritage, Pass

_PASS = "pass.json"


def write_heritage(run: Path, heritage: Heritage) -> None:
    """Write all of it; pass.json, which is what counts, comes last."""
    for number, plan in enumerate(heritage.plans, start=1):
        write_parquet_atomic(plan_to_table(plan), _plan_path(run, number))
    write_atomic(run / _PASS, heritage.order.model_dump_json(indent=1).encode())


def read_heritage(run: Path) -> Heritage | None:
    """What `write_heritage` wrote; None where nothing was. Raises UsageError when it cannot be read."""
    order = read_pass(run)
    if order is None:
        return None
    plans = []
    for number in range(1, len(order.earlier) + 1):
        path = _plan_path(run, number)
        try:
            plans.append(plan_from_table(pq.read_table(path), file=path))
        except UsageError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as exc:
            raise UsageError(f"an earlier take's plan cannot be read: {exc}", file=path) from exc
    return Heritage(order, tuple(plans))


def read_pass(run: Path) -> Pass | None:
    """The pass that a run folder is; None where it is none. Raises UsageError when pass.json cannot be read."""
    try:
        data = (run / _PASS).read_bytes()
        refuse_newer("the pass", version_in(data, "schema_version"), PASS_SCHEMA_VERSION, file=run / _PASS)
        return Pass.model_validate_json(data)
    except FileNotFoundError:
        return None
    except UsageError:
        raise
    except (OSError, ValueError) as exc:
        raise UsageError(f"damaged: {exc}", file=run / _PASS) from exc


def _plan_path(run: Path, number: int) -> Path:
    return run / "takes" / f"{number:04d}.parquet"
