"""The tables an analysis leaves behind: the shots of a clip, and a row for every face in every frame.

Shape legend: R rows, S shots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from singalong.linking import NUM_LANDMARKS, FaceTrack
from singalong.looks import Look

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TRACKS_SCHEMA = pa.schema(
    [
        pa.field("shot", pa.int32(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("pts_s", pa.float64(), nullable=False),
        pa.field("x1", pa.int32(), nullable=False),
        pa.field("y1", pa.int32(), nullable=False),
        pa.field("x2", pa.int32(), nullable=False),
        pa.field("y2", pa.int32(), nullable=False),
        pa.field("detected", pa.bool_(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("landmarks", pa.list_(pa.float32(), 2 * NUM_LANDMARKS), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("hidden", pa.bool_(), nullable=False),
    ]
)
"""Columns of tracks.parquet: one row a track a source frame. `track` numbers the tracks of the whole clip;
the box is smoothed, in pixels of the upright frame, exclusive ends; `detected` is false where it was
followed or interpolated; `landmarks` are x, y of left eye, right eye, nose, left and right mouth corner (left of the
image), NaN where the detector gives none; `sharpness` see `singalong.looks.sharpness_of`; `hidden` says that the
face was looked for and not found, so that its box is a guess."""

LOOKS_SCHEMA = pa.schema(
    [
        pa.field("track", pa.int32(), nullable=False),
        pa.field("look", pa.list_(pa.float32()), nullable=False),
    ]
)
"""Columns of looks.parquet: one row a track, see `singalong.looks`."""

SHOTS_SCHEMA = pa.schema(
    [
        pa.field("shot", pa.int32(), nullable=False),
        pa.field("start_frame", pa.int64(), nullable=False),
        pa.field("end_frame", pa.int64(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
    ]
)
"""Columns of shots.parquet: half-open ranges of source frames and of time; together they cover the clip."""

_BOX = ("x1", "y1", "x2", "y2")
_PLAIN = ("shot", "track", "frame", "pts_s", "detected", "score", "sharpness", "hidden")
_WHOLE = ("frame_size", "frame_s", "looks")


@dataclass(frozen=True)
class TrackTable:
    """Rows of TRACKS_SCHEMA as arrays, in any order, with what of the clip is needed to read them.

    Attributes:
        frame_size: width and height of the upright frame, pixels.
        frame_s: average time from frame to frame, seconds.
        shot, track, frame, pts_s, detected, score, sharpness, hidden: (R,) as in the schema.
        boxes: (R,4) x1, y1, x2, y2.
        landmarks: (R,5,2) x, y.
        flaws: (R,) why the face cannot be lip-synced, see `singalong.usable.FLAWS`; 0 where it can.
        weights: (R,) how much of the new lips to show, 0 to 1: rises and falls where a face becomes usable.
        looks: by track number.
    """

    frame_size: tuple[int, int]
    frame_s: float
    shot: Ints
    track: Ints
    frame: Ints
    pts_s: Floats
    detected: Bools
    score: Floats
    sharpness: Floats
    hidden: Bools
    boxes: Ints
    landmarks: Floats
    flaws: Ints
    weights: Floats
    looks: Mapping[int, Look] = field(default_factory=dict)

    @property
    def usable(self) -> Bools:
        """(R,) whether the face can be lip-synced."""
        return np.asarray(self.flaws == 0)

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, rows: Bools | Ints) -> TrackTable:
        """The rows of a mask or of indices."""
        names = (column.name for column in fields(self) if column.name not in _WHOLE)
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def to_arrow(self) -> pa.Table:
        """As a table of TRACKS_SCHEMA."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        columns |= dict(zip(_BOX, self.boxes.T, strict=True))
        flat = pa.array(self.landmarks.astype(np.float32).ravel())
        columns["landmarks"] = pa.FixedSizeListArray.from_arrays(flat, 2 * NUM_LANDMARKS)
        return pa.table([columns[name] for name in TRACKS_SCHEMA.names], schema=TRACKS_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table, *, frame_size: tuple[int, int], frame_s: float) -> TrackTable:
        """From a table of TRACKS_SCHEMA; all faces usable, see `singalong.usable`."""

        def column(name: str, dtype: type) -> NDArray[Any]:
            return np.asarray(table.column(name).to_numpy(), dtype=dtype)

        landmarks = table.column("landmarks").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            frame_size=frame_size,
            frame_s=frame_s,
            shot=column("shot", np.int64),
            track=column("track", np.int64),
            frame=column("frame", np.int64),
            pts_s=column("pts_s", np.float64),
            detected=column("detected", np.bool_),
            score=column("score", np.float64),
            sharpness=column("sharpness", np.float64),
            hidden=column("hidden", np.bool_),
            boxes=np.stack([column(name, np.int64) for name in _BOX], axis=1),
            landmarks=landmarks.astype(np.float64).reshape(-1, NUM_LANDMARKS, 2),
            flaws=np.zeros(len(table), np.int64),
            weights=np.ones(len(table)),
        )


def shot_rows(
    tracks: Iterable[FaceTrack],
    *,
    shot: int,
    first_track: int,
    frame_size: tuple[int, int],
    frame_s: float,
) -> TrackTable:
    """The tracks of one shot as a table, numbered from `first_track` in order, each in frame order; all usable."""
    listed = list(tracks)
    lengths = [len(track.frames) for track in listed]
    return TrackTable(
        frame_size=frame_size,
        frame_s=frame_s,
        shot=np.full(sum(lengths), shot),
        track=np.repeat(np.arange(first_track, first_track + len(listed)), lengths),
        frame=_joined([track.frames for track in listed], np.int64),
        pts_s=_joined([track.pts_s for track in listed], np.float64),
        detected=_joined([track.detected for track in listed], np.bool_),
        score=_joined([track.scores for track in listed], np.float64),
        sharpness=_joined([track.sharpness for track in listed], np.float64),
        hidden=_joined([track.hidden for track in listed], np.bool_),
        boxes=_joined([track.boxes for track in listed], np.int64, 4),
        landmarks=_joined([track.landmarks for track in listed], np.float64, NUM_LANDMARKS, 2),
        flaws=np.zeros(sum(lengths), np.int64),
        weights=np.ones(sum(lengths)),
    )


def looks_table(looks: Mapping[int, Look]) -> pa.Table:
    """The looks of some tracks as a table of LOOKS_SCHEMA."""
    return pa.table([list(looks), list(looks.values())], schema=LOOKS_SCHEMA)


def _joined(parts: Sequence[NDArray[Any]], dtype: type, *shape: int) -> NDArray[Any]:
    return np.concatenate([np.empty((0, *shape), dtype), *parts])


@dataclass(frozen=True)
class ShotTable:
    """Rows of SHOTS_SCHEMA as arrays (S,), in time order."""

    shot: Ints
    start_frame: Ints
    end_frame: Ints
    start_s: Floats
    end_s: Floats

    def __len__(self) -> int:
        return len(self.shot)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> ShotTable:
        """From a table of SHOTS_SCHEMA."""
        return cls(*(np.asarray(table.column(name).to_numpy()) for name in SHOTS_SCHEMA.names))

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, float]]) -> ShotTable:
        """From rows of SHOTS_SCHEMA."""
        return cls.from_arrow(pa.Table.from_pylist([dict(row) for row in rows], schema=SHOTS_SCHEMA))

    def shot_at(self, time_s: float) -> int:
        """Number of the shot on screen at a time; the first before the clip, the last after it."""
        index = int(np.searchsorted(self.start_s, time_s, side="right")) - 1
        return int(self.shot[max(index, 0)])
