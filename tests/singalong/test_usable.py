import numpy as np
import pytest

from singalong.frames_table import Outcome
from singalong.looks import LANDMARKS_AT
from singalong.settings import AnalysisSettings
from singalong.track_table import ShotTable, TrackTable
from singalong.usable import FLAWS, judged, tilt_deg, turn_deg

FPS = 25.0
HEAD = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.0, 0.4], [-0.4, 0.6, 0.0], [0.4, 0.6, 0.0]])
"""Eyes, nose and mouth corners, in distances of the eyes: across, down, towards the camera."""


def turned(angles_deg: np.ndarray, *, roll_deg: float = 0.0) -> np.ndarray:
    """Landmarks (R,5,2) of a head turned to the side."""
    yaw, roll = np.radians(angles_deg)[:, None], np.radians(roll_deg)
    across = HEAD[:, 0] * np.cos(yaw) + HEAD[:, 2] * np.sin(yaw)
    down = np.broadcast_to(HEAD[:, 1], across.shape)
    rolled = across * np.cos(roll) - down * np.sin(roll), across * np.sin(roll) + down * np.cos(roll)
    return 100 + 40 * np.stack(rolled, axis=-1)


def rows(
    count: int,
    *,
    first_frame: int = 0,
    height: int | np.ndarray = 80,
    sharpness: float | np.ndarray = 0.8,
    turn: float | np.ndarray = 0.0,
    tilt: float = 0.0,
    hidden: np.ndarray | None = None,
) -> TrackTable:
    """One track of consecutive frames."""
    frames = np.arange(first_frame, first_frame + count)
    boxes = np.zeros((count, 4), np.int64)
    boxes[:, 2], boxes[:, 3] = 60, height
    return TrackTable(
        frame_size=(640, 360),
        frame_s=1 / FPS,
        shot=np.zeros(count, np.int64),
        track=np.zeros(count, np.int64),
        frame=frames,
        pts_s=frames / FPS,
        detected=np.ones(count, bool),
        score=np.ones(count),
        sharpness=np.broadcast_to(sharpness, count).astype(float),
        hidden=np.zeros(count, bool) if hidden is None else hidden,
        boxes=boxes,
        landmarks=turned(np.broadcast_to(turn, count).astype(float), roll_deg=tilt),
        flaws=np.zeros(count, np.int64),
        weights=np.ones(count),
    )


def shots(end_frame: int = 10_000) -> ShotTable:
    return ShotTable(*(np.array([value]) for value in (0, 0, end_frame, 0.0, end_frame / FPS)))


def outcomes(table: TrackTable, **settings: float) -> list[Outcome]:
    return [FLAWS[flaw] for flaw in judged(table, shots(len(table)), AnalysisSettings(**settings)).flaws]


def spells(values: list[Outcome]) -> list[Outcome]:
    """The outcomes in order, repeats left out."""
    return [value for n, value in enumerate(values) if n == 0 or values[n - 1] is not value]


@pytest.mark.parametrize("angle", [-40, -20, 0, 20, 40])
@pytest.mark.parametrize("roll", [0, 25])
def test_the_turn_is_read_off_the_nose_whatever_the_roll(angle: float, roll: float) -> None:
    assert turn_deg(turned(np.array([angle]), roll_deg=roll)) == pytest.approx(angle, abs=1)


def test_a_face_without_landmarks_counts_as_frontal() -> None:
    assert turn_deg(np.full((2, 5, 2), np.nan)).tolist() == [0, 0]
    assert tilt_deg(np.full((2, 5, 2), np.nan)).tolist() == [0, 0]


@pytest.mark.parametrize("angle", [-35, 0, 20])
@pytest.mark.parametrize("turn", [0, 30])
def test_the_tilt_is_read_off_whatever_the_turn(angle: float, turn: float) -> None:
    assert tilt_deg(turned(np.array([float(turn)]), roll_deg=angle)) == pytest.approx(angle, abs=1)


def test_landmarks_of_a_flat_frontal_face_are_not_turned() -> None:
    assert turn_deg(100 * LANDMARKS_AT[None]) == pytest.approx(0, abs=1)


@pytest.mark.parametrize(
    ("flaw", "outcome"),
    [
        ({"height": 23}, Outcome.TOO_SMALL),
        ({"turn": 60.0}, Outcome.TURNED),
        ({"tilt": -40.0}, Outcome.TILTED),
        ({"sharpness": 0.2}, Outcome.BLURRED),
        ({"hidden": np.ones(50, bool)}, Outcome.HIDDEN),
        ({}, Outcome.SYNCED),
        ({"sharpness": np.nan}, Outcome.SYNCED),
    ],
)
def test_each_flaw_has_its_name(flaw: dict[str, float], outcome: Outcome) -> None:
    assert set(outcomes(rows(50, **flaw))) == {outcome}  # type: ignore[arg-type]


def test_a_head_that_turns_away_and_back_is_passed_through_in_between() -> None:
    turn = np.interp(np.arange(100), [20, 40, 60, 80], [0, 65, 65, 0])
    found = outcomes(rows(100, turn=turn))
    assert spells(found) == [Outcome.SYNCED, Outcome.TURNED, Outcome.SYNCED]
    assert found[50] is Outcome.TURNED


def test_a_face_that_wavers_about_a_limit_does_not_flicker() -> None:
    """Frame by frame it would change forty times."""
    turn = 40 + 5 * np.sin(np.arange(100) * 2.5)
    assert (np.diff(turn > 40) != 0).sum() > 40
    assert len(spells(outcomes(rows(100, turn=turn)))) <= 2


@pytest.mark.parametrize("value", [60.0, 0.0])
def test_a_spell_shorter_than_a_syllable_is_taken_with_its_surroundings(value: float) -> None:
    turn = np.full(100, 60.0 - value)
    turn[40:44] = value
    assert len(spells(outcomes(rows(100, turn=turn)))) == 1


def test_a_hand_before_the_face_is_passed_through_and_a_single_miss_is_not() -> None:
    hidden = np.zeros(100, bool)
    hidden[20:22] = hidden[60:66] = True
    found = outcomes(rows(100, hidden=hidden))
    assert [n for n, outcome in enumerate(found) if outcome is Outcome.HIDDEN] == list(range(60, 66))


def test_limits_are_settings() -> None:
    table = rows(50, turn=35.0, sharpness=0.35)
    assert set(outcomes(table)) == {Outcome.SYNCED}
    assert set(outcomes(table, max_turn_deg=30)) == {Outcome.TURNED}
    assert set(outcomes(table, min_sharpness=0.5)) == {Outcome.BLURRED}


def test_lips_fade_where_a_face_turns_away_and_not_at_cuts() -> None:
    turn = np.where(np.arange(100) < 50, 0.0, 70.0)
    weights = judged(rows(100, turn=turn), shots(100), AnalysisSettings()).weights
    assert weights[:40].tolist() == [1.0] * 40
    assert (np.diff(weights[45:51]) < 0).all()
    assert weights[50:].tolist() == [0.0] * 50


def test_lips_fade_in_where_a_face_appears_within_a_shot() -> None:
    weights = judged(rows(50, first_frame=10), shots(60), AnalysisSettings()).weights
    assert weights[0] < 0.2 < weights[2] < weights[5] == 1
    assert weights[-1] == 1  # the shot ends there


def test_every_track_is_judged_alone_whatever_the_order_of_rows() -> None:
    table = rows(60, turn=np.where(np.arange(60) < 30, 0.0, 70.0))
    shuffled = np.random.default_rng(0).permutation(60)
    straight, mixed = (judged(part, shots(60), AnalysisSettings()) for part in (table, table.select(shuffled)))
    np.testing.assert_array_equal(straight.flaws[shuffled], mixed.flaws)
    np.testing.assert_array_equal(straight.weights[shuffled], mixed.weights)
