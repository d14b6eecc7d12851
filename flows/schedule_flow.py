"""The Prefect flow of a firing: plan a manifest anew onto its run folder, and bring that to its end.

Every firing, every retry and every resumption is the same thing: what is finished is found finished, what is missing
is done. So this flow may be ended anywhere, by anybody, and started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

from prefect import flow, runtime  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import (  # noqa: E402
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.objects import FlowRunPolicy, State  # noqa: E402
from prefect.client.schemas.sorting import FlowRunSort  # noqa: E402
from prefect.exceptions import Pause  # noqa: E402
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed  # noqa: E402
from prefect.utilities.engine import propose_state_sync  # noqa: E402

from flows.order import run_stages  # noqa: E402
from flows.prefect_runs import INTERRUPTS, as_task  # noqa: E402
from flows.schedule_notes import (  # noqa: E402
    CancelledAtLastError,
    FiringWatcher,
    Notes,
    is_being_cancelled,
    note_cancelled,
    note_crashed,
    note_failed,
)
from flows.schedule_turn import machine_turn  # noqa: E402
from singalong.config import load_settings  # noqa: E402
from singalong.errors import ErrorClass, HeldError, InfraError  # noqa: E402
from singalong.remote_run import run_at  # noqa: E402
from singalong.remote_store import store_of  # noqa: E402
from singalong.runfolder import RunFolder  # noqa: E402
from tasks.film_steps import is_finished  # noqa: E402
from tasks.plan_run import plan_run  # noqa: E402
from tasks.session import Session  # noqa: E402
from tasks.summary import RunSummary, summarise  # noqa: E402

MAX_DEATHS = 10
"""A schedule whose firings died this often in a row does not get over it by being fired again."""
GIVE_WAY_S = 10.0
"""A run that is handed back waits for so long: its process, or its pod, is to be gone before the next begins."""
LOOK_AGAIN_S = 5.0
"""While another driver works on the run."""
_MAY_PASS = frozenset({ErrorClass.TRANSIENT_IO, ErrorClass.RESOURCE, ErrorClass.INFRA, ErrorClass.TIMEOUT})
"""Failures that another try can mend; the others need a person."""


class IncompleteError(InfraError):
    """Some items failed in ways that may pass."""


@flow(
    name="singalong-scheduled",
    persist_result=False,
    on_failure=[note_failed],
    on_cancellation=[note_cancelled],
    on_crashed=[note_crashed],
)
def scheduled_run(
    manifest: str,
    run: str,
    config: str | None = None,
    overrides: list[str] | None = None,
    require_rights: bool = False,
) -> Any:
    """Fire once: plan `manifest` onto the run at `run`, both absolute paths or URLs, and make what is missing.

    Ends Completed, also when there was nothing to do; Failed with the name SomeFailed when items failed, which are in
    the report; Cancelled when a person cancelled it; AwaitingRetry when its worker is being stopped, to be gone on
    with by the next one. What raises is tried again, as often as the deployment says.
    """
    notes = Notes.of_this_run(run)
    if _died_before() >= MAX_DEATHS:
        return _give_up(f"died {MAX_DEATHS} times, one firing after the other; see logs/ in {run}")
    try:
        summary, was_finished = _fire(
            manifest, run, load_settings(_path(config), overrides or []), require_rights, notes
        )
    except CancelledAtLastError:
        notes.cancelled("cancelled")
        return Cancelled(message="cancelled; fire it again, or press Retry, to go on where it ended")
    except INTERRUPTS:
        if is_being_cancelled():
            raise  # the worker says Cancelled, as its last word: only then may it be begun again
        notes.say("stopped with its worker: goes on as soon as one is there", event="stopped")
        _hand_back()
    return _verdict(summary, was_finished=was_finished)


def _fire(manifest: str, run: str, settings: Any, require_rights: bool, notes: Notes) -> tuple[RunSummary, bool]:
    """Plan and run, once nobody else works on the run; the summary, and whether nothing was left to do."""

    def plan(path: Path) -> RunFolder:
        made, rows = plan_run(
            manifest,
            settings=settings,
            store=store_of(settings),
            require_rights=require_rights,
            note=notes.say,
        )
        return RunFolder.create(path, made, settings, manifest=rows)

    def drive() -> tuple[RunSummary, bool]:
        with run_at(run, drive=True) as path:
            notes.folder = path
            summary, was_finished = drive_in(path)
            notes.ended(summary, was_finished=was_finished)
            return summary, was_finished

    def drive_in(path: Path) -> tuple[RunSummary, bool]:
        folder: RunFolder = as_task("plan", plan)(path)
        with folder.lock(), machine_turn(lambda: notes.say("waiting: another run is at work on this machine")):
            if is_finished(folder):
                return summarise(folder), True
            notes.began(folder)
            with Session(folder, FiringWatcher(folder, notes)) as session:
                return run_stages(session, wrap=as_task), False

    return _when_free(drive, notes)


def _when_free(drive: Callable[[], tuple[RunSummary, bool]], notes: Notes) -> tuple[RunSummary, bool]:
    """Do it, once nobody else works on the run: a person, or the flow of a run that Prefect believes dead."""
    waiting = False
    while True:
        try:
            return drive()
        except HeldError as error:
            if not waiting:
                notes.say(f"waiting: {error.problem}")
            waiting = True
            time.sleep(LOOK_AGAIN_S)


def _died_before() -> int:
    """How many firings of this schedule died, one after the other, until now."""
    if runtime.deployment.id is None:
        return 0
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[UUID(str(runtime.deployment.id))]))
    started = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=ours, flow_run_filter=started, sort=FlowRunSort.START_TIME_DESC, limit=MAX_DEATHS + 1
        )
    before = [run for run in runs if str(run.id) != str(runtime.flow_run.id)]
    return sum(1 for _ in takewhile(lambda run: run.state is not None and run.state.is_crashed(), before))


def _verdict(summary: RunSummary, *, was_finished: bool) -> Any:
    """The state that says what a run came to. Raises IncompleteError where another try may help."""
    films = f"{len(summary.films)} of {summary.num_pairs} pairs, {len(summary.montages)} montages"
    if summary.complete:
        return Completed(message=f"nothing to do: {films} stand" if was_finished else f"made: {films}")
    problem = f"{len(summary.failures)} failed ({films} made); they are in {summary.report}"
    if any(failure.error_class in _MAY_PASS for failure in summary.failures) and _has_tries_left():
        raise IncompleteError(problem)
    return _give_up(problem)


def _has_tries_left() -> bool:
    with get_client(sync_client=True) as client:
        policy = client.read_flow_run(runtime.flow_run.id).empirical_policy
    return bool(runtime.flow_run.run_count <= (policy.retries or 0))


def _give_up(problem: str) -> Any:
    """Failed, without the retries that are left: they would change nothing."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(runtime.flow_run.id, empirical_policy=FlowRunPolicy(retries=0, retry_delay=0))
    return Failed(name="SomeFailed", message=problem)


def _hand_back() -> NoReturn:
    """Put this flow run back into the queue, and end its process as one that did what it should.

    A state that is merely returned ends the process with an error, because it is not final; then whoever watches over
    the process takes the run for dead, while another process may be at it already.
    """
    later = datetime.now(UTC) + timedelta(seconds=GIVE_WAY_S)
    message = "its process was told to stop; goes on where it ended as soon as a worker is there"
    with get_client(sync_client=True) as client:
        flow_run_id = UUID(str(runtime.flow_run.id))
        state: State[Any] = propose_state_sync(
            client, AwaitingRetry(scheduled_time=later, message=message), flow_run_id
        )
    raise Pause(message, state=state)


def _path(config: str | None) -> Path | None:
    return None if config is None else Path(config)
