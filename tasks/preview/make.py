"""Filling a folder with previews of a plan."""

from __future__ import annotations

from pathlib import Path

from singalong.config import Settings
from singalong.contracts import Plan
from singalong.durable import make_dirs, write_atomic
from singalong.errors import UsageError
from tasks.jobs import WorkerSpec
from tasks.preview.clips import Progress, preview_clips
from tasks.preview.page import Preview, write_page
from tasks.worker import Worker

PAGE_NAME = "index.html"


def make_preview(
    plan: Plan,
    folder: Path,
    *,
    settings: Settings,
    progress: Progress = lambda _what, _done, _total: None,
) -> Preview:
    """Write the contact sheets of all clips of a plan, and a page that shows them.

    What can be analysed is found again by a run; what cannot is in the preview with its reason.
    """
    spec = WorkerSpec(settings=settings, store=str(settings.store_path), detector=plan.detector, scorer=plan.scorer)
    worker = Worker(spec)
    clips = tuple(preview_clips(plan, worker, folder, progress))
    preview = Preview(folder=str(folder), page=str(folder / PAGE_NAME), clips=clips)
    write_page(plan, preview)
    return preview


def preview_folder(folder: Path) -> Path:
    """The folder, made if it is missing. Raises UsageError where previews cannot be written to it."""
    try:
        make_dirs(folder)
        write_atomic(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as exc:
        raise UsageError(
            f"previews cannot be written there: {exc.strerror}", file=folder, expected="a folder that can be written"
        ) from exc
    return folder
