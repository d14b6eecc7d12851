"""When schedules fire: cron strings that are refused before they are missed, and time zones that nobody guesses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.schedule_times import checked_cron, checked_timezone, firings, machine_timezone, next_firings
from singalong.errors import UsageError

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    "cron",
    [
        *("", "daily", "0 2 * *", "0 2 * * * *", "61 2 * * *", "0 25 * * *", "0 2 * * funday", "0 0 31 2 *"),
        *("H 2 * * *", "R 2 * * *", "@daily"),
    ],
)
def test_what_never_fires_or_is_no_cron_string_is_refused_with_an_example(cron: str) -> None:
    with pytest.raises(UsageError, match="minute hour day month weekday"):
        checked_cron(cron)


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/30 8-18 * * mon-fri", "0 0 29 2 *", "15,45 * 1 * *"])
def test_what_fires_is_taken_as_it_is(cron: str) -> None:
    assert checked_cron(cron) == cron


def test_two_at_night_stays_two_at_night_when_clocks_change() -> None:
    times = firings("0 2 * * *", BERLIN, 3, after=datetime(2026, 10, 23, 12, tzinfo=UTC))
    assert [f"{time:%d %H:%M %z}" for time in times] == [
        "24 02:00 +0200",
        "25 02:00 +0200",
        "26 02:00 +0100",
    ]


def test_times_are_shown_with_their_weekday_and_offset() -> None:
    (time,) = next_firings("0 2 1 7 *", "Europe/Berlin", 1)
    assert time.endswith("02:00 CEST (UTC+0200)")


def test_a_time_zone_that_is_unknown_is_refused() -> None:
    with pytest.raises(UsageError, match="Europe/Berlin"):
        checked_timezone("Berlin")


def machine(folder: Path, *, link: str = "", text: str = "") -> Path:
    (folder / "etc").mkdir()
    if link:
        (folder / "etc/localtime").symlink_to(f"/usr/share/zoneinfo/{link}")
    if text:
        (folder / "etc/timezone").write_text(text)
    return folder


def test_the_time_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert machine_timezone(machine(tmp_path, text="Asia/Tokyo\n")) == "Asia/Tokyo"
    monkeypatch.setenv("TZ", ":America/New_York")
    assert machine_timezone(tmp_path) == "America/New_York"


@pytest.mark.parametrize("zone", ["", "CET-1CEST"])
def test_a_machine_that_does_not_tell_its_time_zone_is_asked_for_it_and_not_taken_for_utc(
    zone: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", zone)
    with pytest.raises(UsageError, match="--timezone"):
        machine_timezone(machine(tmp_path, text="Asia/Tokyo" if zone else ""))
