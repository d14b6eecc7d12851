"""The bridge from a run's driver to its metrics: what is recorded and handed out is counted, served and written."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from singalong import __version__
from singalong.metrics import LIPSYNC, RunMetrics
from singalong.metrics_output import MetricsFile, MetricsServer, last_success_in
from singalong.run_logs import LogLine
from singalong.runfolder import RunFolder
from singalong.traffic import take
from tasks.dispatch import Item, Recorder
from tasks.jobs import LogPlace, Outcome
from tasks.pool import Pool
from tasks.standing import judge_of

WRITE_EVERY_S = 15.0
"""Prometheus and node_exporter look as often by default, or less."""


class Meter:
    """The metrics of one driver's hold on a run: open it before the work, `finish` and `close` it after."""

    def __init__(self, run: RunFolder, *, serves: bool = True) -> None:
        """`serves`: whether to answer on `run.metrics_port`, if that is set."""
        settings, plan = run.settings.run, run.plan
        self._run, self._ended = run, False
        name = settings.metrics_name or run.path.name
        info = {
            **{"run_id": plan.run_id, "version": __version__, "executor": settings.executor},
            **{"scorer": plan.scorer.name if plan.scorer else "none", "detector": plan.detector.name},
        }
        self.metrics = RunMetrics(name, plan, judge_of(), info=info)
        self.metrics.begin(run.each_attempt(), run.fold())
        self.metrics.report(_pair_verdicts(run.path / "pairs.parquet"))
        for line in run.logs.read_steps():
            self._count_step(line)
        self.metrics.traffic(run.logs.read_traffic())
        self.metrics.traffic(take())  # planning's
        self._file, self._server = None, None
        if settings.metrics_file is not None:
            path = Path(settings.metrics_file).expanduser().absolute()
            self.metrics.last_success_s = last_success_in(path, self.metrics.name)
            self._file = MetricsFile(self.metrics, path)
            self._file.try_first()
        if settings.metrics_port is not None and serves:
            self._server = MetricsServer(self.metrics, settings.metrics_port)
        self._written_s = time.monotonic()
        run.listeners.append(self.metrics.attempt)

    @property
    def url(self) -> str | None:
        """Where the metrics are served; None where they are not."""
        return None if self._server is None else self._server.url

    def tick(self, pool: Pool) -> None:
        """Some of the stage's time went by: look at the workers, and write the file if it is due."""
        free, size = pool.free_slots(), getattr(pool, "size", 1)
        self.metrics.workers(up=size, busy=max(0, size - free))
        self.metrics.traffic(take())
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self.write()

    def finish(self, *, complete: bool) -> None:
        """The run came to its end, with all made or with failures."""
        self._end("complete" if complete else "incomplete")

    def leave(self, error: type[BaseException] | None) -> None:
        """Stop counting and answering; what made the driver stop before the end, if something did."""
        if not self._ended:
            self._end("stopped" if error is not None and issubclass(error, Exception) else "interrupted")
        self._run.listeners.remove(self.metrics.attempt)
        if self._server is not None:
            self._server.close()

    def _end(self, state: str) -> None:
        self._ended = True
        self.metrics.report(_pair_verdicts(self._run.path / "pairs.parquet"))
        self.metrics.end(state)
        self.metrics.traffic(take())
        self.write()

    def write(self) -> None:
        """Write the file, if there is to be one, and note what the ledger does not know, for who goes on."""
        self._written_s = time.monotonic()
        traffic = self.metrics.traffic_so_far()
        if traffic:
            self._run.logs.note_traffic(traffic)
        if self._file is not None:
            with contextlib.suppress(OSError):  # a run does not fail for its metrics; the old ones grow old, and tell
                self._file.write()

    def _count_step(self, line: LogLine) -> None:
        fields = line.fields
        error_class = fields.get("error_class")
        self.metrics.step(
            line.stage,
            float(fields.get("seconds") or 0.0),
            None if error_class is None else str(error_class),
            final=bool(fields.get("final")),
        )


class Metered:
    """A recorder that also tells the metrics of what starts and ends."""

    def __init__(self, recorder: Recorder, stage: str, metrics: RunMetrics) -> None:
        self._recorder, self._stage, self._metrics = recorder, stage, metrics

    def started(self, item: Item) -> LogPlace | None:
        """Pass it on, and count it as running."""
        log = self._recorder.started(item)
        self._metrics.queue(self._stage, -1, running=1)
        return log

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Pass it on, and count it; shards are counted where they are recorded."""
        self._recorder.ended(item, outcome, final=final)
        self._metrics.queue(self._stage, 0 if final else 1, running=-1)
        self._metrics.traffic(outcome.traffic)
        if self._stage != LIPSYNC:
            failure = outcome.failure
            error_class = None if failure is None else str(failure.error_class)
            self._metrics.step(self._stage, outcome.seconds, error_class, final=final)

    def commit(self) -> None:
        """Pass it on."""
        self._recorder.commit()


@contextlib.contextmanager
def metered(
    meter: Meter | None, stage: str, recorder: Recorder, num_items: int
) -> Iterator[tuple[Recorder, Callable[[Pool], None]]]:
    """While a stage is dispatched: the recorder to use, and what to call from time to time; with no meter, no more."""
    if meter is None:
        yield recorder, lambda _pool: None
        return
    meter.metrics.queue(stage, num_items)
    try:
        yield Metered(recorder, stage, meter.metrics), meter.tick
    finally:
        meter.metrics.clear_queue(stage)
        meter.write()


def open_meter(run: RunFolder) -> Meter | None:
    """A meter where the settings ask for one."""
    settings = run.settings.run
    return None if settings.metrics_port is None and settings.metrics_file is None else Meter(run)


def meter_finished(run: RunFolder, *, complete: bool) -> None:
    """Write the metrics of a run that has nothing left to do, for whoever looks whether it was done tonight."""
    if run.settings.run.metrics_file is not None:
        meter = Meter(run, serves=False)
        meter.finish(complete=complete)
        meter.leave(None)


def _pair_verdicts(path: Path) -> dict[str, int]:
    try:
        column = pq.read_table(path, columns=["verdict"])["verdict"].to_pylist()
    except (OSError, pa.ArrowException):
        return {}
    return dict(Counter(str(verdict) for verdict in column if verdict is not None))
