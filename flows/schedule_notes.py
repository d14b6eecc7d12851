"""What a firing tells: artifacts that a person reads in Prefect, lines in the run's own log.

Nothing told is worth a run: where Prefect cannot be told, the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.logging import get_run_logger

from flows.schedule_page import cancelled_page, crashed_page, failed_page, summary_page
from singalong.contracts import Status
from singalong.errors import SingalongError
from singalong.objects import is_url
from singalong.runfolder import RunFolder
from tasks.dispatch import Item
from tasks.jobs import LipsyncJob, Outcome
from tasks.summary import FailureNote, RunSummary

MAX_TABLE_ROWS = 200
PROGRESS_EVERY_S = 5.0
ASK_EVERY_S = 30.0
WORKER_ENDS_IT_S = 20.0
"""Workers look for cancelled runs every 10 s."""
FIRINGS_LOG = "logs/firings.jsonl"

_log = logging.getLogger(__name__)


@dataclass
class Notes:
    """Tells of one firing.

    Attributes:
        name: of the schedule; keys of artifacts begin with it.
        run: where the run is, a path or URL.
        flow_run_id: of Prefect.
        folder: that stands for the run, once it is known; a hook knows none of a run at a URL.
    """

    name: str
    run: str
    flow_run_id: UUID
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    folder: Path | None = None
    _progress: UUID | None = None

    @classmethod
    def of_this_run(cls, run: str) -> Notes:
        """For the flow run that this process is in."""
        return cls(runtime.deployment.name or "singalong", run, UUID(str(runtime.flow_run.id)))

    def began(self, folder: RunFolder) -> None:
        """There is work to do."""
        self.say(f"{len(folder.plan.pairs)} pairs, {len(folder.plan.shards)} shards", event="began")
        with telling():
            self._progress = self._create("progress", "progress", 0.0, f"shards done of {self.run}")

    def progress(self, percent: float) -> None:
        """How far it is."""
        if self._progress is not None:
            with telling(), get_client(sync_client=True) as client:
                client.update_artifact(self._progress, ArtifactUpdate(data=percent))

    def ended(self, summary: RunSummary, *, was_finished: bool) -> None:
        """What it came to."""
        self.say("nothing to do: it was finished" if was_finished else "ended", event="ended", summary=summary)
        if not was_finished:
            self.progress(100.0)
        page = summary_page(summary, self.run, self.folder, started=self.started, was_finished=was_finished)
        self.publish_end(page, summary.failures)

    def publish_end(self, page: str, failures: Sequence[FailureNote]) -> None:
        """Show a summary and a table of failures; an empty one, too: it replaces the last firing's."""
        rows = [failure.model_dump(mode="json") for failure in failures[:MAX_TABLE_ROWS]]
        with telling():
            self._create("summary", "markdown", page, f"summary of {self.run}")
            self._create("failures", "table", json.dumps(rows), f"{len(failures)} failures of {self.run}")

    def publish_page(self, page: str) -> None:
        """Show how a firing ended that could not sum itself up."""
        with telling():
            self._create("summary", "markdown", page, f"how the firing of {self.run} ended")

    def cancelled(self, text: str) -> None:
        """A person ended it: say how to go on."""
        self.record("cancelled", text)
        self.publish_page(cancelled_page(self.run, self.name))

    def say(self, text: str, *, event: str = "note", summary: RunSummary | None = None) -> None:
        """A line in Prefect's log of the run, and in the run's own."""
        with telling():
            get_run_logger().info(text)
        self.record(event, text, {} if summary is None else {"shards": summary.shards})

    def record(self, event: str, text: str, more: dict[str, Any] | None = None) -> None:
        """A line in the run folder's log, once there is a run folder."""
        folder = self.folder or (None if is_url(self.run) else Path(self.run))
        if folder is None or not (folder / "run.json").exists():
            return
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, "text": text, **(more or {})}
        with telling():
            file = folder / FIRINGS_LOG
            file.parent.mkdir(exist_ok=True)
            with file.open("a", encoding="utf-8") as log:
                log.write(json.dumps({**line, "schedule": self.name, "flow_run": str(self.flow_run_id)}) + "\n")

    def _create(self, what: str, kind: str, data: Any, description: str) -> UUID:
        key = f"{slug(self.name)}-{what}"
        with get_client(sync_client=True) as client:
            artifact = client.create_artifact(
                ArtifactCreate(key=key, type=kind, data=data, description=description, flow_run_id=self.flow_run_id)
            )
        return artifact.id


class CancelledAtLastError(SingalongError):
    """A person cancelled this run, and its worker did not end it: workers are deaf once their server was away."""


def is_being_cancelled() -> bool:
    """Whether a person is ending this flow run: that is final, a worker that is stopped is not."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(runtime.flow_run.id))).state
    return state is not None and state.is_cancelling()


class FiringWatcher:
    """Logs the stages of a run, keeps its progress artifact at the share of shards that are done, and hears of a
    cancellation that its worker did not.
    """

    def __init__(self, folder: RunFolder, notes: Notes) -> None:
        counts = folder.fold().counts()
        self._total, self._done = max(1, len(folder.plan.shards)), counts.get(Status.DONE, 0)
        self._notes, self._told, self._asked = notes, time.monotonic(), time.monotonic()

    def begin(self, stage: str, total: int) -> None:
        """A stage with `total` items begins."""
        with telling():
            get_run_logger().info(f"{stage}: {total} to do")

    def advance(self, stage: str, item: Item, outcome: Outcome) -> None:
        """An item of the stage came to its end."""
        if outcome.failure is not None:
            with telling():
                get_run_logger().warning(
                    f"{stage}: {item.item_id}: {outcome.failure.error_class}: {outcome.failure.message}"
                )
        self._heed_cancellation()
        if isinstance(item.job, LipsyncJob):
            self._done += outcome.ok
            if time.monotonic() - self._told >= PROGRESS_EVERY_S:
                self._told = time.monotonic()
                self._notes.progress(min(99.0, 100.0 * self._done / self._total))  # films and report are to come

    def _heed_cancellation(self) -> None:
        if time.monotonic() - self._asked < ASK_EVERY_S:
            return
        self._asked = time.monotonic()
        cancelled = False
        with telling():
            cancelled = is_being_cancelled()
        if cancelled:
            time.sleep(WORKER_ENDS_IT_S)  # a worker that hears has the first word
            raise CancelledAtLastError("cancelled")


# ---- hooks: Prefect calls them where the run ended, or in a process of their own


def note_failed(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect names them
    """A firing failed for good: say why, where a person looks."""
    notes = _notes_of(flow_run)
    notes.record("failed", state.message or "")
    if state.name != "SomeFailed":  # that one has its summary
        notes.publish_page(failed_page(notes.run, notes.name, state.message or ""))


def note_cancelled(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect names them
    """A firing was cancelled: say how to go on."""
    _notes_of(flow_run).cancelled(state.message or "")


def note_crashed(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect names them
    """A firing died: say of what, and that it will go on."""
    notes = _notes_of(flow_run)
    notes.record("died", state.message or "")
    notes.publish_page(crashed_page(notes.run, state.message or ""))


def _notes_of(flow_run: Any) -> Notes:
    name = "singalong"
    with telling(), get_client(sync_client=True) as client:
        if flow_run.deployment_id is not None:
            name = client.read_deployment(flow_run.deployment_id).name
    return Notes(name, str(flow_run.parameters.get("run", "")), flow_run.id)


def slug(name: str) -> str:
    """A name as keys of artifacts must be: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Around whatever only tells: its failures are logged, and end nothing."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Prefect's server may be away, a disk full: the run goes on
        _log.warning("could not be told: %s", error)
