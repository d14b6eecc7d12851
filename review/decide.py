"""What a page may send: one decision, checked here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from review.feed import RunFeed
from singalong.errors import UsageError
from singalong.reviews import Decision, Ruling

REASONS = (
    "lips do not follow the song",
    "wrong face",
    "mouth looks wrong",
    "seam, flicker or blur",
    "face hidden or turned away",
    "wrong part of the song",
    "sound is wrong",
    "bad clip",
)
"""Offered under the keys 1 to 8; anything else can be written in words."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Question(BaseModel):
    """Whether something can be asked for, as a page sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pair: str = Field(max_length=500)
    settings: Annotated[tuple[Line, ...], Field(max_length=20)] = ()


class Sent(BaseModel):
    """A decision as a page sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{32}$", description="made by the page: sending it again changes nothing")
    pair: str = Field(max_length=500)
    film: str | None = Field(default=None, max_length=64, description="SHA-256 of the film that was looked at")
    ruling: Ruling
    reviewer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    reason: Line = ""
    note: Line = ""
    settings: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    age_s: float = Field(default=0.0, ge=0.0, le=30 * 86400.0, description="how long ago it was made, if sent late")


def record(sent: Sent, feed: RunFeed, check: Callable[[str, Sequence[str]], object]) -> None:
    """Write a decision; when this returns it is safe on the disk. `check` raises for what cannot be asked for.

    Raises KeyError for a pair that the run does not have, UsageError for settings that cannot be used.
    """
    if feed.view(sent.pair) is None:
        raise KeyError(sent.pair)
    if sent.settings and sent.ruling is not Ruling.REJECT:
        raise UsageError("only what is rejected is made again with other settings", value=sent.ruling.value)
    if sent.settings:
        check(sent.pair, sent.settings)
    decision = Decision(
        pair_id=sent.pair,
        ruling=sent.ruling,
        reviewer=_CONTROL.sub(" ", sent.reviewer),
        decided_at=_time_of(sent, feed.last_decided_at(sent.pair)),
        reason=_CONTROL.sub(" ", sent.reason),
        note=_CONTROL.sub(" ", sent.note),
        settings=sent.settings,
        output_sha256=sent.film or "",
    )
    feed.record(decision, sent.id)


def _time_of(sent: Sent, last: str) -> str:
    """When it was made; of two in one millisecond the second comes later, as an undo follows what it undoes."""
    made = datetime.now(UTC) - timedelta(seconds=sent.age_s)
    if last and sent.age_s == 0:
        made = max(made, datetime.fromisoformat(last) + timedelta(milliseconds=1))
    return made.isoformat(timespec="milliseconds")
