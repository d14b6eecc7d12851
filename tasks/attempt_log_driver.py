"""The driver's words in the logs of attempts: what it handed out, and how that ended, also where the worker died."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singalong.contracts import Failure
from singalong.objects import is_url
from singalong.remote_run import location_of
from singalong.run_logs import RunLogs, worker_part
from tasks.attempt_log_lines import failure_fields
from tasks.jobs import LogPlace, Outcome

if TYPE_CHECKING:
    from tasks.dispatch import Item, Recorder

STAGE = "driver"
NOT_TRIED = "not tried"


def begin_log(logs: RunLogs, path: Path, item: Item, **fields: Any) -> LogPlace | None:
    """Begin an attempt's log; returns where the worker goes on with it, None where it cannot be written."""
    if not logs.begin(path):
        return None
    spent = {str(name): count for name, count in item.retries.items()}
    logs.tell(path, "info", STAGE, "handed out", item=item.item_id, retries=spent or None, **fields)
    others = location_of(worker_part(path))
    return LogPlace(path=str(path), **({"host": socket.gethostname(), "url": others} if is_url(others) else {}))


def end_log(logs: RunLogs, path: Path, outcome: Outcome, *, final: bool) -> None:
    """How an attempt ended."""
    failure = outcome.failure
    cost = {"seconds": round(outcome.seconds, 3) or None, "worker": outcome.worker or None}
    if failure is None:
        logs.tell(path, "info", STAGE, "done", final=True, **cost)
        return
    follows = "that was the last try" if final else "it will be tried again"
    told_already = bool(outcome.worker)  # by the worker itself, with its traceback
    fields = {"error_class": str(failure.error_class)} if told_already else failure_fields(failure)
    logs.tell(path, "error", STAGE, f"failed, and {follows}: {failure.message}", **fields, final=final, **cost)


def blocked_log(logs: RunLogs, path: Path, failure: Failure) -> None:
    """Say of a shard that it was not even tried."""
    if logs.begin(path):
        fields = failure_fields(failure)
        logs.tell(
            path, "error", STAGE, f"{NOT_TRIED}, what it needs is missing: {failure.message}", **fields, final=True
        )


class StepLogs:
    """A recorder that gives a log to what the other one has none for: what is prepared and joined."""

    def __init__(self, recorder: Recorder, logs: RunLogs, stage: str) -> None:
        self._recorder, self._logs, self._stage = recorder, logs, stage
        self._paths: dict[str, Path] = {}

    def started(self, item: Item) -> LogPlace | None:
        """Pass it on."""
        log = self._recorder.started(item)
        if log is not None:
            return log
        path = self._paths[item.item_id] = self._logs.of_next_step(item.item_id)
        return begin_log(self._logs, path, item)

    def ended(self, item: Item, outcome: Outcome, *, final: bool) -> None:
        """Write how it ended, and pass it on."""
        path = self._paths.pop(item.item_id, None)
        if path is not None:
            end_log(self._logs, path, outcome, final=final)
            error_class = str(outcome.failure.error_class) if outcome.failure else None
            cost = {"error_class": error_class, "seconds": outcome.seconds}  # not rounded: counters are made of it
            self._logs.step_ended(self._stage, item.item_id, **cost, final=final)
        self._recorder.ended(item, outcome, final=final)

    def commit(self) -> None:
        """Pass it on."""
        self._recorder.commit()
