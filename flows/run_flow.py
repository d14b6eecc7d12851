"""The Prefect flow of a run: stages in order, each a task that waits while the pool works.

Shards are not Prefect tasks: they go through the pool in waves, a task a wave, so that a run of a hundred thousand
shards stays at about a hundred task runs. The truth lies in the run folder; Prefect only shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow, task  # noqa: E402
from prefect.artifacts import (  # noqa: E402
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.exceptions import TerminationSignal  # noqa: E402
from prefect.states import Cancelled  # noqa: E402

from flows.watchers import current_watcher  # noqa: E402
from singalong.contracts import ShardPlan  # noqa: E402
from singalong.runfolder import RunFolder  # noqa: E402
from tasks.dispatch import Item  # noqa: E402
from tasks.film_steps import join_montages, join_pairs  # noqa: E402
from tasks.films import FilmRecord  # noqa: E402
from tasks.report import write_reports  # noqa: E402
from tasks.session import Session  # noqa: E402
from tasks.summary import RunSummary, summarise  # noqa: E402

MAX_WAVES = 80
MIN_WAVE_SHARDS = 50
"""A wave ends with slots idle for part of a shard; long waves make that little."""
MAX_TABLE_ROWS = 200


@flow(name="singalong-run", persist_result=False)
def run_planned(run: str) -> Any:
    """Bring a planned run to its end: prepare, lip-sync, join, montages, report.

    Returns the RunSummary, or the state Cancelled when it was interrupted; every step is resumable.
    """
    folder = RunFolder.open(Path(run))
    try:
        with folder.lock(), Session(folder, current_watcher()) as session:
            return _run_stages(session)
    except (KeyboardInterrupt, TerminationSignal):
        return Cancelled(message="interrupted: run the same manifest on the same folder to go on")


def _run_stages(session: Session) -> RunSummary:
    items = prepare(session, session.pending())
    waves = list(_waves(items))
    progress = create_progress_artifact(0.0, key="singalong-progress", description=f"run {session.run.path}")
    for number, wave in enumerate(waves, start=1):
        lipsync.with_options(task_run_name=f"lipsync {number} of {len(waves)}")(session, wave)
        update_progress_artifact(progress, 100.0 * number / len(waves))
    films = join(session)
    montage(session, films)
    return report(session)


def _waves(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    size = max(MIN_WAVE_SHARDS, -(-len(items) // MAX_WAVES))
    for start in range(0, len(items), size):
        yield items[start : start + size]


@task(cache_policy=NO_CACHE, persist_result=False)
def prepare(session: Session, shards: Sequence[ShardPlan]) -> list[Item]:
    """Analyse each clip once and prepare each song once."""
    return session.prepare(shards)


@task(cache_policy=NO_CACHE, persist_result=False)
def lipsync(session: Session, items: Sequence[Item]) -> None:
    """Make a wave of shards."""
    session.lipsync(items)


@task(cache_policy=NO_CACHE, persist_result=False)
def join(session: Session) -> dict[str, FilmRecord]:
    """Join the films of finished pairs."""
    return join_pairs(session)


@task(cache_policy=NO_CACHE, persist_result=False)
def montage(session: Session, films: dict[str, FilmRecord]) -> None:
    """Join the montages."""
    join_montages(session, films)


@task(cache_policy=NO_CACHE, persist_result=False)
def report(session: Session) -> RunSummary:
    """Write the reports, and the table of failures a person reads in Prefect's UI."""
    write_reports(session.run, session.store)
    summary = summarise(session.run, session.store)
    if summary.failures:
        rows = [failure.model_dump(mode="json") for failure in summary.failures[:MAX_TABLE_ROWS]]
        create_table_artifact(rows, key="singalong-failures", description=f"failures of {session.run.path}")
    return summary
