from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.errors import InputError, NoFaceError, UsageError
from singalong.frames_table import Outcome
from singalong.linking import FaceTrack
from singalong.looks import LANDMARKS_AT
from singalong.settings import AnalysisSettings
from singalong.track_table import ShotTable, TrackTable, shot_rows
from singalong.tracks import ChosenFace, Clues, choose_face, parse_face_spec
from singalong.usable import judged

FPS = 25.0
FRAME_SIZE = (1000, 500)

Box = tuple[int, int, int, int]


def square(x: int, y: int = 200, side: int = 80) -> Box:
    return x, y, x + side, y + side


def frontal(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, None, :2] + LANDMARKS_AT * (boxes[:, None, 2:] - boxes[:, None, :2])


def track(first: int, end: int, box: Box, *, times_s: np.ndarray | None = None) -> FaceTrack:
    frames = np.arange(first, end)
    count = len(frames)
    return FaceTrack(
        frames=frames,
        pts_s=frames / FPS if times_s is None else times_s[frames],
        boxes=np.tile(box, (count, 1)).astype(np.int64),
        detected=np.ones(count, bool),
        scores=np.full(count, 0.9),
        landmarks=frontal(np.tile(box, (count, 1)).astype(float)),
        sharpness=np.ones(count),
        hidden=np.zeros(count, bool),
    )


def clip(*shots: tuple[int, list[FaceTrack]]) -> tuple[TrackTable, ShotTable]:
    """Tables of a clip from (number of frames, tracks) of each shot."""
    parts, starts, num_tracks = [], [0], 0
    for number, (num_frames, tracks) in enumerate(shots):
        parts.append(shot_rows(tracks, shot=number, first_track=num_tracks, frame_size=FRAME_SIZE, frame_s=1 / FPS))
        num_tracks += len(tracks)
        starts.append(starts[-1] + num_frames)
    names = [field.name for field in fields(TrackTable) if field.name not in ("frame_size", "frame_s", "looks")]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    bounds = np.array(starts)
    table = TrackTable(frame_size=FRAME_SIZE, frame_s=1 / FPS, **joined)
    cuts = ShotTable(np.arange(len(shots)), bounds[:-1], bounds[1:], bounds[:-1] / FPS, bounds[1:] / FPS)
    return judged(table, cuts, AnalysisSettings()), cuts


def lefts(face: ChosenFace, *times_s: float) -> list[int | None]:
    """Left edge of the chosen box at each time."""
    return [None if (box := face.box_at(time_s)) is None else box[0] for time_s in times_s]


def test_largest_is_chosen_in_each_shot_on_its_own() -> None:
    tables = clip(
        (50, [track(0, 50, square(100, side=60)), track(0, 50, square(600, side=90))]),
        (50, [track(50, 100, square(100, side=70)), track(50, 100, square(600, side=40))]),
    )
    assert lefts(choose_face(*tables, "largest", 0, 4), 1.0, 3.0) == [600, 100]


def test_largest_weighs_size_by_time() -> None:
    tables = clip((50, [track(0, 50, square(100, side=60)), track(0, 5, square(600, side=90))]))
    assert lefts(choose_face(*tables, "largest", 0, 2), 0.0, 1.0) == [100, 100]


def test_largest_counts_only_the_span() -> None:
    tables = clip((100, [track(0, 100, square(100, side=60)), track(50, 100, square(600, side=200))]))
    assert lefts(choose_face(*tables, "largest", 0, 1.8), 1.0) == [100]
    assert lefts(choose_face(*tables, "largest", 1.8, 4), 3.0) == [600]


def test_a_face_too_small_to_sing_gives_way_and_is_never_given_out() -> None:
    tables = clip((50, [track(0, 50, square(100, side=20)), track(0, 3, square(600, side=30))]))
    assert lefts(choose_face(*tables, "largest", 0, 2), 0.04, 1.0) == [600, None]
    alone = choose_face(*clip((50, [track(0, 50, square(100, side=20))])), "largest", 0, 2)
    assert lefts(alone, 1.0) == [None]
    assert alone.outcome_at(1.0) is Outcome.TOO_SMALL
    assert alone.outcome_at(9.0) is Outcome.NO_FACE


def test_a_person_who_was_hidden_for_a_while_is_one_person() -> None:
    tables = clip((100, [track(0, 40, square(100)), track(60, 100, square(140)), track(0, 100, square(700, side=60))]))
    assert lefts(choose_face(*tables, "largest", 0, 4), 1.0, 2.0, 3.0) == [100, None, 140]


def test_another_person_elsewhere_does_not_step_in() -> None:
    tables = clip((100, [track(0, 60, square(100)), track(70, 100, square(700))]))
    assert lefts(choose_face(*tables, "largest", 0, 4), 1.0, 3.0) == [100, None]


def test_people_are_counted_from_the_left_in_each_shot() -> None:
    tables = clip(
        (50, [track(0, 50, square(600)), track(0, 50, square(100))]),
        (50, [track(50, 100, square(300)), track(50, 100, square(800)), track(50, 100, square(20))]),
        (50, [track(100, 150, square(500))]),
    )
    times_s = 1.0, 3.0, 5.0
    assert lefts(choose_face(*tables, "index:0", 0, 6), *times_s) == [100, 20, 500]
    assert lefts(choose_face(*tables, "index:1", 0, 6), *times_s) == [600, 300, None]
    assert lefts(choose_face(*tables, "index:2", 0, 6), *times_s) == [None, 800, None]


def test_passers_by_are_not_counted() -> None:
    tables = clip((50, [track(0, 50, square(600)), track(0, 10, square(100))]))
    assert lefts(choose_face(*tables, "index:0", 0, 2), 0.0) == [600]


def test_an_index_that_no_shot_has_says_how_many_there_are() -> None:
    tables = clip((50, [track(0, 50, square(600)), track(0, 50, square(100))]))
    with pytest.raises(NoFaceError, match=r"index:0 to index:1"):
        choose_face(*tables, "index:2", 0, 2)


@pytest.mark.parametrize("spec", ["at:640,240@1.0", "at:0.64,0.48@1.0", "at: 640 , 240 @ 1"])
def test_a_face_can_be_pointed_at_in_pixels_or_shares(spec: str) -> None:
    tables = clip((50, [track(0, 50, square(100, side=200)), track(0, 50, square(600))]))
    assert lefts(choose_face(*tables, spec, 0, 2), 0.0, 1.0) == [600, 600]


def test_in_other_shots_the_face_most_like_the_one_pointed_at_sings() -> None:
    tables = clip(
        (50, [track(0, 50, square(100)), track(0, 50, square(600))]),
        (50, [track(50, 100, square(640, side=90)), track(50, 100, square(200, side=90))]),
    )
    assert lefts(choose_face(*tables, "at:140,240@0", 0, 4), 1.0, 3.0) == [100, 200]


def test_pointing_just_beside_a_face_is_good_enough() -> None:
    tables = clip((50, [track(0, 50, square(600))]))
    assert lefts(choose_face(*tables, "at:595,240@1", 0, 2), 1.0) == [600]


def test_pointing_at_no_face_tells_where_faces_are() -> None:
    tables = clip((50, [track(0, 50, square(600))]))
    with pytest.raises(NoFaceError, match="x 600 to 680, y 200 to 280"):
        choose_face(*tables, "at:100,100@1", 0, 2)


def test_pointing_at_a_time_before_the_face_came_finds_none() -> None:
    tables = clip((50, [track(25, 50, square(600))]))
    with pytest.raises(NoFaceError, match="none"):
        choose_face(*tables, "at:640,240@0.2", 0, 2)


def test_pointing_at_a_time_outside_the_span_is_refused() -> None:
    tables = clip((50, [track(0, 50, square(600))]))
    with pytest.raises(UsageError, match=r"0\.00 to 1\.00"):
        choose_face(*tables, "at:640,240@1.5", 0, 1)


@pytest.mark.parametrize("spec", ["", "biggest", "index:", "index:-1", "index:1.5", "at:3,4", "at:3@4", "at:a,b@c"])
def test_a_spec_that_cannot_be_read_says_what_can(spec: str) -> None:
    with pytest.raises(InputError, match="largest, index:N"):
        parse_face_spec(spec)


@pytest.mark.parametrize("spec", ["largest", "index:0", "at:0.5,0.5@1"])
def test_a_clip_without_faces_gives_no_boxes(spec: str) -> None:
    face = choose_face(*clip((50, [])), spec, 0, 2)
    assert face.box_at(1.0) is None
    assert not face.boxes_at([0.0, 1.0])[1].any()


def test_the_frame_on_screen_as_the_span_starts_counts() -> None:
    tables = clip((10, [track(0, 10, square(100))]), (40, [track(10, 50, square(600))]))
    assert lefts(choose_face(*tables, "largest", 0.39, 2), 0.36, 0.40) == [100, 600]


def test_nothing_is_found_in_frames_next_to_a_track() -> None:
    times_s = np.array([0.0, 0.05, 0.1, 0.133, 0.3])  # variable frame rate
    tables = clip((5, [track(1, 4, square(100), times_s=times_s)]))
    assert lefts(choose_face(*tables, "largest", 0, 1), *times_s) == [None, 100, 100, 100, None]


@given(st.lists(st.floats(-1, 5), max_size=20))
def test_many_times_are_answered_like_one_by_one(times_s: list[float]) -> None:
    tables = clip((50, [track(5, 20, square(100)), track(30, 45, square(130, side=90))]), (20, []))
    face = choose_face(*tables, "largest", 0, 3)
    boxes, found = face.boxes_at(times_s)
    expected = [face.box_at(time_s) for time_s in times_s]
    assert [tuple(box) if ok else None for box, ok in zip(boxes.tolist(), found, strict=True)] == expected


def test_a_time_matches_the_frame_within_half_a_frame() -> None:
    face = choose_face(*clip((3, [track(0, 3, square(100))])), "largest", 0, 1)
    assert lefts(face, -0.019, 0.099) == [100, 100]
    assert lefts(face, -0.021, 0.101) == [None, None]


def test_landmarks_come_with_the_box() -> None:
    face = choose_face(*clip((3, [track(0, 3, square(100))])), "largest", 0, 1)
    landmarks = face.landmarks_at(0.04)
    assert landmarks is not None
    assert landmarks.shape == (5, 2)
    assert face.landmarks_at(1.0) is None


def test_a_detector_without_landmarks_gives_none() -> None:
    tables, shots = clip((3, [track(0, 3, square(100))]))
    tables.landmarks[:] = np.nan
    assert choose_face(tables, shots, "largest", 0, 1).landmarks_at(0.04) is None


ADA, FINN, MEI = np.eye(3, dtype=np.float32)


def cast_changing_sides() -> tuple[TrackTable, ShotTable]:
    """Ada (track 0) left of Finn (1); then Finn (2) left of Ada (3), in her place; then Mei (4) alone; then Ada (5)."""
    tables, shots = clip(
        (50, [track(0, 50, square(100)), track(0, 50, square(600))]),
        (50, [track(50, 100, square(100)), track(50, 100, square(600))]),
        (50, [track(100, 150, square(100))]),
        (50, [track(150, 200, square(400, side=200))]),
    )
    looks = dict(enumerate([ADA, FINN, FINN, ADA, MEI, ADA]))
    return replace(tables, looks=looks), shots


EACH_SHOT = (1.0, 3.0, 5.0, 7.0)


def test_the_person_pointed_at_sings_in_every_shot_and_nobody_where_they_are_not() -> None:
    """By place alone Finn would sing in the second shot, and Mei in the third."""
    tables = cast_changing_sides()
    assert lefts(choose_face(*tables, "at:140,240@1", 0, 8), *EACH_SHOT) == [100, 600, None, 400]
    assert lefts(choose_face(*tables, "at:140,240@3", 0, 8), *EACH_SHOT) == [600, 100, None, None]


def test_the_person_most_like_a_picture_sings_wherever_they_are() -> None:
    tables = cast_changing_sides()
    wanted = (0.6 * FINN + 0.8 * np.eye(4, dtype=np.float32)[3, :3]).astype(np.float32)
    face = choose_face(*tables, "like:finn.png", 0, 8, Clues(wanted=wanted))
    assert lefts(face, *EACH_SHOT) == [600, 100, None, None]
    nobody = choose_face(*tables, "like:cat.png", 0, 8, Clues(wanted=-ADA))
    assert lefts(nobody, *EACH_SHOT) == [None] * 4


def test_the_speaker_sings_in_each_shot() -> None:
    tables = cast_changing_sides()
    clues = Clues(speaking={0: 0.5, 1: 1.5, 2: 0.2, 3: 0.9, 4: -1.0, 5: 0.1})
    assert lefts(choose_face(*tables, "speaker", 0, 8, clues), *EACH_SHOT) == [600, 600, 100, 400]


def test_where_nobody_can_be_scored_who_speaks_elsewhere_sings_else_the_largest() -> None:
    tables = cast_changing_sides()
    clues = Clues(speaking={0: 0.5, 1: 0.1})
    assert lefts(choose_face(*tables, "speaker", 0, 8, clues), *EACH_SHOT) == [100, 600, 100, 400]


def test_a_person_who_comes_back_elsewhere_in_the_shot_is_known_by_looks() -> None:
    tables, shots = clip(
        (100, [track(0, 40, square(100, side=90)), track(60, 100, square(700)), track(0, 100, square(400, side=60))])
    )
    known = replace(tables, looks={0: ADA, 1: ADA, 2: FINN})
    assert lefts(choose_face(known, shots, "largest", 0, 4), 1.0, 3.0) == [100, 700]
    changed = replace(tables, looks={0: ADA, 1: MEI, 2: FINN})
    assert lefts(choose_face(changed, shots, "at:140,240@1", 0, 4), 1.0, 3.0) == [100, None]


def test_another_person_in_the_same_place_does_not_step_in() -> None:
    tables, shots = clip((100, [track(0, 60, square(100)), track(70, 100, square(100))]))
    known = replace(tables, looks={0: ADA, 1: FINN})
    assert lefts(choose_face(known, shots, "largest", 0, 4), 1.0, 3.0) == [100, None]


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("speaker", "speaker", ""),
        ("like:cast/ada.png", "like", "cast/ada.png"),
        ("like: C:\\ada.png", "like", "C:\\ada.png"),
    ],
)
def test_speakers_and_pictures_can_be_asked_for(text: str, kind: str, path: str) -> None:
    spec = parse_face_spec(text)
    assert (spec.kind, spec.path) == (kind, path)


def test_why_a_face_is_passed_through_is_told_frame_by_frame() -> None:
    turned = track(0, 50, square(100))
    turned.landmarks[25:, 2, 0] += 30  # the nose is beside the eyes
    face = choose_face(*clip((50, [turned])), "largest", 0, 2)
    assert [face.outcome_at(time_s) for time_s in (0.52, 1.6, 9.0)] == [
        Outcome.SYNCED,
        Outcome.TURNED,
        Outcome.NO_FACE,
    ]
    assert lefts(face, 0.52, 1.6) == [100, None]
    assert [face.weight_at(time_s) for time_s in (0.52, 1.6, 9.0)] == [1.0, 0.0, 0.0]
    assert face.flaw_words == "turned away"
