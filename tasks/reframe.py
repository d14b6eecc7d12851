"""REFRAME: where the face that sings is in each frame of a pair's film, from the tables that its shards left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from singalong.frames_table import read_frames
from singalong.media.reframe import FacePath, Floats, takes_of
from tasks.jobs import CropGuide

_BOX = ("x1", "y1", "x2", "y2")


def face_path(guide: CropGuide) -> FacePath:
    """The face in each frame of the film, and the takes that its frames belong to."""
    tables = [read_frames(Path(path), ["source_s", *_BOX]) for path in guide.tables]
    table = pa.concat_tables(tables)
    columns = [table.column(name).cast(pa.float64()).to_numpy() for name in _BOX]
    boxes = np.stack(columns, axis=1) / np.array([guide.width, guide.height] * 2, np.float64)
    return FacePath(boxes, takes_of(table.column("source_s").to_numpy(), _shot_starts_s(guide.shots)))


def _shot_starts_s(shots: str | None) -> Floats:
    if shots is None or not Path(shots).exists():
        return np.zeros(1)
    return np.asarray(pq.read_table(shots, columns=["start_s"]).column("start_s").to_numpy(), np.float64)
