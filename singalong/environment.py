"""Numbers that the environment gives."""

from __future__ import annotations

import os

from singalong.errors import UsageError


def seconds_from(name: str, default_s: float, *, least_s: float, expected: str) -> float:
    """Seconds, from `least_s` to a million, that the variable `name` gives; the default where it is not set or empty.

    Raises UsageError where it gives something else; `expected` says what it should give.
    """
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default_s
    except ValueError:
        value = -1.0
    if not least_s <= value < 1e6:
        raise UsageError(f"{name} is no number of seconds", value=text, expected=expected)
    return value
