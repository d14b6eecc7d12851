"""REPORT: the run folder becomes report.parquet, pairs.parquet, montages.parquet and a page to look at.

May be written at any time, also while the run goes on; each file is replaced in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.contracts import PairPlan, ShardPlan, ShardResult, SyncScore
from singalong.durable import write_atomic, write_parquet_atomic
from singalong.plan import montages
from singalong.remote_run import size_of
from singalong.report import Film, Merge, Report, fold_report
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow, report_table
from singalong.reviews import read_decisions
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds
from singalong.store import Store
from singalong.takes import JudgedTake, best_take
from tasks.credentials import signing_of
from tasks.films import FilmRecord, pair_films, read_film_record
from tasks.record import keep_frames
from tasks.report_page import render_page
from tasks.standing import Standing, judge_of, score_of_pair, standing
from tasks.summary import run_notes
from tasks.take_table import take_table

_PLAN_KEY = b"singalong.plan_version"


def write_reports(run: RunFolder, store: Store, *, thresholds: Thresholds | None = None) -> list[Path]:
    """Write the tables and index.html of a run; returns their paths.

    `thresholds` decide the verdicts; by default they are those of the scorer's card, and where it has none
    every output with a score is for review. Frames tables of finished shards are kept in the run folder on
    the way.
    """
    stands = standing(run, store, thresholds=thresholds)
    for shard_id, result in stands.results.items():
        keep_frames(run, store, shard_id, result)
    return _write(run, stands, fold_run(run, store, stands, thresholds=thresholds))


def is_reported(run: RunFolder) -> bool:
    """Whether the report that stands there is of the plan in force."""
    try:
        metadata = pq.read_schema(run.path / "report.parquet").metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return metadata.get(_PLAN_KEY) == str(run.version).encode() and (run.path / "index.html").exists()


def fold_run(run: RunFolder, store: Store, stands: Standing, *, thresholds: Thresholds | None = None) -> Report:
    """All rows of a run's report, of the takes that stand."""
    asked = _asked(run)
    return fold_report(
        stands.plan,
        stands.fold,
        merge=_merge(run, store, stands),
        judge=judge_of(thresholds),
        segment_path=_segment_path(store, stands.results),
        films=_pair_films(run, store, stands),
        montage_films=_montage_films(run),
        takes={pair_id: _facts_of(takes) | asked.get(pair_id, {}) for pair_id, takes in stands.takes.items()},
        decisions=read_decisions(run.path),
    )


def pair_rows(run: RunFolder, store: Store, stands: Standing) -> dict[str, PairReportRow]:
    """Scores and verdicts of all pairs as pairs.parquet has them, by pair id; films are not looked at."""
    report = fold_report(stands.plan, stands.fold, merge=_merge(run, store, stands), judge=judge_of())
    return {row.pair_id: row for row in report.pairs}


def _write(run: RunFolder, stands: Standing, report: Report) -> list[Path]:
    tables = {
        "report.parquet": report_table(ReportRow, report.shards),
        "pairs.parquet": report_table(PairReportRow, report.pairs),
        "montages.parquet": report_table(MontageReportRow, report.montages),
    }
    if run.heritage is not None:
        tables["takes.parquet"] = take_table(stands)
    for name, table in tables.items():
        named = {**(table.schema.metadata or {}), _PLAN_KEY: str(run.version)}
        write_parquet_atomic(table.replace_schema_metadata(named), run.path / name)
    page = render_page(run, stands.fold, report, notes=run_notes(run))
    write_atomic(run.path / "index.html", page.encode("utf-8", "replace"))
    return [*(run.path / name for name in tables), run.path / "index.html"]


def _segment_path(store: Store, results: dict[str, ShardResult]) -> Callable[[ShardResult], str | None]:
    there = {result.work_key: store.segment_address(result) for result in results.values()}
    return lambda result: there.get(result.work_key)


def _merge(run: RunFolder, store: Store, stands: Standing) -> Merge:
    """Scores a pair from the frames tables of its shards."""

    def merge(_: PairPlan, shards: Sequence[ShardPlan]) -> SyncScore | None:
        results = [stands.fold.shards[shard.shard_id].result for shard in shards]
        return score_of_pair(shards, [result for result in results if result is not None], run, store)

    return merge


def _facts_of(takes: Sequence[JudgedTake]) -> dict[str, object]:
    before = best_take(takes[:-1]) if len(takes) > 1 else None
    return {
        "num_takes": len(takes),
        "take_run_id": best_take(takes).take.run_id,
        "confidence_before": before.score.confidence if before else None,
        "verdict_before": before.verdict if before else None,
    }


def _asked(run: RunFolder) -> dict[str, dict[str, object]]:
    """What `PairReportRow` says of what people asked for, by pair id."""
    if run.heritage is None:
        return {}
    return {
        one.pair_id: {"asked_settings": one.settings, "asked_by": one.reviewer, "asked_reason": one.reason}
        for one in run.heritage.order.asked
    }


def _pair_films(run: RunFolder, store: Store, stands: Standing) -> dict[str, Film]:
    films = {}
    for film in pair_films(run.path, stands.plan, stands.results, store, signing=signing_of(run.settings)):
        record = film.standing() or read_film_record(film.record_path)
        if record is not None and record.key == film.key():
            films[film.name] = _film(run, record, film.output)
    return films


def _montage_films(run: RunFolder) -> dict[str, Film]:
    films = {}
    for name in montages(run.plan.pairs):
        output = run.path / "montages" / f"{name}.mp4"
        record = read_film_record(output.with_suffix(".json"))
        if record is not None:
            films[name] = _film(run, record, output)
    return films


def _film(run: RunFolder, record: FilmRecord, output: Path) -> Film:
    facts = record.film
    if facts is None or size_of(output) is None:
        return Film(failure=record.failure, missing=record.missing)
    thumbnail = output.with_suffix(".jpg")
    return Film(
        path=output.relative_to(run.path).as_posix(),
        sha256=facts.sha256,
        duration_s=facts.duration_s,
        thumbnail=thumbnail.relative_to(run.path).as_posix() if size_of(thumbnail) is not None else None,
        missing=record.missing,
    )
