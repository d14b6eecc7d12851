"""REVIEW: what the review page is told of a run, folded from its folder and the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.contracts import PairPlan, Plan
from singalong.report_schema import PairReportRow
from singalong.runfolder import RunFolder
from singalong.store import Store
from tasks.analyse import CACHE_KIND, analysis_version
from tasks.report import fold_run
from tasks.standing import standing

_CLIPS_REMEMBERED = 256


class Look:
    """Folds a run again and again, as it goes on; attempts that were read are not read again."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def __call__(self) -> tuple[Sequence[PairReportRow], Plan, str | None]:
        """Rows of pairs.parquet as it would be written now, the plan of the takes that stand, and who works on it."""
        if _plan_changed(self._run):
            self._run = RunFolder.open(self._run.path)
        run, store = self._run, Store(self._run.settings.store_path)
        stands = standing(run, store)
        return fold_run(run, store, stands).pairs, stands.plan, run.holder()


def shot_starts(run: RunFolder) -> Callable[[PairPlan], tuple[float, ...]]:
    """Tells where the shots of a pair's clip begin, seconds; nothing where its analysis is not in the store any more."""
    store, version = Store(run.settings.store_path), analysis_version(run.settings.analysis, run.plan.detector)

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


def _read(path: Path) -> tuple[float, ...]:
    try:
        return tuple(sorted(pq.read_table(path, columns=["start_s"])["start_s"].to_pylist()))
    except (OSError, pa.ArrowException):
        return ()
