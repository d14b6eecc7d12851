"""Progress of a run, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from flows.terminal import err, stray_output_aside
from tasks.dispatch import Item
from tasks.jobs import LipsyncJob, Outcome
from tasks.session import Session, Watcher

STAGES = {
    "prepare": "analysing clips and songs",
    "speakers": "finding who speaks",
    "lipsync": "lip-syncing",
    "join": "joining pairs",
    "conform": "fitting clips to the montage",
    "montage": "joining montages",
    "survey": "looking for faces",
    "sequences": "cutting and scoring sequences",
}


class TerminalWatcher:
    """Bars on standard error: what goes on, how far it is, how fast, how long it may take."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._frames = 0
        self._failures = 0

    def begin(self, stage: str, total: int) -> None:
        """Add a bar, or lengthen the stage's bar."""
        if stage in self._bars:
            bar = self._progress.tasks[self._bars[stage]]
            self._progress.update(bar.id, total=(bar.total or 0) + total)
        else:
            self._bars[stage] = self._progress.add_task(STAGES.get(stage, stage), total=total, note="")

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """Move the stage's bar on."""
        bar = self._progress.tasks[self._bars[stage]]
        rate = ""
        if isinstance(item.job, LipsyncJob):
            self._frames += item.job.shard.num_frames if outcome.ok else 0
            rate = f"{self._frames / bar.elapsed:.0f} frames/s" if self._frames and bar.elapsed else ""
        self._failures += not outcome.ok
        failed = f"[red]{self._failures} failed[/]" if self._failures else ""
        self._progress.update(bar.id, advance=1, note=" ".join(part for part in (rate, failed) if part))


_current: ContextVar[Watcher | None] = ContextVar("singalong_watcher", default=None)


def current_watcher() -> Watcher | None:
    """The watcher of this run, if any: flow parameters must be plain data, so it does not travel as one."""
    return _current.get()


def tell_metrics(session: Session) -> None:
    """Say where the metrics of a run are served, if they are: the port may be any."""
    if session.meter is not None and session.meter.url is not None:
        err.print(f"metrics   {session.meter.url}", markup=False)


@contextmanager
def terminal_progress() -> Iterator[None]:
    """Show progress on standard error while the body runs; plain silence where that is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with stray_output_aside(), Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        token = _current.set(TerminalWatcher(progress))
        try:
            yield
        finally:
            _current.reset(token)
