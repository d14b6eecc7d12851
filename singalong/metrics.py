"""What an operator watches of a run, as Prometheus metrics: counted from the ledger, never per frame.

Counters are of the whole run folder, every driver that ever worked on it together: they are counted anew from the
recorded attempts when a run is resumed, and go up with each that is recorded. Gauges are of now. Labels have few values
(states, stages, error classes, the plan's generators); names of pairs, clips and shards are never among them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from singalong.contracts import AttemptRow, Plan, ShardPlan, ShardResult, Status, SyncScore, Verdict
from singalong.errors import ErrorClass
from singalong.fold import STATUSES, RunFold
from singalong.histogram import Histogram
from singalong.traffic import COUNTERS, Traffic

RUN_STATES = ("running", "complete", "incomplete", "interrupted", "stopped")
"""Of a run: the driver is at work; all was made; some failed; it was told to stop; an error of it all ended it."""
OUTCOMES = ("done", "failed", "reused", "blocked", "interrupted")
"""Of attempts. reused: the store held the result; blocked: what it needs could not be prepared; interrupted: the
driver ended before it did."""
LIPSYNC = "lipsync"
STEPS = ("prepare", "speakers", "join", "conform", "montage")
"""Stages of a run beside that of the shards."""
FORMER = "former plan"
"""Generator of shards that an edited manifest no longer asks for."""
DURATION_BUCKETS_S = (1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800)
CONFIDENCE_BUCKETS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10)
"""Fine below 2, where the bundled scorer's real faces lie, coarse above, where SyncNet's do."""

_Judge = Callable[[SyncScore], Verdict]


class RunMetrics(Collector):
    """The metrics of one run. Told by its driver, asked by whoever scrapes, from any thread."""

    def __init__(self, name: str, plan: Plan, judge: _Judge, *, info: Mapping[str, str]) -> None:
        """`name`: value of the label `run`; `info`: labels of singalong_run_info; `judge`: verdict of a score."""
        self.name, self._judge = clean_label(name), judge
        self._info = {key: clean_label(value) for key, value in info.items()}
        self._plan_sizes = (len(plan.pairs), len(plan.problems))
        generators = {pair.pair_id: clean_label(pair.generator.name) for pair in plan.pairs}
        self._generators, self._plan = generators, {shard.shard_id: shard for shard in plan.shards}
        self._statuses = dict.fromkeys(self._plan, Status.PENDING)
        self._shards = Counter({(name, str(status)): 0 for name in set(generators.values()) for status in Status})
        self._shards.update((generators[shard.pair_id], str(Status.PENDING)) for shard in plan.shards)
        self._num_planned, self._num_done = sum(shard.num_frames for shard in plan.shards), 0
        self._lock = threading.Lock()
        self._state, self._started_s = RUN_STATES[0], time.time()
        self.last_success_s: float | None = None
        self._attempts = Counter(dict.fromkeys(OUTCOMES, 0))
        # what is counted from nothing must be seen as nothing first, or its first increase is not seen
        self._failures = Counter({(stage, str(kind)): 0 for stage in (LIPSYNC, *STEPS) for kind in ErrorClass})
        self._retries = Counter(self._failures)
        self._frames = Counter({(name, "synced"): 0 for name in set(generators.values())})
        self._verdicts = Counter({(name, str(verdict)): 0 for name in set(generators.values()) for verdict in Verdict})
        self._pair_verdicts: dict[str, int] = {}
        self._stage_us: Counter[str] = Counter()  # whole numbers: their sum is the same in any order
        self._steps = Counter({(stage, outcome): 0 for stage in STEPS for outcome in ("done", "failed")})
        self._step_us: Counter[str] = Counter()
        self._durations = Histogram(DURATION_BUCKETS_S)
        self._confidences: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(CONFIDENCE_BUCKETS))
        self._traffic = {(name, label): 0.0 for name, (_, labels, _) in COUNTERS.items() for label in labels}
        self._queued = Counter(dict.fromkeys((LIPSYNC, *STEPS), 0))
        self._running = Counter(self._queued)
        self._workers = {"up": 0, "busy": 0}
        self._peak_rss_bytes = 0.0

    # ---- told by the driver

    def begin(self, rows: Iterable[AttemptRow], fold: RunFold) -> None:
        """Count what was recorded before, and where the shards stand. Marks without an end were interrupted."""
        for row in rows:
            self.attempt(row)
        with self._lock:
            for name, status in zip(fold.shard_ids, fold.status.tolist(), strict=True):
                self._move(self._plan[name], STATUSES[status])
            self._attempts["interrupted"] = sum(map(len, fold.unfinished.values()))

    def attempt(self, row: AttemptRow) -> None:
        """An attempt was recorded."""
        with self._lock:
            shard = self._plan.get(row.shard_id)
            generator = FORMER if shard is None else self._generators[shard.pair_id]
            if row.result is not None:
                self._attempts["reused" if row.reused else "done"] += 1
                if not row.reused:
                    self._made(row.result, generator)
            elif row.failure is not None:
                is_blocked = not row.worker and row.started_at == row.finished_at
                self._attempts["blocked" if is_blocked else "failed"] += 1
                if not is_blocked:
                    self._failed(LIPSYNC, str(row.failure.error_class), final=row.final)
            if not row.reused and row.started_at != row.finished_at:
                self._durations.observe(max(0.0, _seconds(row)))
            if shard is not None and shard.work_key == row.work_key:
                self._move(shard, _status(self._statuses[row.shard_id], row))

    def step(self, stage: str, seconds: float, error_class: str | None, *, final: bool) -> None:
        """Something that is prepared or joined came to an end, good or, with an error class, bad."""
        stage, error_class = clean_label(stage), error_class and clean_label(error_class)
        with self._lock:
            self._steps[stage, "done" if error_class is None else "failed"] += 1
            self._step_us[stage] += round(seconds * 1e6)
            if error_class is not None:
                self._failed(stage, error_class, final=final)

    def queue(self, stage: str, change: int, *, running: int = 0) -> None:
        """So many items more, or less, wait to be handed out in a stage; and are running."""
        with self._lock:
            self._queued[stage] += change
            self._running[stage] += running

    def clear_queue(self, stage: str) -> None:
        """The stage is over."""
        with self._lock:
            self._queued[stage] = self._running[stage] = 0

    def traffic(self, more: Traffic) -> None:
        """So much more went to and came from object stores."""
        with self._lock:
            for key, amount in more.items():
                self._traffic[key] += amount

    def traffic_so_far(self) -> Traffic:
        """All that went to and came from object stores."""
        with self._lock:
            return {key: amount for key, amount in self._traffic.items() if amount}

    def workers(self, *, up: int, busy: int) -> None:
        """How many workers there are, and at work."""
        with self._lock:
            self._workers = {"up": up, "busy": busy}

    def report(self, pair_verdicts: Mapping[str, int]) -> None:
        """A report was written, with so many pairs of each verdict."""
        with self._lock:
            self._pair_verdicts = dict(pair_verdicts)

    def end(self, state: str) -> None:
        """The driver ends in this state."""
        with self._lock:
            self._state, self._workers = state, {"up": 0, "busy": 0}
            if state == "complete":
                self.last_success_s = time.time()

    def _move(self, shard: ShardPlan, status: Status) -> None:
        before, self._statuses[shard.shard_id] = self._statuses[shard.shard_id], status
        generator = self._generators[shard.pair_id]
        self._shards[generator, str(before)] -= 1
        self._shards[generator, str(status)] += 1
        self._num_done += shard.num_frames * ((status is Status.DONE) - (before is Status.DONE))

    def _made(self, result: ShardResult, generator: str) -> None:
        self._frames[generator, "synced"] += result.num_face_frames
        for why, count in result.passed_through.items():
            self._frames[generator, clean_label(why)] += count
        for stage, seconds in result.seconds.items():
            self._stage_us[clean_label(stage)] += round(seconds * 1e6)
        self._verdicts[generator, str(self._judge(result.score))] += 1
        if result.score.confidence is not None:
            self._confidences[clean_label(result.score.scorer or "")].observe(result.score.confidence)
        self._peak_rss_bytes = max(self._peak_rss_bytes, result.peak_rss_mb * (1 << 20))

    def _failed(self, stage: str, error_class: str, *, final: bool) -> None:
        self._failures[stage, error_class] += 1
        self._retries[stage, error_class] += not final

    # ---- asked by who scrapes

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are at this moment."""
        with self._lock:
            return iter([*self._of_run(), *self._of_plan(), *self._of_work(), *self._of_objects(), *self._of_now()])

    def _of_run(self) -> Iterator[Metric]:
        info = _gauge("run_info", "Who and what: always 1", {(*self._info.values(),): 1}, tuple(self._info))
        yield self._labelled(info)
        states = {(state,): state == self._state for state in RUN_STATES}
        yield self._labelled(_gauge("run_state", "1 for the state the run is in", states, ("state",)))
        moments = {
            "run_start_timestamp_seconds": ("When this driver began", self._started_s),
            "run_update_timestamp_seconds": ("When these numbers were taken", time.time()),
            "run_last_success_timestamp_seconds": ("When a run of this name last ended complete", self.last_success_s),
        }
        for name, (text, moment) in moments.items():
            if moment is not None:
                yield self._labelled(_gauge(name, text, {(): moment}))

    def _of_plan(self) -> Iterator[Metric]:
        num_pairs, num_problems = self._plan_sizes
        yield self._labelled(_gauge("pairs", "Pairs that were planned", {(): num_pairs}))
        problems = _gauge("manifest_problems", "Manifest rows that could not be planned", {(): num_problems})
        yield self._labelled(problems)
        verdicts = {(verdict,): count for verdict, count in self._pair_verdicts.items()}
        text = "Pairs by verdict, once the report is written"
        yield self._labelled(_gauge("pair_verdicts", text, verdicts, ("verdict",)))
        yield self._labelled(_gauge("shards", "Shards of the plan by status", self._shards, ("generator", "status")))
        yield self._labelled(_gauge("frames_planned", "Frames of the plan", {(): self._num_planned}))
        yield self._labelled(_gauge("frames_done", "Frames of finished shards, made or reused", {(): self._num_done}))

    def _of_work(self) -> Iterator[Metric]:
        by_class = ("stage", "error_class")
        attempts = {(outcome,): count for outcome, count in self._attempts.items()}
        yield self._labelled(_counter("attempts", "Attempts at shards by outcome", attempts, ("outcome",)))
        yield self._labelled(_counter("failures", "Failed tries by class", self._failures, by_class))
        yield self._labelled(_counter("retries", "Failed tries that are tried again", self._retries, by_class))
        text = "Frames made, and passed through by why"
        yield self._labelled(_counter("frames", text, self._frames, ("generator", "outcome")))
        text = "Finished shards by verdict"
        yield self._labelled(_counter("shard_verdicts", text, self._verdicts, ("generator", "verdict")))
        seconds = {(stage,): spent / 1e6 for stage, spent in self._stage_us.items()}
        text = "Time of workers in each stage of finished shards"
        yield self._labelled(_counter("stage_seconds", text, seconds, ("stage",)))
        text = "Tries at what is prepared and joined"
        yield self._labelled(_counter("steps", text, self._steps, ("stage", "outcome")))
        seconds = {(stage,): spent / 1e6 for stage, spent in self._step_us.items()}
        yield self._labelled(_counter("step_seconds", "Time of workers in them", seconds, ("stage",)))
        durations = HistogramMetricFamily(
            "singalong_attempt_duration_seconds", "Time from start to end", labels=["run"]
        )
        durations.add_metric([self.name], *self._durations.cumulative())
        yield durations
        labels = ["run", "scorer"]
        text = "Sync confidence (LSE-C) of finished shards, on their scorer's scale"
        confidences = HistogramMetricFamily("singalong_sync_confidence", text, labels=labels)
        for scorer, histogram in self._confidences.items():
            confidences.add_metric([self.name, scorer], *histogram.cumulative())
        yield confidences

    def _of_objects(self) -> Iterator[Metric]:
        for name, (label, labels, text) in COUNTERS.items():
            values = {(value,): self._traffic[name, value] for value in labels}
            yield self._labelled(_counter(name, text, values, (label,)))

    def _of_now(self) -> Iterator[Metric]:
        queued = {(stage,): max(0, count) for stage, count in self._queued.items()}
        running = {(stage,): max(0, count) for stage, count in self._running.items()}
        yield self._labelled(_gauge("queue_items", "Items not handed out yet", queued, ("stage",)))
        yield self._labelled(_gauge("running_items", "Items that workers have", running, ("stage",)))
        workers = {(state,): count for state, count in self._workers.items()}
        yield self._labelled(_gauge("workers", "Workers that are up, and busy", workers, ("state",)))
        text = "Most memory that a worker held while it made a shard"
        yield self._labelled(_gauge("worker_peak_rss_bytes", text, {(): self._peak_rss_bytes}))

    def _labelled(self, metric: Metric) -> Metric:
        """The metric with the run's name on every sample."""
        metric.samples = [sample._replace(labels={"run": self.name, **sample.labels}) for sample in metric.samples]
        return metric


def clean_label(text: str) -> str:
    """A label value that can be written as UTF-8, and is no longer than a name should be."""
    return text.encode(errors="replace").decode()[:120]


_Values = Mapping[Any, float]
"""By the values of the labels."""


def _gauge(name: str, text: str, values: _Values, labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"singalong_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: _Values, labels: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(f"singalong_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _status(before: Status, row: AttemptRow) -> Status:
    """Where a shard stands after one more attempt, as `singalong.fold` has it."""
    if before is Status.DONE or row.result is not None:
        return Status.DONE
    assert row.failure is not None
    if row.failure.error_class is ErrorClass.INPUT:
        return Status.FAILED if row.failure.file_changed else Status.QUARANTINED
    return Status.FAILED if row.final else Status.PENDING


def _seconds(row: AttemptRow) -> float:
    return (datetime.fromisoformat(row.finished_at) - datetime.fromisoformat(row.started_at)).total_seconds()
