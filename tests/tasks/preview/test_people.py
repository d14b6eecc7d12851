"""Who is where: people numbered as `index` counts them, and points that pick them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from singalong.media.time_strip import Mark
from singalong.track_table import ShotTable, TrackTable
from singalong.tracks import choose_face
from tasks.analyse import Analysis, AnalysisFacts
from tasks.preview.people import (
    MAX_FRAMES_OF_SHOT,
    Seen,
    SpanView,
    Wish,
    best_row,
    look_at_span,
    moments_of,
    point_of,
    row_at,
    shots_to_show,
    times_of,
)
from tests.singalong.test_tracks import clip, square, track

FPS = 25.0


def look(tables: tuple[TrackTable, ShotTable], start_s: float, end_s: float, *wishes: Wish) -> SpanView:
    analysis = Analysis(tracks=tables[0], shots=tables[1], facts=AnalysisFacts.model_construct())
    return look_at_span(analysis, start_s, end_s, wishes)


def people(view: SpanView) -> list[tuple[int, Seen]]:
    return [(shot.shot, person) for shot in view.shots for person in shot.people]


CROWD = clip(
    (50, [track(0, 50, square(600)), track(0, 50, square(100)), track(20, 30, square(350, side=40))]),
    (50, [track(50, 100, square(400)), track(60, 100, square(50, side=60)), track(50, 90, square(800, side=20))]),
    (30, []),
)


def test_every_number_on_the_sheet_is_the_one_that_index_counts() -> None:
    view = look(CROWD, 0, 5.2)
    for shot, person in people(view):
        if person.index is not None:
            chosen = choose_face(*CROWD, f"index:{person.index}", 0, 5.2)
            assert set(chosen.track[chosen.shot == shot].tolist()) == set(person.tracks)
    assert [[person.index for person in shot.people] for shot in view.shots] == [[0, 1, None], [0, 1, 2], []]


def test_numbers_are_those_of_the_span_and_not_of_the_whole_clip() -> None:
    crossing = clip((100, [track(0, 100, square(300)), track(0, 45, square(100)), track(55, 100, square(600))]))
    lefts = [
        {person.index: int(crossing[0].boxes[person.rows[0], 0]) for _, person in people(look(crossing, *span))}
        for span in ((0, 1.8), (2.2, 4))
    ]
    assert lefts == [{0: 100, 1: 300}, {0: 300, 1: 600}]


@pytest.mark.parametrize("span", [(0.0, 5.2), (0.5, 3.0), (2.0, 4.0)])
def test_every_point_on_the_sheet_picks_the_person_it_stands_beside(span: tuple[float, float]) -> None:
    view, num_points = look(CROWD, *span), 0
    for shot, person in people(view):
        point = point_of(view, person, best_row(view, person))
        assert point is not None
        chosen = choose_face(*CROWD, point, *span)
        assert set(chosen.track[chosen.shot == shot].tolist()) == set(person.tracks)
        num_points += 1
    assert num_points >= 3


def test_a_point_in_the_first_frame_of_a_shot_is_not_read_as_the_shot_before() -> None:
    """2.00 s is the last frame's time of the shot before, if a third of a frame is rounded away."""
    times_s = np.arange(100) / 29.97 + 0.004
    tables = clip(
        (60, [track(0, 60, square(100), times_s=times_s)]), (40, [track(60, 61, square(700), times_s=times_s)])
    )
    tables = (
        tables[0],
        ShotTable(tables[1].shot, tables[1].start_frame, tables[1].end_frame, times_s[[0, 60]], times_s[[60, 99]]),
    )
    view = look(tables, 0, 3.3)
    late = next(person for shot, person in people(view) if shot == 1)
    point = point_of(view, late, int(late.rows[0]))
    assert point is not None
    assert choose_face(*tables, point, 0, 3.3).boxes[-1, 0] == 700


def test_two_faces_on_one_spot_give_no_point_rather_than_a_wrong_one() -> None:
    tables = clip((50, [track(0, 50, square(100)), track(0, 50, square(100))]))
    view = look(tables, 0, 2)
    points = [point_of(view, person, int(person.rows[25])) for _, person in people(view)]
    assert points.count(None) == 1


def test_people_who_never_meet_are_shown_in_pictures_of_their_own() -> None:
    tables = clip((90, [track(0, 40, square(100)), track(50, 90, square(700))]))
    view = look(tables, 0, 3.6)
    moments = moments_of(view, view.shots[0])
    assert len(moments) == 2
    for person in view.shots[0].people:
        assert any(row_at(view, person, time_s) is not None for time_s in moments)


def test_a_picture_that_shows_everybody_is_the_only_one() -> None:
    tables = clip((90, [track(0, 50, square(100)), track(40, 90, square(700))]))
    view = look(tables, 0, 3.6)
    moments = moments_of(view, view.shots[0])
    assert len(moments) == 1
    assert 40 / FPS <= moments[0] < 50 / FPS


def test_a_shot_never_takes_more_than_a_few_pictures() -> None:
    tables = clip((100, [track(10 * n, 10 * n + 10, square(95 * n, side=40)) for n in range(10)]))
    view = look(tables, 0, 4)
    assert len(moments_of(view, view.shots[0])) == MAX_FRAMES_OF_SHOT


def test_the_face_that_sings_is_marked_with_its_pairs_and_the_others_are_not() -> None:
    chosen = choose_face(*CROWD, "index:1", 0, 5.2)
    view = look(CROWD, 0, 5.2, Wish("index:1", ("a", "b"), frozenset(chosen.track.tolist())))
    marks = {(shot, person.index): (person.mark, person.sings) for shot, person in people(view)}
    assert marks[0, 1] == marks[1, 1] == (Mark.SINGS, ("a", "b"))
    assert marks[0, 0] == marks[0, None] == (Mark.USABLE, ())


def test_a_face_that_is_too_small_says_so_and_how_small() -> None:
    view = look(CROWD, 2, 4)
    small = next(person for _, person in people(view) if person.size_px == (20, 20))
    assert small.mark is Mark.UNUSABLE
    assert small.why_not == "too small (20 px high)"
    assert (small.seen_share, small.usable_share) == (pytest.approx(0.8), 0)


def test_shares_are_of_the_part_of_the_shot_that_lies_in_the_span() -> None:
    tables = clip((100, [track(0, 50, square(100))]))
    shares = [person.usable_share for span in ((0, 4), (0, 2), (1, 3)) for _, person in people(look(tables, *span))]
    assert shares == pytest.approx([0.5, 1, 0.5], abs=0.03)


def test_times_of_a_person_are_whole_runs_and_stay_in_the_span() -> None:
    tables = clip((100, [track(0, 40, square(100)), track(70, 100, square(110))]))
    view = look(tables, 0.4, 3.6)
    (person,) = view.shots[0].people
    assert [(round(start, 2), round(end, 2)) for start, end, _ in times_of(view, person)] == [(0.4, 1.6), (2.8, 3.6)]


def test_of_many_shots_those_with_faces_that_sing_are_shown_in_order() -> None:
    shots = [(10 + n, [track(10 * n, 10 * n + 5, square(100))] if n % 3 == 0 else []) for n in range(12)]
    view = look(clip(*shots), 0, 8)
    shown = shots_to_show(look(clip(*shots), 0, 8, Wish("largest", ("a",), frozenset({0, 2}))), 3)
    assert len(view.shots) == 12
    assert {0, 6} < {shot.shot for shot in shown}
    assert [shot.start_s for shot in shown] == sorted(shot.start_s for shot in shown)


def test_of_many_shots_those_are_shown_that_together_show_everybody() -> None:
    """One person has all the long shots: by length alone the other would be on no picture."""
    rng = np.random.default_rng(1)
    common, rare = (look / np.linalg.norm(look) for look in rng.normal(size=(2, 64)).astype(np.float32))
    lengths = [20] * 10 + [5] + [20] * 10 + [5]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    shots = [(n, [track(int(s), int(s) + n, square(100))]) for n, s in zip(lengths, starts, strict=False)]
    tables = clip(*shots)
    looks = {number: rare if n == 5 else common for number, n in enumerate(lengths)}
    view = look((replace(tables[0], looks=looks), tables[1]), 0, float(starts[-1]) / FPS)
    shown = {shot.shot for shot in shots_to_show(view, 4)}
    assert len(shown) == 4
    assert shown & {10, 21} == {10, 21}
