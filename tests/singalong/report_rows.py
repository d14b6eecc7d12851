"""The report once more, row by row and plainly: what the report by columns must come to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from singalong.contracts import (
    Failure,
    PairPlan,
    Plan,
    RowProblem,
    ShardPlan,
    ShardResult,
    Status,
    SyncScore,
    Verdict,
)
from singalong.fold import RunFold, ShardFold
from singalong.plan import montages
from singalong.report import Film, Judge, Merge, judge_without_thresholds
from singalong.report_schema import MontageReportRow, PairReportRow, ReportRow
from singalong.reviews import Decision

_WORST_FIRST = (Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_SCORABLE, Verdict.PASS)


@dataclass(frozen=True)
class Rows:
    """The rows of the three report tables, in the order of the manifest."""

    shards: list[ReportRow]
    pairs: list[PairReportRow]
    montages: list[MontageReportRow]


def rows_of_report(
    plan: Plan,
    fold: RunFold,
    *,
    merge: Merge,
    judge: Judge = judge_without_thresholds,
    segment_path: Callable[[ShardResult], str | None] = lambda _: None,
    films: Mapping[str, Film] | None = None,
    montage_films: Mapping[str, Film] | None = None,
    takes: Mapping[str, Mapping[str, object]] | None = None,
    decisions: Mapping[str, Decision] | None = None,
) -> Rows:
    """All rows of the report."""
    folder = _Folder(
        plan, fold, merge, judge, segment_path, films or {}, montage_films or {}, takes or {}, decisions or {}
    )
    shards_of: defaultdict[str, list[ShardPlan]] = defaultdict(list)
    for shard in plan.shards:
        shards_of[shard.pair_id].append(shard)
    shards: list[ReportRow] = [folder.problem(ReportRow, problem) for problem in plan.problems]
    pairs: list[PairReportRow] = [
        folder.problem(PairReportRow, problem, **folder.ruling(problem.pair_id, None)) for problem in plan.problems
    ]
    for pair in plan.pairs:
        own = sorted(shards_of[pair.pair_id], key=lambda shard: shard.start_frame)
        shards += [folder.shard(pair, shard) for shard in own]
        pairs.append(folder.pair(pair, own))
    pairs.sort(key=lambda row: row.row)
    shards.sort(key=lambda row: (row.row, row.start_frame or 0))
    return Rows(shards=shards, pairs=pairs, montages=folder.montages(pairs))


@dataclass(frozen=True)
class _Folder:
    """Makes rows; holds what all of them need."""

    plan: Plan
    fold: RunFold
    merge: Merge
    judge: Judge
    segment_path: Callable[[ShardResult], str | None]
    films: Mapping[str, Film]
    montage_films: Mapping[str, Film]
    takes: Mapping[str, Mapping[str, Any]]
    decisions: Mapping[str, Decision]

    def problem(self, model: Any, problem: RowProblem, **values: Any) -> Any:
        """The row of a manifest row that could not be planned."""
        return model(
            **self._run(),
            **problem.model_dump(exclude={"place", "error_class", "error_message"}),
            status=Status.QUARANTINED,
            error_class=problem.error_class,
            error_message=problem.error_message,
            **values,
        )

    def ruling(self, pair_id: str, output_sha256: str | None) -> dict[str, Any]:
        """What a person said of a pair's present film."""
        decision = self.decisions.get(pair_id)
        if decision is None or not decision.is_of(output_sha256):
            return {}
        return {
            "review_ruling": decision.ruling,
            "review_reason": "; ".join(filter(None, (decision.reason, decision.note))) or None,
            "review_settings": decision.settings,
            "reviewer": decision.reviewer,
        }

    def shard(self, pair: PairPlan, shard: ShardPlan) -> ReportRow:
        state = self.fold.shards[shard.shard_id]
        return ReportRow(
            **self._run(),
            **_pair_facts(pair),
            shard_id=shard.shard_id,
            work_key=shard.work_key,
            start_frame=shard.start_frame,
            end_frame=shard.end_frame,
            num_frames=shard.num_frames,
            status=state.status,
            num_attempts=state.num_attempts,
            **_error(state.failure),
            **self._models(pair) | (self._shard_result(state.result) if state.result else {}),
        )

    def pair(self, pair: PairPlan, shards: Sequence[ShardPlan]) -> PairReportRow:
        states = [self.fold.shards[shard.shard_id] for shard in shards]
        film = self.films.get(pair.pair_id, Film())
        status, failure = _pair_status(states, film)
        results = [state.result for state in states if state.result is not None]
        complete = len(results) == len(shards)
        return PairReportRow(
            **self._run(),
            **_pair_facts(pair),
            position=pair.position,
            priority=pair.priority,
            num_frames=pair.num_frames,
            status=status,
            **_error(failure),
            num_shards=len(shards),
            num_done=len(results),
            num_attempts=sum(state.num_attempts for state in states),
            **(_totals(results) if results else {}),
            **self._models(pair) | (self._pair_score(pair, shards, results) if complete else {}),
            output=film.path,
            output_sha256=film.sha256,
            thumbnail=film.thumbnail,
            duration_s=film.duration_s,
            **self.takes.get(pair.pair_id, {}),
            **self.ruling(pair.pair_id, film.sha256),
        )

    def montages(self, pairs: Iterable[PairReportRow]) -> list[MontageReportRow]:
        rows: defaultdict[str, list[PairReportRow]] = defaultdict(list)
        order = {name: number for number, name in enumerate(montages(self.plan.pairs))}
        for pair in pairs:
            if pair.montage is not None:
                rows[pair.montage].append(pair)
        return [self._montage(name, rows[name]) for name in sorted(rows, key=lambda name: order.get(name, len(order)))]

    def _montage(self, name: str, pairs: Sequence[PairReportRow]) -> MontageReportRow:
        film = self.montage_films.get(name, Film())
        num_done = sum(pair.status is Status.DONE for pair in pairs)
        confidences = [pair.sync_confidence for pair in pairs if pair.sync_confidence is not None]
        bad = [pair for pair in pairs if pair.status in (Status.FAILED, Status.QUARANTINED)]
        whole = film.path is not None and num_done == len(pairs)
        error = _error(film.failure)
        if bad and film.failure is None:
            error = {"error_class": bad[0].error_class, "error_message": f"{bad[0].pair_id}: {bad[0].error_message}"}
        return MontageReportRow(
            **self._run(),
            montage=name,
            status=Status.DONE if whole else Status.FAILED if bad or film.failure else Status.PENDING,
            verdict=_worst(pair.verdict for pair in pairs),
            **error,
            num_pairs=len(pairs),
            num_done=num_done,
            missing=film.missing,
            num_frames=sum(pair.num_frames for pair in pairs),
            duration_s=film.duration_s,
            sync_confidence_mean=sum(confidences) / len(confidences) if confidences else None,
            sync_confidence_min=min(confidences, default=None),
            output=film.path,
            output_sha256=film.sha256,
            thumbnail=film.thumbnail,
            rights="; ".join(sorted({pair.rights for pair in pairs if pair.rights})) or None,
        )

    def _run(self) -> dict[str, Any]:
        return {"run_id": self.plan.run_id, "parent_run_id": self.plan.parent_run_id}

    def _models(self, pair: PairPlan) -> dict[str, Any]:
        return {
            "generator": pair.generator.name,
            "weights_sha256": pair.generator.weights_sha256,
            "enhancer": _enhancer(self.plan),
            "scorer": self.plan.scorer.name if self.plan.scorer else None,
            "detector": self.plan.detector.name,
        }

    def _shard_result(self, result: ShardResult) -> dict[str, Any]:
        return _totals([result]) | {
            **self._score(result.score),
            "device": result.device,
            "node": result.node,
            "seconds": result.seconds,
            "output": self.segment_path(result),
            "output_sha256": result.segment_sha256,
        }

    def _pair_score(
        self, pair: PairPlan, shards: Sequence[ShardPlan], results: Sequence[ShardResult]
    ) -> dict[str, Any]:
        score = results[0].score if len(results) == 1 else self.merge([shard.shard_id for shard in shards], results)
        return {} if score is None else self._score(score)

    def _score(self, score: SyncScore) -> dict[str, Any]:
        scorer = {} if score.scorer is None else {"scorer": score.scorer}
        return scorer | {
            "verdict": self.judge(score),
            "sync_confidence": score.confidence,
            "sync_distance": score.distance,
            "sync_offset_frames": score.offset_frames,
            "confidence_mismatched": score.confidence_mismatched,
            "confidence_untouched": score.confidence_untouched,
            "num_windows": score.num_windows,
        }


def _enhancer(plan: Plan) -> str | None:
    return f"{plan.enhancer.name} {plan.enhancer.weights_sha256}" if plan.enhancer else None


def _pair_facts(pair: PairPlan) -> dict[str, Any]:
    names = ("pair_id", "row", "montage", "clip", "song", "clip_start_s", "clip_end_s", "song_start_s", "song_end_s")
    more = ("width", "height", "rights", "tags")
    return {name: getattr(pair, name) for name in (*names, *more)} | {"fps": float(pair.fps)}


def _pair_status(states: Sequence[ShardFold], film: Film) -> tuple[Status, Failure | None]:
    """A pair is as bad as its worst shard, and done only when its film stands."""
    for status in (Status.QUARANTINED, Status.FAILED, Status.PENDING):
        worst = next((state for state in states if state.status is status), None)
        if worst is not None:
            return status, worst.failure
    if film.failure is not None:
        return Status.FAILED, film.failure
    return (Status.PENDING if film.path is None else Status.DONE), None


def _totals(results: Sequence[ShardResult]) -> dict[str, Any]:
    """What adds up, or averages, over finished shards."""
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


def _error(failure: Failure | None) -> dict[str, Any]:
    return {} if failure is None else {"error_class": failure.error_class, "error_message": failure.message}


def _worst(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    there = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in there), None)
