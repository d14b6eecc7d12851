"""The table beside every finished segment: one row per output frame, with the distances scoring needs.

Distances are kept, not scores, because only distances can be merged: the rows of all shards of a pair, put
one after the other, give exactly the score of the pair as a whole (`singalong.scoring.combine_rows`).

Shape legend: N scored windows, O = NUM_OFFSETS offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from singalong.newer import refuse_newer

MAX_OFFSET_FRAMES = 15
"""Audio is searched this many 25 fps frames to either side of each lip window; SyncNet's evaluation passes
15."""
NUM_OFFSETS = 2 * MAX_OFFSET_FRAMES + 1

FRAMES_SCHEMA_VERSION = 1
_VERSION_KEY = b"singalong.frames"

DISTANCES = "distances"
MISMATCHED = "distances_mismatched"
UNTOUCHED = "distances_untouched"

_ROW_TYPE = pa.list_(pa.float32(), NUM_OFFSETS)

FRAMES_SCHEMA = pa.schema(
    [
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("source_s", pa.float64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("x1", pa.int32()),
        pa.field("y1", pa.int32()),
        pa.field("x2", pa.int32()),
        pa.field("y2", pa.int32()),
        pa.field("voiced", pa.bool_(), nullable=False),
        pa.field(DISTANCES, pa.list_(_ROW_TYPE), nullable=False),
        pa.field(MISMATCHED, pa.list_(_ROW_TYPE), nullable=False),
        pa.field(UNTOUCHED, pa.list_(_ROW_TYPE), nullable=False),
    ],
    metadata={_VERSION_KEY: str(FRAMES_SCHEMA_VERSION)},
)
"""Columns: `frame` counts from the pair's first output frame; `source_s` is the time of the clip frame shown;
the box is the face's, without the generator's pads, null where there is none; `voiced` is whether somebody
sings at that frame. Each `distances*` cell lists the scored windows that start at the frame: none or one at
25 fps and above, sometimes two or more below, where the 25 fps score grid repeats frames. A window is
NUM_OFFSETS distances, column j against audio moved by j - MAX_OFFSET_FRAMES; NaN where the song has no
audio."""

Box = tuple[int, int, int, int]


class Outcome(StrEnum):
    """What became of an output frame."""

    SYNCED = "synced"
    NO_FACE = "no_face"
    TOO_SMALL = "too_small"
    TURNED = "turned"
    """The face is turned too far to the side."""
    TILTED = "tilted"
    """The face is tilted too far to a shoulder."""
    BLURRED = "blurred"
    HIDDEN = "hidden"
    """Something is in front of the face."""
    OUTSIDE = "outside"
    """The face's box lies (almost) wholly beyond the frame's edge."""


@dataclass(frozen=True)
class WindowRows:
    """Distance rows of the scored windows of a frame range, in time order.

    Attributes:
        start_frames: int64 (N,), the output frame at which each window starts, not decreasing.
        distances: float32 (N, O), the output against its song.
        mismatched: float32 (N, O), the output against wrong audio of the same song.
        untouched_frames: int64 (U,), as `start_frames`, of the windows scored on the untouched clip.
        untouched: float32 (U, O), the untouched clip against the song.
    """

    start_frames: NDArray[np.int64]
    distances: NDArray[np.float32]
    mismatched: NDArray[np.float32]
    untouched_frames: NDArray[np.int64]
    untouched: NDArray[np.float32]

    @classmethod
    def none(cls) -> WindowRows:
        """No scored windows, as where there is no scorer."""
        frames, rows = np.empty(0, np.int64), np.empty((0, NUM_OFFSETS), np.float32)
        return cls(frames, rows, rows, frames, rows)


def frames_table(
    *,
    start_frame: int,
    source_s: Sequence[float] | NDArray[np.float64],
    outcomes: Sequence[str],
    boxes: Sequence[Box | None],
    voiced: Sequence[bool] | NDArray[np.bool_],
    windows: WindowRows,
) -> pa.Table:
    """The rows of output frames `start_frame` onwards, in FRAMES_SCHEMA; all sequences have one item a frame."""
    num_frames = len(outcomes)
    corners = [pa.array([None if box is None else box[k] for box in boxes], pa.int32()) for k in range(4)]
    starts = np.bincount(windows.start_frames - start_frame, minlength=num_frames)
    untouched_starts = np.bincount(windows.untouched_frames - start_frame, minlength=num_frames)
    return pa.Table.from_arrays(
        [
            pa.array(np.arange(start_frame, start_frame + num_frames), pa.int32()),
            pa.array(source_s, pa.float64()),
            pa.array([str(outcome) for outcome in outcomes], pa.string()),
            *corners,
            pa.array(voiced, pa.bool_()),
            _nested(windows.distances, starts),
            _nested(windows.mismatched, starts),
            _nested(windows.untouched, untouched_starts),
        ],
        schema=FRAMES_SCHEMA,
    )


def read_frames(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A frames table from its file; UsageError where a newer version wrote it."""
    with pq.ParquetFile(path) as file:
        version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, FRAMES_SCHEMA_VERSION)
        refuse_newer("the table of a shard's frames", version, FRAMES_SCHEMA_VERSION, file=path)
        return file.read(columns=None if columns is None else list(columns))


def window_rows(table: pa.Table, column: str) -> NDArray[np.float32]:
    """The distance rows of one column of a frames table, (N, NUM_OFFSETS) float32, in time order."""
    flat = [chunk.flatten().flatten().to_numpy(zero_copy_only=False) for chunk in table[column].chunks]
    values: NDArray[np.float32] = np.concatenate([np.empty(0, np.float32), *flat])
    return values.reshape(-1, NUM_OFFSETS)


def _nested(rows: NDArray[np.float32], num_windows: NDArray[np.int64]) -> pa.Array:
    """Rows (N, O) dealt out to frames, `num_windows` to each."""
    ends = np.concatenate([[0], np.cumsum(num_windows)]).astype(np.int32)
    flat = pa.array(np.ascontiguousarray(rows, np.float32).ravel(), pa.float32())
    return pa.ListArray.from_arrays(pa.array(ends), pa.FixedSizeListArray.from_arrays(flat, NUM_OFFSETS))
