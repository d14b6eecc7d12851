"""Reading a run's reports back, for notebooks and other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from singalong.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_FILES = {
    "shards": "report.parquet",
    "pairs": "pairs.parquet",
    "montages": "montages.parquet",
    "takes": "takes.parquet",
}


def load_report(
    run: str | os.PathLike[str], table: Literal["shards", "pairs", "montages", "takes"] = "shards"
) -> pd.DataFrame:
    """A report of a run as a data frame: one row a shard, a pair, a montage, or a take of what was made again.

    `run` is the run folder. Columns are those of `singalong.report_schema`; `seconds` holds dictionaries.

    Raises UsageError when there is no such report, or when it was written by a newer version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from singalong.newer import refuse_newer
    from singalong.report_schema import REPORT_SCHEMA_VERSION, VERSION_KEY

    if table not in _FILES:
        raise UsageError("no such report table", value=table, expected=f"one of {', '.join(_FILES)}")
    path = Path(run).expanduser() / _FILES[table]
    try:
        content = pq.read_table(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError("there is no report", file=path, action=f"Write it with: singalong report {run}") from None
    except (pa.ArrowException, OSError) as exc:
        raise UsageError(
            f"the report cannot be read: {exc}", file=path, action=f"Write it again with: singalong report {run}"
        ) from exc
    refuse_newer("the report", (content.schema.metadata or {}).get(VERSION_KEY, 0), REPORT_SCHEMA_VERSION, file=path)
    frame: pd.DataFrame = content.to_pandas(maps_as_pydicts="strict")
    return frame
