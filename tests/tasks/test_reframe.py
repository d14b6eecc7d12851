"""The face in each frame of a film, read from the tables of its shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from singalong.frames_table import Outcome, WindowRows, frames_table
from singalong.track_table import SHOTS_SCHEMA
from tasks.jobs import CropGuide
from tasks.reframe import face_path

Box = tuple[int, int, int, int]


def write_table(path: Path, start_frame: int, source_s: list[float], boxes: list[Box | None]) -> str:
    outcomes = [Outcome.NO_FACE if box is None else Outcome.SYNCED for box in boxes]
    table = frames_table(
        start_frame=start_frame,
        source_s=source_s,
        outcomes=outcomes,
        boxes=boxes,
        voiced=np.zeros(len(boxes), bool),
        windows=WindowRows.none(),
    )
    pq.write_table(table, path)
    return str(path)


def guide(folder: Path, *, shots: str | None = None) -> CropGuide:
    first = write_table(folder / "0.parquet", 0, [0.0, 0.04], [(10, 20, 50, 60), None])
    second = write_table(folder / "1.parquet", 2, [0.08, 0.0], [(20, 20, 60, 60), (10, 20, 50, 60)])
    return CropGuide(tables=(first, second), content_ids=("a", "b"), shots=shots, width=100, height=200)


def test_boxes_are_shares_of_the_frame_over_all_shards_and_nan_where_there_is_no_face(tmp_path: Path) -> None:
    path = face_path(guide(tmp_path))
    assert np.allclose(path.boxes[[0, 2]], [[0.1, 0.1, 0.5, 0.3], [0.2, 0.1, 0.6, 0.3]])
    assert np.isnan(path.boxes[1]).all()
    assert path.takes.tolist() == [0, 0, 0, 0]


def test_a_cut_of_the_clip_starts_another_take(tmp_path: Path) -> None:
    rows = [(0, 0, 1, 0.0, 0.04), (1, 1, 3, 0.04, 0.12)]
    names = SHOTS_SCHEMA.names
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=SHOTS_SCHEMA)
    pq.write_table(table, tmp_path / "shots.parquet")
    assert face_path(guide(tmp_path, shots=str(tmp_path / "shots.parquet"))).takes.tolist() == [0, 1, 1, 2]


def test_an_analysis_that_was_swept_away_costs_no_more_than_the_cuts(tmp_path: Path) -> None:
    assert len(face_path(guide(tmp_path, shots=str(tmp_path / "gone.parquet"))).takes) == 4
