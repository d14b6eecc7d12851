"""Finding one person again in the other shots of a span, by looks.

Pure functions on the people of `singalong.people` and the looks of their tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from singalong.looks import Look, likeness
from singalong.people import Person

MIN_LIKENESS = 0.62
"""People less alike than this are not taken for the same. On real clips one person is 0.67 to 0.98 like themselves in
another part of the same film, and up to 0.60 like another before the same camera. So the person asked for is rather not
found than confused."""

CLEAR_LIKENESS, CLEAR_MARGIN = 0.45, 0.2
"""... or at least this much alike, and this much more than everybody else in the shot: of drawn people in another light
a third is less than 0.62 like themselves, and one stranger in a hundred more than 0.46 like another."""

MIN_PICTURE_LIKENESS = 0.5
"""Whoever of all people in a span is most like a given picture is the one meant, if at least this much alike: the same
man in other clothes, on another day, is 0.55 to 0.61 like himself; half of all strangers are below 0.14, one in ten is
above 0.35."""

Looks = Mapping[int, Look]


def looks_of(person: Person, looks: Looks) -> list[Look]:
    """The looks of a person's tracks, as far as they are known."""
    return [looks[track] for track in person.tracks if track in looks]


def follow(
    people: Mapping[int, Sequence[Person]], wanted: Sequence[Look], strangers: Sequence[Look], looks: Looks
) -> list[Person]:
    """In each shot the person most like those wanted; nobody where nobody is alike, or one is more like a stranger.

    Args:
        people: by shot.
        wanted: looks of the person; the nearest counts.
        strangers: looks of people who are known to be others.
        looks: of all people, by track number.
    """
    found = []
    for group in people.values():
        ranked = sorted(((_alike(person, wanted, looks), n) for n, person in enumerate(group)), reverse=True)
        if not ranked:
            continue
        alike, best = ranked[0]
        stands_out = len(ranked) > 1 and alike >= CLEAR_LIKENESS and alike - ranked[1][0] >= CLEAR_MARGIN
        if (alike >= MIN_LIKENESS or stands_out) and alike > _alike(group[best], strangers, looks):
            found.append(group[best])
    return found


def most_like(people: Mapping[int, Sequence[Person]], picture: Look, looks: Looks) -> tuple[int, Person] | None:
    """Shot and person most like a picture in all shots; None where nobody is at all alike."""
    everybody = ((shot, person) for shot, group in people.items() for person in group)
    best = max(everybody, key=lambda item: _alike(item[1], [picture], looks), default=None)
    if best is None or _alike(best[1], [picture], looks) < MIN_PICTURE_LIKENESS:
        return None
    return best


def _alike(person: Person, others: Iterable[Look], looks: Looks) -> float:
    """How alike a person and the most alike of some looks are; -1 where that is not known."""
    own = looks_of(person, looks)
    return max((likeness(look, other) for look in own for other in others), default=-1.0)
