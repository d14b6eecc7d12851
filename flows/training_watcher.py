"""Progress of a training, as the terminal shows it: read from the run folder, wherever the workers are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.terminal import err, stray_output_aside
from tasks.training.paper.folder import TrainingFolder, TrainingProgress

_LOOK_EVERY_S = 0.5


@contextmanager
def training_progress(folder: TrainingFolder) -> Iterator[None]:
    """Show step, loss, evaluation, rate and time left on standard error while the body runs; silence elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    if not err.is_terminal:
        with stray_output_aside():
            yield
        return
    stop = threading.Event()
    with stray_output_aside(), Progress(*columns, console=err) as progress:
        bar = progress.add_task("starting", total=folder.settings().num_steps, note="")
        watcher = threading.Thread(target=_watch, args=(folder, progress, bar, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _watch(folder: TrainingFolder, progress: Progress, bar: TaskID, stop: threading.Event) -> None:
    shown = folder.progress()  # of the session before
    while not stop.wait(_LOOK_EVERY_S):
        now = folder.progress()
        if now is not None and now != shown:
            shown = now
            progress.update(bar, description=now.phase, completed=now.step, total=now.num_steps, note=describe(now))


def describe(progress: TrainingProgress) -> str:
    """Losses, rate and time left in a line."""
    parts = [f"{name} {value:.4f}" for name, value in progress.figures.items() if name in ("loss", "l1")]
    parts += [f"eval {name} {value:.4f}" for name, value in progress.evaluation.items()]
    if progress.steps_per_s > 0:
        left = timedelta(seconds=round((progress.num_steps - progress.step) / progress.steps_per_s))
        parts += [f"{progress.steps_per_s:.2f} steps/s", f"{left} left"]
    return "  ".join(parts)
