"""When a schedule fires: cron strings, time zones, and the times that come of them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from prefect.server.schemas.schedules import CronSchedule

from singalong.errors import UsageError

_FIELDS = "minute hour day month weekday"
_EXAMPLES = 'five fields, minute hour day month weekday: "0 2 * * *" is every night at two, "30 8 * * mon-fri" weekdays'
_ZONE_FILES = "zoneinfo/"


def checked_cron(cron: str) -> str:
    """The cron string, if it can fire. Raises UsageError naming it, and what is wrong with it.

    Prefect takes seconds, hashed and random fields in part and in part not; here they are refused.
    """
    fields = cron.split()
    if len(fields) != len(_FIELDS.split()):
        raise UsageError(f"a cron string has five fields, this one {len(fields)}", value=cron, expected=_EXAMPLES)
    if any(field.casefold().startswith(("h", "r")) for field in fields):
        raise UsageError("hashed and random cron fields are not supported", value=cron, expected=_EXAMPLES)
    try:
        firings(cron, "UTC", 1)
    except (ValueError, KeyError) as error:  # pydantic's and croniter's own are ValueErrors
        raise UsageError(f"no cron string that ever fires: {error}", value=cron, expected=_EXAMPLES) from error
    return cron


def firings(cron: str, timezone: str, count: int, *, after: datetime | None = None) -> list[datetime]:
    """The times a cron string fires in a time zone, from now on or after a time, as Prefect's server will have it.

    Where a clock goes forward over a time, it fires an hour before it that day; where it goes back, once.
    """
    start: Any = after or datetime.now(UTC)
    return list(asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(count, start=start)))


def next_firings(cron: str, timezone: str, count: int = 3) -> list[str]:
    """The next firings in words, with weekday and offset, so that nobody has to guess which two o'clock is meant."""
    return [in_words(time, timezone) for time in firings(cron, timezone, count)]


def in_words(time: datetime, timezone: str) -> str:
    """A time as people of a time zone say it."""
    return f"{time.astimezone(ZoneInfo(timezone)):%a %Y-%m-%d %H:%M %Z (UTC%z)}"


def checked_timezone(name: str | None) -> str:
    """A time zone's IANA name; None: that of this machine. Raises UsageError for one that is unknown."""
    if name is None:
        return machine_timezone()
    if name not in available_timezones():
        raise UsageError(
            "unknown time zone", value=name, expected="a name of the tz database, such as Europe/Berlin or UTC"
        )
    return name


def machine_timezone(root: Path = Path("/")) -> str:
    """The IANA name of this machine's time zone: $TZ, else what /etc/localtime is a link to, else /etc/timezone.

    Raises UsageError where that does not tell: a guess would fire at the wrong hour every night.
    """
    known = available_timezones()
    candidates = [os.environ.get("TZ", "").removeprefix(":")]
    if not candidates[0]:
        linked = str((root / "etc/localtime").resolve())
        candidates.append(linked.rpartition(_ZONE_FILES)[2] if _ZONE_FILES in linked else "")
        named = root / "etc/timezone"
        candidates.append(named.read_text(encoding="utf-8").strip() if named.is_file() else "")
    for candidate in candidates:
        if candidate in known:
            return candidate
    raise UsageError(
        "this machine does not tell the name of its time zone", action="Give it: --timezone Europe/Berlin, for example."
    )
