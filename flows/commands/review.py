"""`singalong review`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from flows.exit_codes import EXIT_OK
from flows.interrupts import Interrupted
from flows.terminal import err, out, print_json
from review.feed import Snapshot
from review.serve import serve
from review.server import Reviewable
from singalong.remote_run import run_at
from singalong.runfolder import RunFolder
from tasks.asking import Asking
from tasks.reviewing import Look, shot_starts
from tasks.standing import scorer_thresholds
from tasks.viewable import viewable_clips


def review_command(run: str | Path, *, port: int | None, open_browser: bool, as_json: bool) -> int:
    """Serve the review page of a run, finished or not, until Ctrl-C; that is how it ends well."""
    with run_at(run) as path:
        return _review(RunFolder.open(path), port=port, open_browser=open_browser, as_json=as_json)


def reviewable(folder: RunFolder) -> Reviewable:
    """A run as the review page's server is given it."""
    look = Look(folder)
    return Reviewable(
        run=folder,
        look=lambda: Snapshot(*look()),
        thresholds=scorer_thresholds,
        cuts_s=shot_starts(folder),
        asks=Asking(folder),
        viewable=viewable_clips(folder),
    )


def _review(folder: RunFolder, *, port: int | None, open_browser: bool, as_json: bool) -> int:
    def ready(url: str) -> None:
        _tell(folder, url, as_json=as_json)
        if open_browser and _has_screen():
            webbrowser.open(url)

    try:
        serve(reviewable(folder), port=port, ready=ready)
    except (KeyboardInterrupt, Interrupted):
        err.print("the review has ended; every decision is in the run folder")
    return EXIT_OK


def _tell(folder: RunFolder, url: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "run": folder.location})
        sys.stdout.flush()
        return
    out.print(url, markup=False)
    err.print("Open this address in a browser on this machine; it is the key, so keep it to yourself. Ctrl-C ends.")


def _has_screen() -> bool:
    """Whether a browser can show itself; without a screen `webbrowser` would start one in the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
