"""REPORT: the run folder becomes report.parquet, pairs.parquet, montages.parquet and a page to look at.

May be written at any time, also while the run goes on; each file is replaced in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models import registry
from singalong.config import default_models_home
from singalong.contracts import ModelRef, PairPlan, ShardPlan, ShardResult, Status, SyncScore
from singalong.durable import write_atomic, write_parquet_atomic
from singalong.errors import InputError
from singalong.fold import RunFold
from singalong.frames_table import DISTANCES, MISMATCHED, UNTOUCHED
from singalong.plan import montages
from singalong.report import Film, Judge, Merge, Report, fold_report, judge_without_thresholds
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow, report_table
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds, combine_rows, verdict
from singalong.store import Store
from tasks.credentials import signing_of
from tasks.films import FilmRecord, pair_films, read_film_record
from tasks.report_page import render_page
from tasks.summary import model_notes

_SCORE_COLUMNS = [DISTANCES, MISMATCHED, UNTOUCHED]


def write_reports(run: RunFolder, store: Store, *, thresholds: Thresholds | None = None) -> list[Path]:
    """Write the three tables and index.html of a run; returns their paths.

    `thresholds` decide the verdicts; by default they are those of the scorer's card, and where it has none
    every output with a score is for review. Frames tables of finished shards are kept in the run folder on
    the way.
    """
    fold = run.fold()
    results = _results_in_store(run, store, fold)
    for shard_id, result in results.items():
        run.keep_frames(shard_id, store.frames_path(result))
    report = fold_report(
        run.plan,
        fold,
        merge=_merge_from(run),
        judge=_judge(thresholds or scorer_thresholds(run.plan.scorer)),
        segment_path=_segment_path(store, results),
        films=_pair_films(run, store, results),
        montage_films=_montage_films(run),
    )
    return _write(run, fold, report)


def pair_rows(run: RunFolder) -> dict[str, PairReportRow]:
    """Scores and verdicts of all pairs as pairs.parquet has them, by pair id; films are not looked at."""
    judge = _judge(scorer_thresholds(run.plan.scorer))
    report = fold_report(run.plan, run.fold(), merge=_merge_from(run), judge=judge)
    return {row.pair_id: row for row in report.pairs}


def scorer_thresholds(scorer: ModelRef | None) -> Thresholds | None:
    """The thresholds on a scorer's card; None where there is no scorer, no card, or nothing on it."""
    if scorer is None:
        return None
    try:
        values = registry.find_card(scorer.name, default_models_home()).thresholds
        return Thresholds.model_validate(values) if values else None
    except (InputError, ValueError):
        return None  # the model was removed or its card edited since the run: scores stay, people judge


def _write(run: RunFolder, fold: RunFold, report: Report) -> list[Path]:
    tables = {
        "report.parquet": report_table(ReportRow, report.shards),
        "pairs.parquet": report_table(PairReportRow, report.pairs),
        "montages.parquet": report_table(MontageReportRow, report.montages),
    }
    for name, table in tables.items():
        write_parquet_atomic(table, run.path / name)
    page = render_page(run, fold, report, notes=model_notes(run))
    write_atomic(run.path / "index.html", page.encode("utf-8", "replace"))
    return [*(run.path / name for name in tables), run.path / "index.html"]


def _results_in_store(run: RunFolder, store: Store, fold: RunFold) -> dict[str, ShardResult]:
    """Results of finished shards by shard id, as far as the store still has them."""
    found = {}
    for shard in run.plan.shards:
        if fold.shards[shard.shard_id].status is Status.DONE:
            result = store.find(shard.work_key)
            if result is not None:
                found[shard.shard_id] = result
    return found


def _segment_path(store: Store, results: dict[str, ShardResult]) -> Callable[[ShardResult], str | None]:
    there = {result.work_key: str(store.segment_path(result)) for result in results.values()}
    return lambda result: there.get(result.work_key)


def _judge(thresholds: Thresholds | None) -> Judge:
    if thresholds is None:
        return judge_without_thresholds
    return lambda score: verdict(score, thresholds)


def _merge_from(run: RunFolder) -> Merge:
    """Scores a pair from the frames tables in the run folder."""

    def merge(_: PairPlan, shards: Sequence[ShardPlan]) -> SyncScore | None:
        if run.plan.scorer is None:
            return SyncScore()
        try:
            tables = [pq.read_table(run.frames_path(shard.shard_id), columns=_SCORE_COLUMNS) for shard in shards]
        except (OSError, pa.ArrowException):
            return None
        return combine_rows(tables, scorer=run.plan.scorer.name, min_windows=run.settings.score.min_windows)

    return merge


def _pair_films(run: RunFolder, store: Store, results: dict[str, ShardResult]) -> dict[str, Film]:
    films = {}
    for film in pair_films(run.path, run.plan, results, store, signing=signing_of(run.settings)):
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
    if facts is None or not output.is_file():
        return Film(failure=record.failure, missing=record.missing)
    thumbnail = output.with_suffix(".jpg")
    return Film(
        path=output.relative_to(run.path).as_posix(),
        sha256=facts.sha256,
        duration_s=facts.duration_s,
        thumbnail=thumbnail.relative_to(run.path).as_posix() if thumbnail.is_file() else None,
        missing=record.missing,
    )
