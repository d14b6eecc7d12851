"""The columns of the report: what became of shards and pairs, a whole batch of them at once.

Names are those of `singalong.report_schema`, values Arrow arrays, or one value for all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from singalong.contracts import Failure, Plan, Row, ShardResult, Status, SyncScore, Verdict
from singalong.fold import STATUSES, Ints
from singalong.report_schema import PairReportRow, report_schema
from singalong.reviews import Decision
from singalong.scoring import Scored
from singalong.tables import from_table, schema_of

Judge = Callable[[Scored], Verdict]
"""Turns a score into a verdict, by the thresholds of the scorer."""
Merge = Callable[[Sequence[str], Sequence[ShardResult]], SyncScore | None]
"""The score of a pair of several shards, all done, by their ids and results; None when what it needs is gone."""
Columns = dict[str, Any]

PLAN_COLUMNS = (
    *("shard_id", "work_key", "start_frame", "end_frame", "pair_id", "row", "montage", "clip", "song"),
    *("clip_start_s", "clip_end_s", "song_start_s", "song_end_s", "width", "height", "fps", "num_frames"),
    *("position", "priority", "rights", "tags", "generator_name", "generator_weights_sha256"),
)
"""What the report tells of the plan."""
_RESULT = "result_"
OUTCOME_COLUMNS = (
    *(_RESULT + name for name in schema_of(ShardResult).names if name != "work_key"),
    *("failure_error_class", "failure_message"),
)
"""What it tells of the attempts that decide."""
_FACTS = (
    *("pair_id", "row", "montage", "clip", "song", "clip_start_s", "clip_end_s", "song_start_s", "song_end_s"),
    *("width", "height", "rights", "position", "priority"),
)
_BY_SEVERITY = (Status.DONE, Status.PENDING, Status.FAILED, Status.QUARANTINED)
"""A pair is as bad as its worst shard."""
_SEVERITY = np.array([_BY_SEVERITY.index(one) for one in STATUSES])
"""By the place in STATUSES."""
_TYPES = {field.name: field.type for field in report_schema(PairReportRow)}


class Film(Row):
    """A pair's or montage's film as it stands on the disk; paths are relative to the run folder."""

    path: str | None = None
    sha256: str | None = None
    duration_s: float | None = None
    thumbnail: str | None = None
    missing: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class Media:
    """What there is of some pairs: where segments lie in the store, by work key, and the pairs' films, by pair id."""

    segments: Mapping[str, str]
    films: Mapping[str, Film]


@dataclass(frozen=True)
class People:
    """What people and earlier takes have to say of pairs, by pair id.

    Attributes:
        takes: of pairs that were made more than once what `PairReportRow` says of takes.
        decisions: one about a film that has been replaced since does not count.
    """

    takes: Mapping[str, Mapping[str, object]]
    decisions: Mapping[str, Decision]

    def columns(self, pair_ids: Sequence[str], films: Sequence[str | None], *, planned: bool = True) -> Columns:
        """The columns that anybody says anything in. `films`: SHA-256 of the present film of each pair."""
        if not self.decisions and not (planned and self.takes):
            return {}
        rows = [
            {**(self.takes.get(pair_id, {}) if planned else {}), **self._ruling(pair_id, film)}
            for pair_id, film in zip(pair_ids, films, strict=True)
        ]
        names = dict.fromkeys(name for row in rows for name in row)
        fields = PairReportRow.model_fields
        return {
            name: pa.array([_plain(row.get(name, fields[name].default)) for row in rows], _TYPES[name])
            for name in names
        }

    def _ruling(self, pair_id: str, film: str | None) -> dict[str, object]:
        """What a person said of a pair's present film."""
        decision = self.decisions.get(pair_id)
        if decision is None or not decision.is_of(film):
            return {}
        return {
            "review_ruling": decision.ruling,
            "review_reason": "; ".join(filter(None, (decision.reason, decision.note))) or None,
            "review_settings": decision.settings,
            "reviewer": decision.reviewer,
        }


@dataclass(frozen=True, eq=False)
class Batch:
    """Shards of some pairs, all of each.

    Attributes:
        plan: PLAN_COLUMNS, a row a shard, those of a pair one after the other.
        outcome: OUTCOME_COLUMNS of the same shards; null where there was no attempt.
        status: (n,) of the shards, places in STATUSES.
        num_attempts: (n,) of the shards.
        firsts: the first shard of each pair.
        media: of these pairs.
    """

    plan: pa.Table
    outcome: pa.Table
    status: NDArray[np.int8]
    num_attempts: Ints
    firsts: Ints
    media: Media

    def facts(self) -> Columns:
        """What shards and pairs have in common by the plan."""
        fps = _one(self.plan["fps"]).dictionary_encode()
        rates = pa.array([float(Fraction(rate)) for rate in fps.dictionary.to_pylist()], pa.float64())
        facts: Columns = {name: _one(self.plan[name]) for name in _FACTS}
        return facts | {
            "fps": rates.take(fps.indices),
            "generator": _one(self.plan["generator_name"]),
            "weights_sha256": _one(self.plan["generator_weights_sha256"]),
        }

    def results(self, places: Ints) -> list[ShardResult | None]:
        """The results of some of the shards as records."""
        table = self.outcome.select([name for name in OUTCOME_COLUMNS if name.startswith(_RESULT)])
        table = table.rename_columns([name.removeprefix(_RESULT) for name in table.column_names])
        table = table.append_column("work_key", self.plan["work_key"]).take(pa.array(places))
        there = table["num_frames"].is_valid().to_numpy()
        found = iter(from_table(ShardResult, table.filter(pa.array(there))))
        return [next(found) if one else None for one in there]


class _Score(NamedTuple):
    scorer: str | None
    confidence: float | None
    offset_frames: int | None
    confidence_mismatched: float | None


def run_columns(head: Plan) -> Columns:
    """What all rows say of the run."""
    return {"run_id": head.run_id, "parent_run_id": head.parent_run_id}


def model_columns(head: Plan) -> Columns:
    """What all rows that were planned say of the run's models."""
    enhancer = head.enhancer
    return {
        "enhancer": f"{enhancer.name} {enhancer.weights_sha256}" if enhancer else None,
        "scorer": head.scorer.name if head.scorer else None,
        "detector": head.detector.name,
    }


def shard_columns(batch: Batch, head: Plan, judge: Judge) -> Columns:
    """The columns of the shards."""
    plan, outcome = batch.plan, {name: _one(batch.outcome[name]) for name in OUTCOME_COLUMNS}
    start, end = _one(plan["start_frame"]), _one(plan["end_frame"])
    segments, keys = batch.media.segments, plan["work_key"].to_pylist() if batch.media.segments else ()
    return {
        **run_columns(head),
        **batch.facts(),
        **model_columns(head),
        **_made(outcome),
        **_scored(outcome, judge, head),
        "shard_id": _one(plan["shard_id"]),
        "work_key": _one(plan["work_key"]),
        "start_frame": start,
        "end_frame": end,
        "num_frames": pc.subtract(end, start),
        "status": pa.array(STATUSES, pa.string()).take(pa.array(batch.status)),
        "num_attempts": pa.array(batch.num_attempts),
        "error_class": outcome["failure_error_class"],
        "error_message": outcome["failure_message"],
        "output": _where(outcome["result_num_frames"], [segments.get(key) for key in keys]) if segments else None,
    }


def pair_columns(batch: Batch, shards: Columns, head: Plan, *, judge: Judge, merge: Merge, people: People) -> Columns:
    """The columns of the pairs, from those of their shards; of several shards what adds up, and the score of all."""
    counts = np.diff(batch.firsts, append=len(batch.status))
    done = (batch.status == STATUSES.index(Status.DONE)).astype(np.int64)
    firsts = pa.array(batch.firsts)
    columns = {
        name: value.take(firsts) if isinstance(value, pa.Array) else value
        for name, value in shards.items()
        if name in _TYPES
    }
    several = np.flatnonzero(counts > 1)
    if len(several):
        columns |= _of_several(batch, columns, several, judge=judge, merge=merge, head=head)
    pair_ids = columns["pair_id"].cast(pa.string()).to_pylist()
    films = [batch.media.films.get(pair_id, _NO_FILM) for pair_id in pair_ids]
    return {
        **columns,
        "num_frames": _one(batch.plan["num_frames"]).take(firsts),
        "num_shards": pa.array(counts),
        "num_done": pa.array(np.add.reduceat(done, batch.firsts)),
        "num_attempts": pa.array(np.add.reduceat(batch.num_attempts, batch.firsts)),
        **_pair_states(batch, shards, films),
        "output": pa.array([film.path for film in films], pa.string()),
        "output_sha256": pa.array([film.sha256 for film in films], pa.string()),
        "thumbnail": pa.array([film.thumbnail for film in films], pa.string()),
        "duration_s": pa.array([film.duration_s for film in films], pa.float64()),
        **people.columns(pair_ids, [film.sha256 for film in films]),
    }


_NO_FILM = Film()


def _made(outcome: Mapping[str, pa.Array]) -> Columns:
    """What results say but for their scores; null where there is none."""
    frames = outcome["result_num_frames"].cast(pa.float64())
    return {
        "face_coverage": pc.divide(outcome["result_num_face_frames"].cast(pa.float64()), frames),
        "passed_through": _filled(outcome["result_passed_through"]),
        "voiced_share": pc.divide(outcome["result_num_voiced_frames"].cast(pa.float64()), frames),
        "rest_motion": pc.divide(pc.multiply(outcome["result_rest_motion"], frames), frames),
        "seconds_total": _sums(outcome["result_seconds"]),
        "seconds": _filled(outcome["result_seconds"]),
        "peak_rss_mb": outcome["result_peak_rss_mb"],
        "created_at": outcome["result_created_at"],
        "device": outcome["result_device"],
        "node": outcome["result_node"],
        "output_sha256": outcome["result_segment_sha256"],
    }


def _scored(outcome: Mapping[str, pa.Array], judge: Judge, head: Plan) -> Columns:
    names = ("scorer", "confidence", "offset_frames", "confidence_mismatched")
    rows = zip(*(outcome[f"result_score_{name}"].to_pylist() for name in names), strict=True)
    there = outcome["result_num_frames"].is_valid().to_pylist()
    verdicts = [judge(_Score(*row)).value if is_done else None for row, is_done in zip(rows, there, strict=True)]
    scorer = pa.scalar(head.scorer.name if head.scorer else None, pa.string())
    return {
        "scorer": pc.coalesce(outcome["result_score_scorer"], scorer),
        "verdict": pa.array(verdicts, pa.string()),
        "sync_confidence": outcome["result_score_confidence"],
        "sync_distance": outcome["result_score_distance"],
        "sync_offset_frames": outcome["result_score_offset_frames"],
        "confidence_mismatched": outcome["result_score_confidence_mismatched"],
        "confidence_untouched": outcome["result_score_confidence_untouched"],
        "num_windows": outcome["result_score_num_windows"],
    }


def _of_several(batch: Batch, columns: Columns, several: Ints, *, judge: Judge, merge: Merge, head: Plan) -> Columns:
    """The columns in which pairs of several shards do not say what their first shard does."""
    bounds = np.append(batch.firsts, len(batch.status))
    own = [np.arange(bounds[pair], bounds[pair + 1]) for pair in several.tolist()]
    found = iter(batch.results(np.concatenate(own)))
    ids = batch.plan["shard_id"].take(pa.array(np.concatenate(own))).to_pylist()
    rows, start = [], 0
    for places in own:
        results = [result for result in (next(found) for _ in places) if result is not None]
        shard_ids, start = ids[start : start + len(places)], start + len(places)
        rows.append(totals(results) if results else {})
        if len(results) == len(places) and (score := merge(shard_ids, results)) is not None:
            rows[-1] |= score_values(score, judge)
    unset = {"passed_through": {}, "scorer": model_columns(head)["scorer"]}
    return {
        name: _patched(columns[name], several, [row.get(name, unset.get(name)) for row in rows], name)
        for name in _SUMMED
    }


def totals(results: Sequence[ShardResult]) -> dict[str, Any]:
    """What adds up, or averages, over the finished shards of a pair."""
    num_frames = sum(result.num_frames for result in results)
    passed: Counter[str] = Counter()
    for result in results:
        passed.update(result.passed_through)
    rests = [(result.rest_motion, result.num_frames) for result in results if result.rest_motion is not None]
    return {
        "face_coverage": sum(result.num_face_frames for result in results) / num_frames,
        "passed_through": dict(passed),
        "voiced_share": sum(result.num_voiced_frames for result in results) / num_frames,
        "rest_motion": sum(rest * n for rest, n in rests) / sum(n for _, n in rests) if rests else None,
        "seconds_total": sum(sum(result.seconds.values()) for result in results),
        "peak_rss_mb": max(result.peak_rss_mb for result in results),
        "created_at": max(result.created_at for result in results),
    }


def score_values(score: SyncScore, judge: Judge) -> dict[str, Any]:
    """What a row says of a score."""
    scorer = {} if score.scorer is None else {"scorer": score.scorer}
    return scorer | {
        "verdict": judge(score).value,
        "sync_confidence": score.confidence,
        "sync_distance": score.distance,
        "sync_offset_frames": score.offset_frames,
        "confidence_mismatched": score.confidence_mismatched,
        "confidence_untouched": score.confidence_untouched,
        "num_windows": score.num_windows,
    }


_SUMMED = (
    *("face_coverage", "passed_through", "voiced_share", "rest_motion", "seconds_total", "peak_rss_mb", "created_at"),
    *("scorer", "verdict", "sync_confidence", "sync_distance", "sync_offset_frames"),
    *("confidence_mismatched", "confidence_untouched", "num_windows"),
)


def _pair_states(batch: Batch, shards: Columns, films: Sequence[Film]) -> Columns:
    """A pair is as bad as its worst shard, and done only when its film stands."""
    severity = _SEVERITY[batch.status]
    worst = np.maximum.reduceat(severity, batch.firsts)
    counts = np.diff(batch.firsts, append=len(severity))
    places = np.where(severity == np.repeat(worst, counts), np.arange(len(severity)), len(severity))
    deciding = pa.array(np.minimum.reduceat(places, batch.firsts))
    failed = [n for n in np.flatnonzero(worst == 0).tolist() if films[n].failure is not None]
    pending = np.array([film.path is None for film in films])
    worst = np.where((worst == 0) & pending, 1, worst)
    worst[failed] = 2
    failures = [films[n].failure for n in failed]
    columns = {"error_class": [one.error_class.value for one in failures if one]}
    columns["error_message"] = [one.message for one in failures if one]
    found: Columns = {"status": pa.array(_BY_SEVERITY, pa.string()).take(pa.array(worst))}
    for name, values in columns.items():
        column = shards[name].take(deciding)
        found[name] = _patched(column, np.array(failed, np.int64), values, name)
    return found


def _patched(column: pa.Array, places: Ints, values: list[Any], name: str) -> pa.Array:
    """The column of this name with other values at some places."""
    if not len(places):
        return column
    others = pa.array([_plain(value) for value in values], _TYPES[name])
    index = np.arange(len(column))
    index[places] = len(column) + np.arange(len(places))
    return pa.concat_arrays([column.cast(_TYPES[name]), others]).take(pa.array(index))


def _plain(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column of a batch in one piece."""
    whole = column.combine_chunks()
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _where(there: pa.Array, values: list[Any]) -> pa.Array:
    return pa.array(values, pa.string(), mask=~there.is_valid().to_numpy(zero_copy_only=False))


def _filled(maps: pa.MapArray) -> pa.Array:
    """Maps with empty ones in place of nulls."""
    if not maps.null_count:
        return maps
    index = np.where(maps.is_valid().to_numpy(zero_copy_only=False), np.arange(len(maps)), len(maps))
    return pa.concat_arrays([maps, pa.array([[]], maps.type)]).take(pa.array(index))


def _sums(maps: pa.MapArray) -> pa.Array:
    """The sum of each map's values; null where there is no map."""
    there = maps.is_valid().to_numpy(zero_copy_only=False)
    offsets = maps.offsets.to_numpy()
    values = maps.items.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]]
    rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
    return pa.array(np.bincount(rows, weights=values, minlength=len(maps)), mask=~there)
