"""Runs to be reviewed, without having made them: rows as a report has them, and films that are only bytes."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from review.feed import Snapshot
from review.server import Reviewable, make_app
from singalong.asked import read_asked
from singalong.config import Settings
from singalong.contracts import PairPlan, PairRow, Plan, Status, Verdict
from singalong.errors import InputError
from singalong.report_schema import PairReportRow
from singalong.runfolder import RunFolder
from tests.singalong.builders import clip_facts, pair_row, plan_of, sha, touch

NO_FILM: dict[str, Any] = {"verdict": None, "sync_confidence": None, "output": None, "output_sha256": None}
TOKEN = "a-token-that-nobody-guesses"
FILM = bytes(range(256)) * 40
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"


def report_row(pair_id: str = "p1", **values: Any) -> PairReportRow:
    """A finished pair that a person must look at."""
    defaults: dict[str, Any] = {
        **{"run_id": "run-1", "pair_id": pair_id, "row": 1, "clip": "/clips/a.mp4", "song": "/songs/s.wav"},
        **{"num_frames": 100, "fps": 25.0, "status": Status.DONE, "verdict": Verdict.REVIEW, "sync_confidence": 3.0},
        **{"output": f"outputs/{pair_id}.mp4", "output_sha256": sha(pair_id), "num_shards": 1, "num_done": 1},
    }
    return PairReportRow(**defaults | values)


def run_of(path: Path, rows: Sequence[PairRow]) -> RunFolder:
    """A run folder with a plan of these rows, whose clips are files that exist beside it."""
    clips = {row.clip: clip_facts(row.clip) for row in rows}
    plan: Plan = plan_of(rows, clips=clips)
    return RunFolder.create(path, plan, Settings())


def small_run(folder: Path) -> tuple[RunFolder, list[PairReportRow]]:
    """Two finished pairs with films and clips that are bytes, and one that failed."""
    clip = touch(folder / "media" / "clip.mp4", FILM[::-1])
    run = run_of(folder / "run", [pair_row(n, clip=str(clip), song_end_s=4) for n in (1, 2)])
    for name in ("p1", "p2"):
        touch(run.path / "outputs" / f"{name}.mp4", FILM)
    rows = [
        report_row("p1", row=1, sync_confidence=4.0, tags={"scene": HOSTILE}),
        report_row("p2", row=2, sync_confidence=2.0, verdict=Verdict.FAIL),
        report_row("p3", row=3, status=Status.FAILED, error_message=HOSTILE, **NO_FILM),
    ]
    return run, rows


class ReadAsks:
    """What is asked for is read and checked, and not planned: the clips here are only bytes."""

    def offers(self, pair: PairPlan) -> dict[str, Any]:
        return {
            "now": {"face": pair.face, "lipsync.mask": HOSTILE},
            "choices": {"generator": [HOSTILE]},
            "settings": [],
        }

    def faces(self, pair: PairPlan, at_s: float) -> list[dict[str, Any]]:
        raise InputError("there is no analysis", file=pair.clip, value=at_s)

    def check(self, pair_id: str, words: Sequence[str], present: frozenset[str]) -> object:
        return read_asked(words, row=pair_row(1), settings=Settings())


def reviewable(run: RunFolder, rows: Sequence[PairReportRow], **values: Any) -> Reviewable:
    """The run as the server is given it."""
    return Reviewable(run=run, look=lambda: Snapshot(list(rows), run.plan, None), **{"asks": ReadAsks()} | values)


@contextlib.contextmanager
def served(what: Reviewable, token: str, port: int = 0) -> Iterator[str]:
    """A real server of the run in a thread of its own; its address, without the token."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        app = make_app(what, token=token)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
        # A browser may have kept connections open beyond the server's patience. They are let go of here, where their
        # complaint is expected, and not in the middle of some other test.
        del app, server, thread
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
