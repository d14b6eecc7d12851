"""REVIEW: what the review page is told of a run, folded from its folder and the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.contracts import PairPlan, Plan
from singalong.remote_run import refresh
from singalong.remote_store import store_of
from singalong.report_schema import PairReportRow, rows_of
from singalong.runfolder import RunFolder
from tasks.analyse import CACHE_KIND, analysis_version
from tasks.report import fold_run
from tasks.standing import standing

_CLIPS_REMEMBERED = 256


class Look:
    """Folds a run again and again, as it goes on; attempts that were read are not read again.

    The first look takes pairs.parquet as it is where nothing was written since: of 5,000 pairs that saves ten seconds.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._is_first = True

    def __call__(self) -> tuple[Sequence[PairReportRow], Plan, str | None]:
        """Rows of pairs.parquet as it would be written now, the plan of the takes that stand, and who works on it."""
        refresh(self._run.path)
        if _plan_changed(self._run):
            self._run = RunFolder.open(self._run.path)
        run, store = self._run, store_of(self._run.settings)
        written = _written_report(run) if self._is_first else None
        self._is_first = False
        if written is not None:
            return written, run.plan, run.holder()
        stands = standing(run, store)
        rows = [row for part in fold_run(run, store, stands).parts() for row in rows_of(PairReportRow, part.pairs)]
        return rows, stands.plan, run.holder()


def shot_starts(run: RunFolder) -> Callable[[PairPlan], tuple[float, ...]]:
    """Tells where the shots of a pair's clip begin, seconds; nothing where the store has no analysis of it."""
    store, version = store_of(run.settings), analysis_version(run.settings.analysis, run.plan.detector)

    @lru_cache(_CLIPS_REMEMBERED)
    def of_clip(sha256: str) -> tuple[float, ...]:
        folder = store.cached(CACHE_KIND, sha256, version)
        return () if folder is None else _read(folder / "shots.parquet")

    return lambda pair: of_clip(pair.clip_sha256)


def _plan_changed(run: RunFolder) -> bool:
    try:
        metadata = pq.read_schema(run.path / "plan.parquet").metadata or {}
        return int(metadata.get(b"singalong.plan_version", b"0")) != run.version
    except (OSError, pa.ArrowException, ValueError):
        return False


def _written_report(run: RunFolder) -> list[PairReportRow] | None:
    """The rows of pairs.parquet if they are of the run as it stands; None in a pass, which shows earlier takes, too."""
    path = run.path / "pairs.parquet"
    try:
        written_ns = path.stat().st_mtime_ns
        if run.heritage is not None or run.holder() is not None or _last_change_ns(run.path) > written_ns:
            return None
        table = pq.read_table(path)
        if not set(PairReportRow.model_fields) - {"tags"} <= set(table.column_names):
            return None  # of an earlier version
        return rows_of(PairReportRow, table)
    except (OSError, pa.ArrowException, ValueError):
        return None


def _last_change_ns(run: Path) -> int:
    """When the plan, an attempt or a film was last written."""
    folders = (run / "plan.parquet", run / "outputs", *(run / "attempts").glob("*"))
    return max((path.stat().st_mtime_ns for path in folders if path.exists()), default=0)


def _read(path: Path) -> tuple[float, ...]:
    try:
        return tuple(sorted(pq.read_table(path, columns=["start_s"])["start_s"].to_pylist()))
    except (OSError, pa.ArrowException):
        return ()
