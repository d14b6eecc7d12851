"""`singalong schedule`."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.exit_codes import EXIT_OK
from flows.schedule_deploy import (
    QUEUES,
    Schedule,
    coming,
    deploy,
    find,
    fire,
    frozen_environment,
    latest,
    read_all,
    remove,
    server,
    set_paused,
)
from flows.schedule_help import LEASES, start_server, start_worker
from flows.schedule_times import checked_cron, checked_timezone, in_words, next_firings
from flows.terminal import out, print_facts, print_json, print_table, print_warning
from singalong.config import load_settings
from singalong.errors import UsageError
from singalong.objects import is_url

_PATH_SETTINGS = ("run.store", "film.certificate", "film.certificate_key")
_SERVER_LEASES = "prefect.server.concurrency.lease_storage.memory"
_SCHEDULER_S = 15.0
_NO_FIRINGS = (
    f"the server has made no firings of it within {_SCHEDULER_S:g} s: it is busy, or its scheduler does not work (its "
    "log says why; with SQLAlchemy 2.1 it does not). Look again: singalong schedule --list"
)


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    manifest: str
    cron: str | None
    run: str | None
    name: str | None
    timezone: str | None
    pool: str
    priority: str
    config: Path | None
    overrides: list[str]
    require_rights: bool
    retries: int
    retry_delay_s: int
    at_once: int | None
    replace: bool


def schedule_command(wish: Wish, *, as_json: bool) -> int:
    """Have a manifest fire by itself from now on, and say when, where and what is still missing for it."""
    schedule = _checked(wish)
    with server() as client:
        is_new = deploy(client, schedule, at_once=wish.at_once, replace=wish.replace)
        hints = _hints(client, schedule)
        standing = find(client, schedule.name)
        paused = bool(standing.paused)
        if not paused and not _fires(client, standing.id):
            hints.append(_NO_FIRINGS)
    times = next_firings(schedule.cron, schedule.timezone)
    if as_json:
        print_json(_document(schedule) | {"new": is_new, "paused": paused, "next": times, "hints": hints})
        return EXIT_OK
    whose = "" if wish.timezone else ", this machine's; another: --timezone"
    print_facts(
        {
            "schedule": f"{schedule.name} ({'new' if is_new else 'changed'}{', paused' if paused else ''})",
            "manifest": schedule.manifest,
            "run": schedule.run,
            "cron": f"{schedule.cron} in {schedule.timezone}{whose}",
            "next": "\n".join(times),
            "pool": f"{schedule.pool}, priority {schedule.priority}",
        }
    )
    for hint in hints:
        print_warning(hint)
    return EXIT_OK


def list_command(*, as_json: bool) -> int:
    """Show the schedules of the server."""
    with server() as client:
        rows = [_standing(client, deployment) for deployment in read_all(client)]
    if as_json:
        print_json(rows)
        return EXIT_OK
    columns = ["name", "cron", "timezone", "next", "pool", "priority", "last", "run"]
    cells: list[list[object]] = [[row[column] for column in columns] for row in rows]
    print_table(f"{len(rows)} schedules", columns, cells)
    return EXIT_OK


def pause_command(name: str, *, paused: bool, as_json: bool) -> int:
    """Stop a schedule from firing, or let it fire again."""
    with server() as client:
        set_paused(client, name, paused=paused)
    return _done({"schedule": name, "paused": paused}, f"{name} {'paused' if paused else 'fires again'}", as_json)


def remove_command(name: str, *, as_json: bool) -> int:
    """Remove a schedule; its run folder stays."""
    with server() as client:
        remove(client, name)
    text = f"{name} removed; its run folder stays"
    return _done({"schedule": name, "removed": True}, text, as_json)


def now_command(name: str, *, as_json: bool) -> int:
    """Fire a schedule once, now; returns at once."""
    from prefect.utilities.urls import url_for

    with server() as client:
        flow_run = fire(client, name)
        pool = find(client, name).work_pool_name
        waiting = not _online(client, pool)
    url = url_for(flow_run)
    if waiting:
        print_warning(f"no worker is polling {pool}; start one: {start_worker(pool)}")
    facts = {"schedule": name, "flow_run": str(flow_run.id), "flow_run_name": flow_run.name, "url": url}
    return _done(facts, f"{name} fires as {flow_run.name}: {url}", as_json)


def _done(document: dict[str, Any], text: str, as_json: bool) -> int:
    if as_json:
        print_json(document)
    else:
        out.print(text, markup=False)
    return EXIT_OK


def _checked(wish: Wish) -> Schedule:
    """The schedule as it will be frozen. Raises UsageError for whatever would only fail at two in the morning."""
    if wish.cron is None:
        raise UsageError("nothing says when it is to fire", expected='--cron "0 2 * * *", for every night at two')
    if wish.run is None:
        raise UsageError(
            "nothing says where it is to run", expected="--run, a folder or URL that every firing goes on in"
        )
    if wish.priority not in QUEUES:
        raise UsageError("unknown priority", value=wish.priority, expected=f"one of {', '.join(QUEUES)}")
    manifest = _absolute(wish.manifest)
    if not is_url(manifest) and not Path(manifest).exists():
        raise UsageError("there is no such manifest", file=manifest, expected="a file, or a folder of clips")
    return Schedule(
        name=_name(wish.name, manifest),
        manifest=manifest,
        run=_absolute(wish.run),
        cron=checked_cron(wish.cron),
        timezone=checked_timezone(wish.timezone),
        pool=wish.pool,
        priority=wish.priority,
        config=None if wish.config is None else _absolute(str(wish.config)),
        overrides=tuple(_frozen(wish.config, wish.overrides)),
        require_rights=wish.require_rights,
        retries=wish.retries,
        retry_delay_s=wish.retry_delay_s,
        environment=frozen_environment(),
    )


def _frozen(config: Path | None, overrides: list[str]) -> list[str]:
    """The overrides, with every path among the settings absolute: a worker's working directory is a temporary one."""
    settings = load_settings(config, overrides)
    frozen = list(overrides)
    for name in _PATH_SETTINGS:
        section, _, key = name.partition(".")
        value = getattr(getattr(settings, section), key)
        if value is not None and value != (absolute := _absolute(value)):
            frozen.append(f"{name}={absolute}")
    store = os.environ.get("SINGALONG_STORE")  # this shell's, which a worker does not have
    if store and not settings.run.store:
        frozen.append(f"run.store={_absolute(store)}")
    return frozen


def _absolute(place: str) -> str:
    return place if is_url(place) else str(Path(place).expanduser().absolute())


def _name(name: str | None, manifest: str) -> str:
    chosen = name if name is not None else Path(manifest.rstrip("/")).stem
    if not chosen.strip() or re.search(r'[/%&><"\n]', chosen):
        raise UsageError("a schedule's name cannot be that", value=chosen, expected='letters, without / % & < > "')
    return chosen


def _hints(client: Any, schedule: Schedule) -> list[str]:
    """What is still missing for it to fire well."""
    hints = []
    pool = client.read_work_pool(schedule.pool)
    if not _online(client, schedule.pool):
        hints.append(
            f"no worker is polling {schedule.pool}: it fires, and waits. Start one: {start_worker(schedule.pool)}"
        )
    if pool.is_paused:
        hints.append(f"the pool {schedule.pool} is paused: prefect work-pool resume {schedule.pool}")
    if pool.concurrency_limit is None:
        hints.append(
            f"the pool {schedule.pool} has no limit: two schedules may fight for one GPU. Give it one: --at-once 1"
        )
    settings = client.request("GET", "/admin/settings").json()
    if settings.get("server", {}).get("concurrency", {}).get("lease_storage") == _SERVER_LEASES:
        hints.append(
            "the server keeps in memory who is running: restarting it ends runs that are under way (they go on by "
            f"themselves). Start it with PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={LEASES}, as here: {start_server()}"
        )
    return hints


def _fires(client: Any, deployment_id: Any) -> bool:
    """Whether the server's scheduler made firings of it; it looks for new schedules every few seconds."""
    deadline = time.monotonic() + _SCHEDULER_S
    while not coming(client, deployment_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _online(client: Any, pool: str) -> bool:
    return any(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(pool))


def _standing(client: Any, deployment: Any) -> dict[str, Any]:
    """A schedule as it stands on the server; the next firing is the server's own word, not what cron promises."""
    last, times = latest(client, deployment.id), coming(client, deployment.id)
    cron, timezone = _times(deployment)
    upcoming = in_words(times[0], timezone) if times else "none made by the server"
    return {
        "name": deployment.name,
        "cron": cron,
        "timezone": timezone,
        "next": "paused" if deployment.paused else upcoming,
        "paused": bool(deployment.paused),
        "pool": deployment.work_pool_name,
        "priority": deployment.work_queue_name,
        "last": None if last is None else f"{last.state_name} {last.start_time.astimezone():%Y-%m-%d %H:%M}",
        "last_message": None if last is None or last.state is None else last.state.message,
        "manifest": deployment.parameters.get("manifest"),
        "run": deployment.parameters.get("run"),
        "parameters": deployment.parameters,
    }


def _times(deployment: Any) -> tuple[str | None, str]:
    for one in deployment.schedules:
        if hasattr(one.schedule, "cron"):
            return one.schedule.cron, one.schedule.timezone or "UTC"
    return None, "UTC"


def _document(schedule: Schedule) -> dict[str, Any]:
    return {
        "schedule": schedule.name,
        "manifest": schedule.manifest,
        "run": schedule.run,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "pool": schedule.pool,
        "priority": schedule.priority,
        "parameters": schedule.parameters,
    }
