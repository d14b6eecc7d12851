"""Two automations of Prefect's server, for all schedules: one reports runs that died, one has them go on."""

from __future__ import annotations

from datetime import timedelta

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, RunDeployment
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType

DEAD_AFTER_S = 180.0
"""Without a heartbeat, of which there are two a minute: a server that restarts, or a busy machine, is no death."""
REPORT_DEAD = "singalong: report a run that died"
RESUME_DEAD = "singalong: go on with a run that died"
_HEARTBEAT = "prefect.flow-run.heartbeat"


def ensure_automations(client: SyncPrefectClient, flow_id: str, *, dead_after_s: float = DEAD_AFTER_S) -> None:
    """Have both automations on the server, as they are here, unless a person paused them."""
    for wanted in _automations(flow_id, dead_after_s):
        known = client.read_automations_by_name(wanted.name)
        for stale in known[1:]:
            client.delete_automation(stale.id)
        if not known:
            client.create_automation(wanted)
        elif not _same(known[0], wanted):
            client.update_automation(known[0].id, wanted.model_copy(update={"enabled": known[0].enabled}))


def remove_automations(client: SyncPrefectClient) -> None:
    """Remove both, when the last schedule went."""
    for name in (REPORT_DEAD, RESUME_DEAD):
        for known in client.read_automations_by_name(name):
            client.delete_automation(known.id)


def _automations(flow_id: str, dead_after_s: float) -> tuple[AutomationCore, AutomationCore]:
    ours: dict[str, str | list[str]] = {
        "prefect.resource.role": "flow",
        "prefect.resource.id": f"prefect.flow.{flow_id}",
    }
    minutes = f"{dead_after_s / 60:g} minutes"
    report = AutomationCore(
        name=REPORT_DEAD,
        description=f"A scheduled run that was not heard of for {minutes} is marked as crashed, which frees its slot.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={_HEARTBEAT},
            expect={"prefect.flow-run.*"},  # another heartbeat, or any other state
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=ours,
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=dead_after_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                force=False,  # one that ended meanwhile stays as it ended
                message=f"died: not heard of for {minutes}; the machine, its worker or its process is gone",
            )
        ],
    )
    resume = AutomationCore(
        name=RESUME_DEAD,
        description="The schedule of a run that crashed fires again, and goes on where that one ended.",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={"prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=ours,
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            # Another firing, not the dead run again: its worker may still be at clearing up behind it, and would
            # mark it as crashed once more while it is under way. And asked for twice, it comes once.
            RunDeployment(source="inferred", deployment_id=None, parameters=None, job_variables=None)
        ],
    )
    return report, resume


def _same(known: AutomationCore, wanted: AutomationCore) -> bool:
    fields = ("description", "trigger", "actions")
    return all(_plain(getattr(known, name)) == _plain(getattr(wanted, name)) for name in fields)


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude={"id"}) if dump else value
