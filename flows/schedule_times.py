"""When a schedule fires: cron strings, time zones, and the times that come of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import prefect._vendor.croniter as vendored  # what the server itself fires by

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
        next(iter(firings(cron, ZoneInfo("UTC"))))
    except (ValueError, KeyError) as error:  # croniter's own errors are ValueErrors
        raise UsageError(f"no cron string that ever fires: {error}", value=cron, expected=_EXAMPLES) from error
    return cron


def firings(cron: str, zone: ZoneInfo, *, after: datetime | None = None) -> Iterator[datetime]:
    """The times a cron string fires in a time zone, from now on or after a time."""
    croniter: Any = vendored
    times = croniter.croniter(cron, (after or datetime.now(UTC)).astimezone(zone))
    while True:
        yield times.get_next(datetime)


def next_firings(cron: str, timezone: str, count: int = 3) -> list[str]:
    """The next firings in words, with weekday and offset, so that nobody has to guess which two o'clock is meant."""
    times = firings(cron, ZoneInfo(timezone))
    return [in_words(next(times), timezone) for _ in range(count)]


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
