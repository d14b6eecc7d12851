"""Schedules as a Prefect server keeps them: one deployment each, in a work pool whose queues are the priorities."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flows.environment import prepare_environment

prepare_environment()  # Prefect reads its settings when it is imported

import httpx  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient, get_client  # noqa: E402
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate  # noqa: E402
from prefect.client.schemas.filters import (  # noqa: E402
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, StateType  # noqa: E402
from prefect.client.schemas.schedules import CronSchedule  # noqa: E402
from prefect.client.schemas.sorting import FlowRunSort  # noqa: E402
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError  # noqa: E402
from prefect.settings import PREFECT_API_URL  # noqa: E402
from prefect.utilities.callables import parameter_schema  # noqa: E402
from prefect.workers.process import ProcessWorker  # noqa: E402

from flows.schedule_automations import ensure_automations, remove_automations  # noqa: E402
from flows.schedule_help import no_server, server_away  # noqa: E402
from singalong.errors import UsageError  # noqa: E402

FLOW_NAME = "singalong-scheduled"
ENTRYPOINT = "flows.schedule_flow.scheduled_run"
"""By module, not by file: it works from any working directory of any worker that has singalong installed."""
TAG = "singalong"
QUEUES = {"high": 1, "normal": 2, "low": 3}
"""Work queues of a pool, by priority; 1 goes first."""
HEARTBEAT_S = 30
"""Of a running flow; the least that Prefect sends."""
SLOT_GRACE_S = 300
"""For this long a firing that has its turn may take to start; Prefect's own default, said here."""


@dataclass(frozen=True)
class Schedule:
    """What is to fire, when, where to and in which order.

    `run`, `manifest` and `config` are absolute paths or URLs: a worker has a working directory of its own.
    """

    name: str
    manifest: str
    run: str
    cron: str
    timezone: str
    pool: str
    priority: str = "normal"
    config: str | None = None
    overrides: tuple[str, ...] = ()
    require_rights: bool = False
    retries: int = 2
    retry_delay_s: int = 60
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the flow."""
        return {
            "manifest": self.manifest,
            "run": self.run,
            "config": self.config,
            "overrides": list(self.overrides),
            "require_rights": self.require_rights,
        }


@contextmanager
def server() -> Iterator[SyncPrefectClient]:
    """A client of the server that is configured. Raises UsageError saying what to start where there is none."""
    url = PREFECT_API_URL.value()
    if not url:
        raise no_server()
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.TransportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "reach" not in str(error).lower():
            raise
        raise server_away(url, error) from error
    except PrefectHTTPStatusError as error:
        raise UsageError(f"Prefect's server refused: {_detail(error)}", value=url) from error


def deploy(client: SyncPrefectClient, schedule: Schedule, *, at_once: int | None, replace: bool) -> bool:
    """Make a schedule, or change the one of its name; whether it is new. With its pool, queues and automations.

    at_once: runs at a time in the pool; None: as the pool has it, one for a new pool.

    Raises UsageError where the name, or the run folder, is another schedule's.
    """
    others = {found.name: found for found in read_all(client)}
    _check_is_free(schedule, others, replace=replace)
    ensure_pool(client, schedule.pool, at_once=at_once)
    flow_id = client.create_flow_from_name(FLOW_NAME)
    known = others.get(schedule.name)
    client.create_deployment(
        flow_id=flow_id,
        name=schedule.name,
        description=f"`{schedule.manifest}` onto `{schedule.run}`",
        tags=[TAG],
        entrypoint=ENTRYPOINT,
        work_pool_name=schedule.pool,
        work_queue_name=schedule.priority,
        parameters=schedule.parameters,
        parameter_openapi_schema=_schema(),
        enforce_parameter_schema=True,
        schedules=[
            DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone), active=True)
        ],
        paused=bool(known.paused) if known else False,
        job_variables={"env": _environment(schedule)},
        pull_steps=[],
        # One firing waits for the other. The last of a night must not be dropped because the first takes long, nor
        # the one that goes on after a death while the dead one's slot is still taken; and one too many costs little:
        # it finds everything finished.
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(
            collision_strategy=ConcurrencyLimitStrategy.ENQUEUE, grace_period_seconds=SLOT_GRACE_S
        ),
    )
    ensure_automations(client, str(flow_id))
    return known is None


def ensure_pool(client: SyncPrefectClient, name: str, *, at_once: int | None) -> None:
    """Make a process work pool with its queues, if it is not there."""
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template, concurrency_limit=at_once or 1)
        )
    else:
        if at_once is not None and pool.concurrency_limit != at_once:
            client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=at_once))
    for queue, priority in QUEUES.items():
        try:
            client.request(
                "POST",
                "/work_pools/{work_pool_name}/queues",
                path_params={"work_pool_name": name},
                json={"name": queue, "priority": priority},
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise


def read_all(client: SyncPrefectClient) -> Sequence[Any]:
    """All schedules of the server, by name."""
    found: list[Any] = []
    while page := client.read_deployments(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW_NAME])),
        deployment_filter=DeploymentFilter(),
        limit=200,
        offset=len(found),
    ):
        found += page
    return sorted(found, key=lambda deployment: str(deployment.name))


def find(client: SyncPrefectClient, name: str) -> Any:
    """The schedule of a name. Raises UsageError naming those there are."""
    try:
        return client.read_deployment_by_name(f"{FLOW_NAME}/{name}")
    except ObjectNotFound:
        names = ", ".join(str(deployment.name) for deployment in read_all(client)) or "none"
        raise UsageError("no schedule of this name", value=name, expected=f"one of the server's: {names}") from None


def remove(client: SyncPrefectClient, name: str) -> None:
    """Remove a schedule and its firings to come.

    Raises UsageError while a firing is under way: it holds a slot of its deployment, and without that Prefect 3.8
    refuses every state that it could end in. It would be shown as running, and keep its place in the pool, for ever.
    """
    deployment_id = find(client, name).id
    states = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    under_way = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=states)),
        limit=1,
    )
    if under_way:
        raise UsageError(
            "it cannot be removed while a firing is under way",
            value=under_way[0].name,
            action=f"Wait for it, or cancel it in Prefect's UI; meanwhile --pause {name} keeps others from coming.",
        )
    client.delete_deployment(deployment_id)
    if not read_all(client):
        remove_automations(client)


def set_paused(client: SyncPrefectClient, name: str, *, paused: bool) -> Any:
    """Stop a schedule from firing, or let it fire again."""
    deployment = find(client, name)
    (client.pause_deployment if paused else client.resume_deployment)(deployment.id)
    return deployment


def fire(client: SyncPrefectClient, name: str) -> Any:
    """Fire a schedule now, once; the flow run, which waits for a worker."""
    return client.create_flow_run_from_deployment(find(client, name).id)


def coming(client: SyncPrefectClient, deployment_id: Any) -> list[datetime]:
    """The next firings that the server's scheduler has made; none for a paused schedule, or with no scheduler."""
    later: Any = datetime.now(UTC)
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(after_=later),
        ),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=3,
    )
    return [run.next_scheduled_start_time for run in runs if run.next_scheduled_start_time is not None]


def latest(client: SyncPrefectClient, deployment_id: Any) -> Any:
    """The flow run of a schedule that started last; None where none did."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False)),
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    return runs[0] if runs else None


def _check_is_free(schedule: Schedule, others: dict[str, Any], *, replace: bool) -> None:
    known = others.get(schedule.name)
    if known is not None and not replace and known.parameters.get("manifest") != schedule.manifest:
        raise UsageError(
            f"the schedule {schedule.name!r} fires another manifest",
            value=known.parameters.get("manifest"),
            action="Give this one another --name, or --replace that one.",
        )
    for name, other in others.items():
        if name != schedule.name and other.parameters.get("run") == schedule.run:
            raise UsageError(
                f"the schedule {name!r} runs there already: two manifests on one run folder undo each other",
                value=schedule.run,
                action="Give another --run.",
            )


def _environment(schedule: Schedule) -> dict[str, str]:
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_FLOWS_DEFAULT_RETRIES": str(schedule.retries),
        "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": str(schedule.retry_delay_s),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        **schedule.environment,
    }


def frozen_environment() -> dict[str, str]:
    """What of this shell's environment decides what a run makes; credentials are the worker's own."""
    return {name: os.environ[name] for name in ("SINGALONG_MODELS",) if os.environ.get(name)}


def _schema() -> dict[str, Any]:
    """The flow's parameters as Prefect shows and checks them."""
    from flows.schedule_flow import scheduled_run

    schema: dict[str, Any] = parameter_schema(scheduled_run).model_dump_for_openapi()
    return schema


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        return str(error.response.json().get("detail") or error)
    except ValueError:
        return str(error)
