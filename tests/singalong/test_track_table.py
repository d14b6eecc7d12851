import numpy as np

from singalong.linking import FaceTrack
from singalong.track_table import LOOKS_SCHEMA, SHOTS_SCHEMA, TRACKS_SCHEMA, ShotTable, TrackTable, shot_rows


def track(first: int, end: int, height: int) -> FaceTrack:
    count = end - first
    return FaceTrack(
        frames=np.arange(first, end),
        pts_s=np.arange(first, end) / 25,
        boxes=np.tile([10, 20, 60, 20 + height], (count, 1)),
        detected=np.arange(count) % 2 == 0,
        scores=np.full(count, 0.75),
        landmarks=np.arange(count * 10.0).reshape(count, 5, 2),
        sharpness=np.linspace(0.25, 0.75, count),
        hidden=np.arange(count) == 1,
    )


def rows(*tracks: FaceTrack) -> TrackTable:
    return shot_rows(tracks, shot=3, first_track=7, frame_size=(640, 360), frame_s=0.04)


def test_tracks_are_numbered_through_the_clip() -> None:
    table = rows(track(100, 103, height=24), track(101, 103, height=23))
    assert table.track.tolist() == [7, 7, 7, 8, 8]
    assert table.shot.tolist() == [3] * 5
    assert table.frame.tolist() == [100, 101, 102, 101, 102]
    assert table.usable.all()


def test_rows_survive_the_way_through_arrow() -> None:
    table = rows(track(100, 103, height=24), track(101, 103, height=23))
    back = TrackTable.from_arrow(table.to_arrow(), frame_size=(640, 360), frame_s=0.04)
    assert back.to_arrow() == table.to_arrow()
    np.testing.assert_array_equal(back.boxes, table.boxes)
    np.testing.assert_array_equal(back.landmarks, table.landmarks)


def test_a_shot_without_tracks_has_no_rows_and_still_fits_the_schema() -> None:
    table = rows()
    assert len(table) == 0
    assert table.to_arrow().schema == TRACKS_SCHEMA
    assert len(TrackTable.from_arrow(table.to_arrow(), frame_size=(640, 360), frame_s=0.04)) == 0


def test_columns_are_frozen() -> None:
    assert TRACKS_SCHEMA.names == [
        *("shot", "track", "frame", "pts_s", "x1", "y1", "x2", "y2"),
        *("detected", "score", "landmarks", "sharpness", "hidden"),
    ]
    assert LOOKS_SCHEMA.names == ["track", "look"]
    assert SHOTS_SCHEMA.names == ["shot", "start_frame", "end_frame", "start_s", "end_s"]


def test_the_shot_on_screen_is_found_by_time() -> None:
    bounds = np.array([0, 10, 30, 40])
    shots = ShotTable(np.arange(3), bounds[:-1], bounds[1:], bounds[:-1] / 10, bounds[1:] / 10)
    assert [shots.shot_at(time_s) for time_s in (-1, 0, 0.99, 1.0, 2.9, 3.0, 9)] == [0, 0, 0, 1, 1, 2, 2]
