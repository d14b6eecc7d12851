"""The order of preparing a dataset, written once: under Prefect each stage is a task, in process it is a plain call."""

from __future__ import annotations

from collections.abc import Callable

from flows.order import Wrap, call_plainly, in_waves
from tasks.training.prepare import PrepareSession, PrepareSummary


def prepare_stages(
    session: PrepareSession,
    *,
    wrap: Wrap = call_plainly,
    on_progress: Callable[[float], None] = lambda _percent: None,
) -> PrepareSummary:
    """Survey and cut the videos in waves, then write the table. Each stage does only what is missing."""
    waves = list(in_waves(session.videos))
    for number, wave in enumerate(waves, start=1):
        wrap(f"prepare {number} of {len(waves)}", session.prepare)(wave)
        on_progress(100.0 * number / len(waves))
    summary: PrepareSummary = wrap("table", session.finish)()
    return summary
