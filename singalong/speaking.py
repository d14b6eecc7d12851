"""Who of several people speaks: what their lips tell against the sound, brought to one number each. Pure functions.

Two kinds of evidence, both as curves over the offset between picture and sound, as in `singalong.scoring`:

- how much nearer the sync scorer finds lips and sound there than at other offsets, in units of the curves' noise;
- how well the motion of the lower face follows how far a mouth opens that makes the sound (`mouth_correlation`).

All people of a clip share one offset, so both are read at the offset at which somebody fits best: who does not speak
gets no second chance at another one. Measured with the bundled scorer on films of two real people side by side, one of
whom is heard while the other talks, too, or is silent (`bench/speakers.py`, five talkers and three silent people, 35
films): of 3 s, the scorer's confidence picks the right one in 30, this in 34; of 5 s, in 32 and in 35. The largest face
is the right one in 22.

Shape legend: O offsets, N steps of 1/25 s, R rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from singalong.frames_table import MAX_OFFSET_FRAMES, NUM_OFFSETS
from singalong.scoring import read_curve

Floats = NDArray[np.float64]

SPEAKERS_SCHEMA = pa.schema(
    [
        pa.field("shot", pa.int32(), nullable=False),
        pa.field("track", pa.int32(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("num_windows", pa.int32(), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("confidence", pa.float32()),
        pa.field("confidence_mismatched", pa.float32()),
        pa.field("offset_frames", pa.int32()),
        pa.field("follows", pa.float32()),
        pa.field("distances", pa.list_(pa.float32(), NUM_OFFSETS), nullable=False),
        pa.field("correlations", pa.list_(pa.float32(), NUM_OFFSETS), nullable=False),
    ]
)
"""Columns of speakers.parquet: a row a track a piece of a shot, [start_s, end_s) of the clip's time. `num_windows`:
voiced lip windows that were scored; `num_steps`: 25ths of a second that show the face. `confidence`,
`confidence_mismatched`, `offset_frames` are the piece's own, null where there is too little to score; `follows`: best
correlation of its motion with the sound near offset 0. The curves they come from: `distances`, mean distance by offset
as in `singalong.scoring`, and `correlations`, see `mouth_correlation`; the sound's step minus the lips' rises from
-15 to 15."""

MIN_WINDOWS = 10
"""Fewer voiced windows say nothing: a person with fewer is not judged."""
MAX_COMMON_OFFSET = 7
"""Sound further off than 0.28 s (in frames) is not looked for: people would long have mended such a clip."""
UNSURE_MARGIN = 2.0
"""Evidence that exceeds the next person's by less is right in 4 of 5 cases only, by more in 98 of 100."""

_SCORER_REACH, _MOTION_REACH = 2, 3
"""Frames around the common offset in which each kind of evidence may peak: windows and motions are smooth."""
_MOTION_WEIGHT = 6.0
"""What a correlation of 1 counts, in units of the curves' noise. 4 to 8 are equally good."""
_OFFSET_COST = 1.0
"""Evidence that a frame of common offset must be worth: nearly all clips are in sync."""
_PEAK_REACH = 6
"""Offsets nearer to 0 than this may hold the peak and do not count as noise."""
_NOISE_FLOOR = 0.005
"""Least noise, as a share of the distances: without it nothing at all would count for much where a short clip has no
far offsets, or a painted face no noise. Real people talking for a second or more have 0.02 to 0.03."""
_MOTION_FLOOR = 0.5
"""Added to a motion (grey levels) before its logarithm: noise of the camera below it counts as rest."""
_EPS = 1e-9


@dataclass(frozen=True)
class TrackEvidence:
    """What a piece of a track tells; a row of SPEAKERS_SCHEMA.

    distances: (O,) mean, NaN where there was no sound. correlations: (O,), see `mouth_correlation`.
    """

    shot: int
    track: int
    start_s: float
    end_s: float
    num_windows: int
    num_steps: int
    distances: Floats
    correlations: Floats
    confidence_mismatched: float | None = None


def mouth_correlation(motion_N: Floats, opening: Floats) -> Floats:
    """Correlation of a lower face's motion with the opening that the sound asks for, (O,), in [-1, 1].

    Args:
        motion_N: mean absolute change of the lower face from picture to picture, grey levels, per step.
        opening: (N + 2 * MAX_OFFSET_FRAMES,), of the steps from MAX_OFFSET_FRAMES before the first one on.

    Motion enters by its logarithm: a nod is not a hundred times as telling as a vowel.
    """
    num_steps = len(motion_N)
    motion_N = _standard(_smooth(np.log(motion_N + _MOTION_FLOOR)))
    heard = np.lib.stride_tricks.sliding_window_view(_smooth(opening), num_steps)
    return np.array([float(np.dot(motion_N, _standard(opening_N))) for opening_N in heard])


def to_table(rows: Iterable[TrackEvidence]) -> pa.Table:
    """Rows as a table of SPEAKERS_SCHEMA."""
    return pa.Table.from_pylist([_row(evidence) for evidence in rows], schema=SPEAKERS_SCHEMA)


def from_table(table: pa.Table) -> list[TrackEvidence]:
    """The rows of a table of SPEAKERS_SCHEMA."""
    plain = ("shot", "track", "start_s", "end_s", "num_windows", "num_steps", "confidence_mismatched")
    return [
        TrackEvidence(
            **{name: row[name] for name in plain},
            distances=np.array(row["distances"], np.float64),
            correlations=np.array(row["correlations"], np.float64),
        )
        for row in table.to_pylist()
    ]


def evidence_of(people: Mapping[int, Sequence[TrackEvidence]]) -> dict[int, Floats]:
    """How surely each of several people of one shot speaks, by common offset -7 ... 7, (15,) each.

    `people`: all rows of each person. Those with fewer than MIN_WINDOWS voiced windows are left out.
    """
    num_windows = {person: sum(row.num_windows for row in rows) for person, rows in people.items()}
    judged = [person for person, number in num_windows.items() if number >= MIN_WINDOWS]
    if not judged:
        return {}
    curves = {person: _mean(people[person], "distances", "num_windows") for person in judged}
    follows = {person: _mean(people[person], "correlations", "num_steps") for person in judged}
    floor = _NOISE_FLOOR * float(np.nanmedian(list(curves.values())))
    noise = max(float(np.sqrt(np.mean([_noise(curve) for curve in curves.values()]))), floor, _EPS)
    most = max(num_windows.values())
    return {
        # the fewer windows, the more a curve tells by chance: its noise falls with the root of their number
        person: np.sqrt(num_windows[person] / most) * _by_offset(curves[person], follows[person], noise)
        for person in judged
    }


def common_offset(shots: Iterable[Mapping[int, Floats]]) -> int:
    """The offset between a clip's picture and sound, frames, at which in each shot somebody speaks most surely.

    `shots`: `evidence_of` each. The sign is that of `singalong.scoring`: negative where the sound is late.
    """
    offsets = np.arange(MAX_COMMON_OFFSET, -MAX_COMMON_OFFSET - 1, -1)
    total = -_OFFSET_COST * np.abs(offsets)
    for people in shots:
        if people:
            total = total + np.max(list(people.values()), axis=0)
    return int(offsets[int(np.argmax(total))])


def at_offset(evidence: Floats, offset_frames: int) -> float:
    """The value of `evidence_of` at a common offset."""
    return float(evidence[MAX_COMMON_OFFSET - offset_frames])


def _by_offset(distances: Floats, correlations: Floats, noise: float) -> Floats:
    dips = (np.nanmedian(distances) - distances) / noise
    middle = MAX_OFFSET_FRAMES
    return np.array(
        [
            _best(dips, middle + shift, _SCORER_REACH)
            + _MOTION_WEIGHT * _best(correlations, middle + shift, _MOTION_REACH)
            for shift in range(-MAX_COMMON_OFFSET, MAX_COMMON_OFFSET + 1)
        ]
    )


def _best(curve: Floats, centre: int, reach: int) -> float:
    near = curve[centre - reach : centre + reach + 1]
    return float(np.nanmax(near)) if np.isfinite(near).any() else 0.0


def _noise(distances: Floats) -> float:
    """Variance of a curve where no peak is expected."""
    far = np.concatenate(
        [distances[: MAX_OFFSET_FRAMES - _PEAK_REACH], distances[MAX_OFFSET_FRAMES + _PEAK_REACH + 1 :]]
    )
    return float(np.nanvar(far)) if np.isfinite(far).any() else 0.0


def _mean(rows: Sequence[TrackEvidence], curve: str, weight: str) -> Floats:
    """Mean of the rows' curves, weighted by what each was made of."""
    curves = np.stack([getattr(row, curve) for row in rows])
    weights = np.array([getattr(row, weight) for row in rows], np.float64)[:, None] * np.isfinite(curves)
    sums = (np.where(np.isfinite(curves), curves, 0.0) * weights).sum(axis=0)
    return np.where(weights.sum(axis=0) > 0, sums / np.maximum(weights.sum(axis=0), _EPS), np.nan)


def _row(evidence: TrackEvidence) -> dict[str, object]:
    curve = evidence.distances
    score = read_curve(curve) if evidence.num_windows else None
    return {
        **{name: getattr(evidence, name) for name in ("shot", "track", "start_s", "end_s", "num_windows", "num_steps")},
        "confidence": score.confidence if score else None,
        "confidence_mismatched": evidence.confidence_mismatched,
        "offset_frames": score.offset_frames if score else None,
        "follows": _best(evidence.correlations, MAX_OFFSET_FRAMES, _MOTION_REACH),
        "distances": curve.tolist(),
        "correlations": evidence.correlations.tolist(),
    }


def _smooth(values: Floats) -> Floats:
    """Mean of each value and its neighbours; ends are repeated."""
    return np.convolve(np.pad(values, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")


def _standard(values: Floats) -> Floats:
    """Of mean 0 and length 1; zeros where nothing varies."""
    centred: Floats = values - values.mean()
    standard: Floats = centred / max(float(np.linalg.norm(centred)), _EPS)
    return standard
