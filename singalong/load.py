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

    `run` is the run folder, or its s3:// URL. Columns are those of `singalong.report_schema`; `seconds` holds
    dictionaries.

    Raises UsageError when there is no such report, or when it was written by a newer version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from singalong.newer import refuse_newer
    from singalong.objects import ObjectFolder, is_url
    from singalong.report_schema import REPORT_SCHEMA_VERSION, VERSION_KEY

    if table not in _FILES:
        raise UsageError("no such report table", value=table, expected=f"one of {', '.join(_FILES)}")
    name, again = _FILES[table], f"singalong report {run}"
    place = f"{run}/{name}" if is_url(run) else str(Path(run).expanduser() / name)
    try:
        content = pq.read_table(pa.BufferReader(ObjectFolder.at(str(run)).read(name)) if is_url(run) else place)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError("there is no report", file=place, action=f"Write it with: {again}") from None
    except (pa.ArrowException, OSError) as exc:
        raise UsageError(
            f"the report cannot be read: {exc}", file=place, action=f"Write it again with: {again}"
        ) from exc
    version = (content.schema.metadata or {}).get(VERSION_KEY, 0)
    refuse_newer("the report", version, REPORT_SCHEMA_VERSION, file=place)
    frame: pd.DataFrame = content.to_pandas(maps_as_pydicts="strict")
    return frame
