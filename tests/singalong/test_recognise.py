import numpy as np
import pytest

from singalong.looks import unit
from singalong.people import Person
from singalong.recognise import follow, most_like

ADA, FINN, MEI = np.eye(3, dtype=np.float32)


def person(track: int) -> Person:
    return Person(np.array([track]), (track,), 1, np.zeros(4), 1.0)


def like(look: np.ndarray, likeness: float, other: np.ndarray = MEI) -> np.ndarray:
    """A look that is so much like one, and for the rest like another."""
    return (likeness * look + np.sqrt(1 - likeness**2) * other).astype(np.float32)


def tracks(people: list[Person]) -> list[int]:
    return [found.tracks[0] for found in people]


def test_in_each_shot_the_person_most_alike_is_found_wherever_they_are() -> None:
    looks = {0: like(FINN, 0.9), 1: like(ADA, 0.9), 2: like(ADA, 0.8), 3: like(FINN, 0.8)}
    people = {1: [person(0), person(1)], 2: [person(2), person(3)]}
    assert tracks(follow(people, [ADA], [], looks)) == [1, 2]


@pytest.mark.parametrize(("likeness", "found"), [(0.7, [0]), (0.5, [])])
def test_where_nobody_is_alike_enough_there_is_nobody(likeness: float, found: list[int]) -> None:
    assert tracks(follow({1: [person(0)]}, [ADA], [], {0: like(ADA, likeness)})) == found


def test_somebody_who_stands_out_among_others_need_be_less_alike() -> None:
    looks = {0: like(ADA, 0.5), 1: like(ADA, 0.1, FINN)}
    assert tracks(follow({1: [person(0), person(1)]}, [ADA], [], looks)) == [0]
    looks[1] = like(ADA, 0.4, FINN)
    assert follow({1: [person(0), person(1)]}, [ADA], [], looks) == []


def test_somebody_more_like_a_stranger_is_the_stranger() -> None:
    look = unit(0.7 * ADA + 0.72 * FINN)
    assert tracks(follow({1: [person(0)]}, [ADA], [], {0: look})) == [0]
    assert follow({1: [person(0)]}, [ADA], [FINN], {0: look}) == []


def test_people_whose_looks_are_not_known_are_not_taken_for_anybody() -> None:
    assert follow({1: [person(0)], 2: []}, [ADA], [], {}) == []


def test_a_picture_finds_the_shot_in_which_the_person_is_most_like_it() -> None:
    people = {1: [person(0)], 2: [person(1), person(2)]}
    looks = {0: like(ADA, 0.55), 1: like(ADA, 0.8), 2: FINN}
    found = most_like(people, ADA, looks)
    assert found is not None
    assert (found[0], found[1].tracks) == (2, (1,))


def test_a_picture_of_somebody_else_finds_nobody() -> None:
    assert most_like({1: [person(0)]}, ADA, {0: like(ADA, 0.4)}) is None
    assert most_like({}, ADA, {}) is None
