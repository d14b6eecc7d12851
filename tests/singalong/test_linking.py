import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.linking import Sample, link_samples, match_boxes, samples_between
from tests.singalong.face_samples import box, sample


def frames_of(track: list[tuple[Sample, int]]) -> list[int]:
    return [seen.frame for seen, _ in track]


def test_each_face_is_matched_with_the_one_nearest_in_place_and_size() -> None:
    left = np.array([box(0), box(200), box(400)])
    right = np.array([box(405), box(10), box(190)])
    assert sorted(match_boxes(left, right)) == [(0, 1), (1, 2), (2, 0)]


def test_a_face_is_matched_once_only() -> None:
    assert match_boxes(np.array([box(0), box(30)]), np.array([box(25)])) == [(1, 0)]


@pytest.mark.parametrize("other", [box(200), box(30, side=20)], ids=["elsewhere", "of another size"])
def test_faces_far_apart_in_place_or_size_are_not_matched(other: list[float]) -> None:
    assert match_boxes(np.array([box(0)]), np.array([other])) == []


@pytest.mark.parametrize(("num_left", "num_right"), [(0, 0), (0, 2), (1, 0)])
def test_nothing_is_matched_with_nothing(num_left: int, num_right: int) -> None:
    assert match_boxes(np.ones((num_left, 4)), np.ones((num_right, 4))) == []


@given(st.integers(2, 48), st.data())
def test_the_frame_in_which_a_face_appears_is_found_exactly_with_few_looks(length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, length))
    looks: list[int] = []

    def look(frame: int) -> Sample:
        looks.append(frame)
        return sample(frame, *([box(50)] if frame >= first else []))

    samples = [look(0), *samples_between(look(0), look(length), look), look(length)]
    [track] = link_samples(samples, max_gap_s=0.8)
    assert track[0][0].frame == first
    assert len(looks) <= 4 + np.ceil(np.log2(length))
    assert [s.frame for s in samples] == sorted({s.frame for s in samples})


def test_nothing_is_looked_for_between_samples_that_agree() -> None:
    def look(frame: int) -> Sample:
        raise AssertionError(frame)

    assert samples_between(sample(0, box(50), box(300)), sample(5, box(304), box(52)), look) == []
    assert samples_between(sample(0), sample(5), look) == []


def test_a_weak_detection_before_a_strong_one_does_not_hide_where_the_strong_ones_begin() -> None:
    def look(frame: int) -> Sample:
        return sample(frame, box(50), score=0.9 if frame >= 3 else 0.35)

    between = samples_between(look(0), look(8), look, min_score=0.5)
    [track] = link_samples([look(0), *between, look(8)], max_gap_s=0.8, min_score=0.5)
    assert frames_of(track)[0] == 3


def test_a_face_that_moved_far_is_followed_frame_by_frame_where_needed() -> None:
    def look(frame: int) -> Sample:
        return sample(frame, box(50 + 40 * frame))

    between = samples_between(look(0), look(8), look)
    [track] = link_samples([look(0), *between, look(8)], max_gap_s=0.8)
    assert len(between) > 2
    assert frames_of(track)[-1] == 8


def test_a_track_survives_misses_up_to_the_longest_gap() -> None:
    misses = [sample(frame) for frame in range(5, 20, 5)]
    [track] = link_samples([sample(0, box(50)), *misses, sample(20, box(52))], max_gap_s=0.8)
    assert frames_of(track) == [0, 20]


def test_a_longer_gap_splits_the_track() -> None:
    misses = [sample(frame) for frame in range(5, 25, 5)]
    tracks = link_samples([sample(0, box(50)), *misses, sample(25, box(52))], max_gap_s=0.8)
    assert list(map(frames_of, tracks)) == [[0], [25]]


def test_time_without_a_look_is_no_gap() -> None:
    [track] = link_samples([sample(0, box(50), pts_s=0.0), sample(1, box(52), pts_s=3.0)], max_gap_s=0.8)
    assert frames_of(track) == [0, 1]


def test_neighbours_keep_their_tracks_when_the_detector_changes_their_order() -> None:
    samples = [sample(0, box(0), box(100)), sample(5, box(104), box(3)), sample(10, box(6))]
    left, right = link_samples(samples, max_gap_s=0.8)
    assert [seen.boxes[face, 0] for seen, face in left] == [0, 3, 6]
    assert [seen.boxes[face, 0] for seen, face in right] == [100, 104]


def crossing(people: tuple[int, int], *, both_seen: bool) -> list[Sample]:
    """Two people walk past each other: the one in front hides the other for half a second, or is merely beside."""
    samples = []
    for frame in range(0, 51, 5):
        left, right = box(8.0 * frame), box(400 - 8.0 * frame)
        apart = abs(left[0] - right[0])
        if apart < 80 and not both_seen:
            samples.append(sample(frame, left, people=people[:1]))
        else:
            samples.append(sample(frame, left, right, people=people))
    return samples


@pytest.mark.parametrize("both_seen", [True, False])
def test_two_people_who_cross_keep_their_tracks(both_seen: bool) -> None:
    tracks = link_samples(crossing((0, 1), both_seen=both_seen), max_gap_s=0.8)
    looks = [{int(seen.looks[face].argmax()) for seen, face in track} for track in tracks]
    assert looks == [{0}, {1}]


def test_two_people_who_turn_round_where_they_meet_keep_their_tracks() -> None:
    """By place and speed alone they would change over."""
    lefts = [0, 40, 80, 120, 130, 120, 80, 40]
    samples = [
        sample(5 * n, box(left), box(280 - left), people=(0, 1)) if left < 130 else sample(5 * n, box(140), people=(0,))
        for n, left in enumerate(lefts)
    ]
    tracks = link_samples(samples, max_gap_s=0.8)
    looks = [{int(seen.looks[face].argmax()) for seen, face in track} for track in tracks]
    assert looks == [{0}, {1}]


def test_a_weak_detection_carries_a_track_on_but_starts_none() -> None:
    samples = [sample(0, box(50)), sample(5, box(52), score=0.35), sample(10, box(54))]
    [track] = link_samples(samples, max_gap_s=0.8, min_score=0.5)
    assert frames_of(track) == [0, 5, 10]
    assert link_samples([sample(0, box(50), score=0.35)], max_gap_s=0.8, min_score=0.5) == []


def test_a_face_that_moves_fast_is_found_again_after_a_miss() -> None:
    places = {0: 0, 5: 40, 10: 80, 20: 160}
    samples = [sample(frame, *([box(places[frame])] if frame in places else [])) for frame in (0, 5, 10, 15, 20)]
    [track] = link_samples(samples, max_gap_s=0.8)
    assert frames_of(track) == [0, 5, 10, 20]
