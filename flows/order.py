"""The order of a run's stages, written once: under Prefect each stage is a task, in process it is a plain call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from tasks.dispatch import Item, TooManyBugsError
from tasks.film_steps import join_montages, join_pairs
from tasks.report import write_reports
from tasks.session import Session
from tasks.summary import RunSummary, summarise

MAX_WAVES = 80
"""Prefect's server suffers past a few thousand task runs; a run stays at about a hundred."""
MIN_WAVE_SHARDS = 50
"""A wave ends with slots idle for part of a shard; long waves make that little."""

Thing = TypeVar("Thing")
Stage = Callable[..., Any]
Wrap = Callable[[str, Stage], Stage]


def call_plainly(_name: str, stage: Stage) -> Stage:
    """A stage as it is."""
    return stage


def run_stages(
    session: Session,
    *,
    wrap: Wrap = call_plainly,
    on_progress: Callable[[float], None] = lambda _percent: None,
) -> RunSummary:
    """Prepare, lip-sync in waves, join pairs, join montages, report. Each stage does only what is missing.

    Raises TooManyBugsError when a burst of unforeseen failures stopped it; the report is written before.
    """
    try:
        items: list[Item] = wrap("prepare", session.prepare)(session.pending())
        waves = list(in_waves(items))
        for number, wave in enumerate(waves, start=1):
            wrap(f"lipsync {number} of {len(waves)}", session.lipsync)(wave)
            on_progress(100.0 * number / len(waves))
    except TooManyBugsError:
        write_reports(session.run, session.store)  # what was done, what failed and why, and what is left
        raise
    films = wrap("join", join_pairs)(session)
    wrap("montage", join_montages)(session, films)
    wrap("report", write_reports)(session.run, session.store)
    summary = summarise(session.run)
    if session.meter is not None:
        session.meter.finish(complete=summary.complete)
    return summary


def in_waves(items: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    """The items in order, in at most MAX_WAVES parts of at least MIN_WAVE_SHARDS."""
    size = max(MIN_WAVE_SHARDS, -(-len(items) // MAX_WAVES))
    for start in range(0, len(items), size):
        yield items[start : start + size]
