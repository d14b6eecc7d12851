"""`singalong schedule` on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.options import Config, Json, Overrides, RequireRights
from singalong.errors import UsageError

_WHEN = '--cron "0 2 * * *"'
_THINGS = ("MANIFEST", "--list", "--pause", "--resume", "--remove", "--now")

Manifest = Annotated[
    str | None,
    typer.Argument(help="Manifest: a file, a folder or a URL, read anew at each firing.", show_default=False),
]
Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar="CRON", help='When, in five fields: "0 2 * * *" is every night at two.'),
]
RunPlace = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Run folder or URL: every firing goes on in it.")
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the schedule; by default that of the manifest.")]
Zone = Annotated[
    str | None, typer.Option("--timezone", metavar="ZONE", help="Such as Europe/Berlin; by default this machine's.")
]
Pool = Annotated[str, typer.Option("--pool", help="Work pool whose workers do the work; made if it is not there.")]
Priority = Annotated[
    str, typer.Option("--priority", help="high, normal or low: which of the waiting firings goes first.")
]
AtOnce = Annotated[
    int | None,
    typer.Option("--at-once", min=1, help="Runs at a time in the pool; a new pool has 1.", show_default=False),
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, max=10, help="How often a firing that fails goes on by itself.")
]
RetryDelay = Annotated[int, typer.Option("--retry-delay", min=0, metavar="SECONDS", help="How long after.")]
Replace = Annotated[bool, typer.Option("--replace", help="Also where the name is that of another manifest's schedule.")]
ListAll = Annotated[bool, typer.Option("--list", help="Show all schedules.")]
Pause = Annotated[str | None, typer.Option("--pause", metavar="NAME", help="Stop one from firing.")]
Resume = Annotated[str | None, typer.Option("--resume", metavar="NAME", help="Let it fire again.")]
Remove = Annotated[str | None, typer.Option("--remove", metavar="NAME", help="Remove one.")]
Now = Annotated[str | None, typer.Option("--now", metavar="NAME", help="Fire one now, once.")]


def schedule(
    manifest: Manifest = None,
    cron: Cron = None,
    run: RunPlace = None,
    name: Name = None,
    timezone: Zone = None,
    pool: Pool = "singalong",
    priority: Priority = "normal",
    at_once: AtOnce = None,
    retries: Retries = 2,
    retry_delay: RetryDelay = 60,
    config: Config = None,
    set_: Overrides = None,
    require_rights: RequireRights = False,
    replace: Replace = False,
    list_: ListAll = False,
    pause: Pause = None,
    resume: Resume = None,
    remove: Remove = None,
    now: Now = None,
    json: Json = False,
) -> None:
    """Have a manifest run by itself, by a Prefect server: `--cron`; or list, pause, resume, remove, fire schedules."""
    told = (manifest, list_, pause, resume, remove, now)
    _check_one_thing([word for word, value in zip(_THINGS, told, strict=True) if value])
    if manifest is None:
        raise typer.Exit(_change(list_, pause, resume, remove, now, as_json=json))
    from flows.commands import schedule as commands

    wish = commands.Wish(
        manifest=manifest,
        cron=cron,
        run=run,
        name=name,
        timezone=timezone,
        pool=pool,
        priority=priority,
        config=config,
        overrides=set_ or [],
        require_rights=require_rights,
        retries=retries,
        retry_delay_s=retry_delay,
        at_once=at_once,
        replace=replace,
    )
    raise typer.Exit(commands.schedule_command(wish, as_json=json))


def _check_one_thing(asked: list[str]) -> None:
    if len(asked) != 1:
        raise UsageError(
            "one thing at a time",
            value=asked,
            expected=f"MANIFEST {_WHEN}, or one of {' '.join(_THINGS[1:])}",
        )


def _change(
    list_: bool, pause: str | None, resume: str | None, remove: str | None, now: str | None, *, as_json: bool
) -> int:
    from flows.commands import schedule as commands

    if list_:
        return commands.list_command(as_json=as_json)
    if pause is not None:
        return commands.pause_command(pause, paused=True, as_json=as_json)
    if resume is not None:
        return commands.pause_command(resume, paused=False, as_json=as_json)
    if remove is not None:
        return commands.remove_command(remove, as_json=as_json)
    assert now is not None
    return commands.now_command(now, as_json=as_json)
