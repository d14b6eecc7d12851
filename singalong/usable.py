"""Which faces can be lip-synced: high enough, turned to the camera, upright, sharp, not hidden.

What was measured is kept with the tracks; limits are applied when tracks are read, so that changing one costs no
new analysis. A face does not flicker between usable and not: it must be clearly better to come back than it was
worse to go, and short spells are taken with what surrounds them.

Shape legend: R rows.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from singalong.frames_table import Outcome
from singalong.settings import AnalysisSettings
from singalong.track_table import Bools, Floats, Ints, ShotTable, TrackTable

FLAWS = (Outcome.SYNCED, Outcome.HIDDEN, Outcome.TOO_SMALL, Outcome.TURNED, Outcome.TILTED, Outcome.BLURRED)
"""What becomes of a face by its number in `TrackTable.flaws`; of several flaws the first is named."""

NOSE_DEPTH = 0.4
"""How far the nose's tip stands before the eyes, in distances of the eyes. With it the angle read off CenterFace's
landmarks is within 7 degrees of the truth up to 20, within 11 at 30 and 17 at 40, on drawn heads; at 50 it reads 33 to
64."""

MOUTH_TO_EYES = 1.2
"""Distance of the eyes over the width of the mouth, both as CenterFace marks them on frontal faces."""

RETURN_SHARE = 0.85
"""A face comes back when it is this far below a limit that it crossed. Measures waver by about a tenth."""

MIN_SPELL_S = 0.25
"""Usable or unusable spells shorter than this are taken with what surrounds them: a syllable is about as long."""

MIN_HIDDEN_S = 0.1
"""Misses shorter than this are the detector's; longer ones are hands, and nothing is drawn on those."""

FADE_S = 0.2
"""New lips come and go over this time where a face becomes usable or ceases to be."""

READ_MARGIN_S = 2.0
"""Rows this far outside a span are read with it: spells and fades at its edges then are those of the whole shot."""


def judged(tracks: TrackTable, shots: ShotTable, settings: AnalysisSettings) -> TrackTable:
    """The same rows with `flaws` and `weights` filled in."""
    flaws, weights = np.zeros(len(tracks), np.int64), np.ones(len(tracks))
    measures = _measures(tracks, settings)
    for track in np.unique(tracks.track):
        rows = np.flatnonzero(tracks.track == track)
        rows = rows[np.argsort(tracks.frame[rows])]
        of_track = _flaws(tracks.hidden[rows], [measure[rows] for measure in measures], tracks.pts_s[rows])
        flaws[rows] = of_track
        weights[rows] = _weights(tracks, rows, of_track, shots)
    return replace(tracks, flaws=flaws, weights=weights)


def turn_deg(landmarks: Floats) -> Floats:
    """How far faces are turned to the side, degrees, read off the nose's place between eyes and mouth.

    landmarks: (R,5,2), see TRACKS_SCHEMA. Returns (R,), positive to the picture's right; 0 where there are none.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = np.moveaxis(landmarks, 1, 0)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    down = mouth - eyes
    across = np.stack([down[:, 1], -down[:, 0]], axis=1) / np.maximum(np.linalg.norm(down, axis=1), 1e-6)[:, None]
    width = ((right_eye - left_eye) + MOUTH_TO_EYES * (right_mouth - left_mouth)) / 2
    offset_R, width_R = ((values * across).sum(axis=1) for values in (nose - (eyes + mouth) / 2, width))
    angle = np.degrees(np.arctan2(offset_R, NOSE_DEPTH * np.maximum(width_R, 1e-6)))
    return np.asarray(np.where(np.isfinite(angle), angle, 0.0))


def tilt_deg(landmarks: Floats) -> Floats:
    """How far faces are tilted to a shoulder, degrees, read off the eyes' line and the line from eyes to mouth.

    landmarks: (R,5,2), see TRACKS_SCHEMA. Returns (R,), positive clockwise; 0 where there are none.
    """
    left_eye, right_eye, _, left_mouth, right_mouth = np.moveaxis(landmarks, 1, 0)
    down, eyes = (left_mouth + right_mouth) / 2 - (left_eye + right_eye) / 2, right_eye - left_eye
    both = [down, np.stack([-eyes[:, 1], eyes[:, 0]], axis=1)]
    across, along = sum(side / np.maximum(np.linalg.norm(side, axis=1), 1e-6)[:, None] for side in both).T
    angle = np.degrees(np.arctan2(-across, along))
    return np.asarray(np.where(np.isfinite(angle), angle, 0.0))


def _measures(tracks: TrackTable, settings: AnalysisSettings) -> list[Floats]:
    """Height, turn, tilt and sharpness as what is bad above 1, in the order of FLAWS."""
    height = np.maximum(tracks.boxes[:, 3] - tracks.boxes[:, 1], 1e-3)
    sharpness = np.where(np.isfinite(tracks.sharpness), np.maximum(tracks.sharpness, 1e-3), np.inf)
    return [
        settings.min_face_px / height,
        np.abs(turn_deg(tracks.landmarks)) / settings.max_turn_deg,
        np.abs(tilt_deg(tracks.landmarks)) / settings.max_tilt_deg,
        settings.min_sharpness / sharpness,
    ]


def _flaws(hidden: Bools, measures: list[Floats], pts_s: Floats) -> Ints:
    """Flaws of one track's rows, in time order."""
    flaws = np.zeros(len(pts_s), np.int64)
    for number, measure in reversed(list(enumerate(measures, start=2))):
        flaws[_beyond(measure)] = number
    flaws = _without_spells(flaws, pts_s, MIN_SPELL_S, flawed=True)
    flaws[_without_spells(hidden.astype(np.int64), pts_s, MIN_HIDDEN_S, flawed=True) > 0] = 1
    return _without_spells(flaws, pts_s, MIN_SPELL_S, flawed=False)


def _beyond(measure: Floats) -> Bools:
    """Where a measure is above 1, or was and has not yet come down to RETURN_SHARE."""
    says = np.where(measure > 1, 1, np.where(measure <= RETURN_SHARE, -1, 0))
    last = np.maximum.accumulate(np.where(says != 0, np.arange(len(says)), -1))
    return np.asarray((last >= 0) & (says[last.clip(0)] > 0))


def _without_spells(flaws: Ints, pts_s: Floats, min_s: float, *, flawed: bool) -> Ints:
    """Take flawed (or unflawed) spells shorter than `min_s` with what comes before them, or else after."""
    result = flaws.copy()
    for start, end in _runs(flaws > 0):
        last = end == len(flaws)
        length_s = (pts_s[-1] if last else pts_s[end]) - pts_s[start]
        if (flaws[start] > 0) != flawed or length_s >= min_s or (start == 0 and last):
            continue
        if flawed and (start == 0 or last):
            continue  # it may go on beyond what is seen
        result[start:end] = result[start - 1] if start else flaws[end]
    return result


def _runs(values: Bools) -> list[tuple[int, int]]:
    """Half-open ranges of equal values."""
    bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(itertools.pairwise(bounds))


def _weights(tracks: TrackTable, rows: Ints, flaws: Ints, shots: ShotTable) -> Floats:
    """Weights of one track's rows, in time order: fades wherever lips would pop, but at cuts."""
    pts_s, usable = tracks.pts_s[rows], flaws == 0
    weights: Floats = usable.astype(np.float64)
    first, last = tracks.frame[rows[0]], tracks.frame[rows[-1]]
    at_cut = first in shots.start_frame, last + 1 in shots.end_frame
    for start, end in _runs(usable):
        if not usable[start]:
            continue
        run_s = pts_s[start:end]
        if start > 0 or not at_cut[0]:
            weights[start:end] *= _rise((run_s - run_s[0] + tracks.frame_s) / FADE_S)
        if end < len(rows) or not at_cut[1]:
            weights[start:end] *= _rise((run_s[-1] - run_s + tracks.frame_s) / FADE_S)
    return weights


def _rise(share: Floats) -> Floats:
    """A smooth step from 0 at 0 to 1 at 1."""
    inside = np.clip(share, 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside))
