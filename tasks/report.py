"""REPORT: the run folder becomes report.parquet, pairs.parquet, montages.parquet and a page to look at.

May be written at any time, also while the run goes on; each file is replaced in one step. Tables are written in parts:
a run of a million pairs takes the memory of some thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong.contracts import ShardResult, Status, SyncScore
from singalong.durable import parquet_atomic, write_atomic, write_parquet_atomic
from singalong.fold import STATUSES, Ints
from singalong.plan_table import plan_from_table
from singalong.remote_run import size_of
from singalong.report import NEEDED_OF_PLAN, Film, Media, Merge, Report
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow, report_table, rows_of
from singalong.reviews import read_decisions
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds
from singalong.store import Store
from singalong.takes import JudgedTake, best_take
from tasks.credentials import signing_of
from tasks.films import FilmRecord, pair_films, read_film_record
from tasks.record import keep_frames
from tasks.report_files import ReportFiles
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
    report = fold_run(run, store, stands, thresholds=thresholds, keep=True)
    with (
        parquet_atomic(run.path / "report.parquet", _named(report.schema(ReportRow), run)) as write_shards,
        parquet_atomic(run.path / "pairs.parquet", _named(report.schema(PairReportRow), run)) as write_pairs,
    ):
        for part in report.parts():
            write_shards(part.shards)
            write_pairs(part.pairs)
    files = ReportFiles(run.path)
    films = _montage_films(run, files.montage_names())
    montages = report.montages(films, files.montage_pairs())
    tables = {"montages.parquet": report_table(MontageReportRow, montages)}
    if run.heritage is not None:
        tables["takes.parquet"] = take_table(stands)
    for name, table in tables.items():
        write_parquet_atomic(table.replace_schema_metadata(_named(table.schema, run).metadata), run.path / name)
    page = render_page(run, stands.fold, files, montages, notes=run_notes(run))
    write_atomic(run.path / "index.html", page.encode("utf-8", "replace"))
    return [run.path / name for name in ("report.parquet", "pairs.parquet", *tables, "index.html")]


def is_reported(run: RunFolder) -> bool:
    """Whether the report that stands there is of the plan in force."""
    try:
        metadata = pq.read_schema(run.path / "report.parquet").metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return metadata.get(_PLAN_KEY) == str(run.version).encode() and (run.path / "index.html").exists()


def fold_run(
    run: RunFolder, store: Store, stands: Standing, *, thresholds: Thresholds | None = None, keep: bool = False
) -> Report:
    """The report of a run, of the takes that stand. `keep`: have the frames tables of its shards in the run folder."""
    asked = _asked(run)
    return Report(
        stands.plan_table(NEEDED_OF_PLAN),
        stands.fold,
        merge=_merge(run, store),
        judge=judge_of(thresholds),
        media=_media(run, store, stands, keep=keep),
        takes={pair_id: _facts_of(takes) | asked.get(pair_id, {}) for pair_id, takes in stands.takes.items()},
        decisions=read_decisions(run.path),
    )


def pair_rows(run: RunFolder, store: Store, stands: Standing) -> dict[str, PairReportRow]:
    """Scores and verdicts of all pairs as pairs.parquet has them, by pair id; films are not looked at."""
    report = Report(stands.plan_table(NEEDED_OF_PLAN), stands.fold, merge=_merge(run, store), judge=judge_of())
    return {row.pair_id: row for part in report.parts() for row in rows_of(PairReportRow, part.pairs)}


def _named(schema: pa.Schema, run: RunFolder) -> pa.Schema:
    """The schema with the number of the plan that the report is of."""
    return schema.with_metadata({**(schema.metadata or {}), _PLAN_KEY: str(run.version)})


def _merge(run: RunFolder, store: Store) -> Merge:
    """Scores a pair from the frames tables of its shards."""

    def merge(shard_ids: Sequence[str], results: Sequence[ShardResult]) -> SyncScore | None:
        return score_of_pair(shard_ids, results, run, store)

    return merge


def _media(run: RunFolder, store: Store, stands: Standing, *, keep: bool) -> Callable[[Ints], Media]:
    """Looks up what the store and the run folder have of some pairs, by the numbers of all their shards."""
    done = stands.fold.status == STATUSES.index(Status.DONE)
    tables: list[pa.Table] = []  # the whole plan, read once the store has anything

    def media(numbers: Ints) -> Media:
        finished = numbers[done[numbers]]
        keys = stands.work_keys_at(finished)
        found = store.find_many(keys)
        results = {number: found[key] for number, key in zip(finished.tolist(), keys, strict=True) if key in found}
        if not results:
            return Media({}, {})
        if keep:
            for number, result in results.items():
                keep_frames(run, store, stands.fold.shard_ids[number], result)
        if not tables:
            tables.append(stands.plan_table())
        segments = {key: store.segment_address(result) for key, result in found.items()}
        return Media(segments, _pair_films(run, store, tables[0].take(pa.array(numbers)), stands, results))

    return media


def _pair_films(
    run: RunFolder, store: Store, table: pa.Table, stands: Standing, results: Mapping[int, ShardResult]
) -> dict[str, Film]:
    """The films of the pairs in these rows of the plan, of which there are these results by number."""
    plan, named = plan_from_table(table), {stands.fold.shard_ids[number]: result for number, result in results.items()}
    films = {}
    for film in pair_films(run.path, plan, named, store, signing=signing_of(run.settings)):
        record = read_film_record(film.record_path)
        if record is not None and record.key == film.key():
            films[film.name] = _film(run, record, film.output)
    return films


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


def _montage_films(run: RunFolder, names: Iterable[str]) -> dict[str, Film]:
    films = {}
    for name in names:
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
