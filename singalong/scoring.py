"""Sync scores: how well lips follow a sound, by the formula of SyncNet that gave LSE-D and LSE-C their names.

Source: Chung and Zisserman, "Out of time: automated lip sync in the wild" (ACCV 2016 workshops) and its
evaluation code; Prajwal et al., "A Lip Sync Expert Is All You Need" (ACM MM 2020), section 4.2, which names
the two numbers.

A scorer embeds lip windows of 5 frames and sound windows of 0.2 s, both 25 a second. Lip window v is compared
with the sound windows v-15 ... v+15; averaging over time gives one distance per offset, the offset curve:

    distance   (LSE-D)  minimum of the curve; lower is better
    confidence (LSE-C)  median of the curve minus its minimum; higher is better
    offset              15 minus the index of the minimum

Sign: the sound that fits lip window v best is window v - offset. A sound that comes k frames late therefore
has offset -k, a sound that comes k frames early +k.

All is counted on a 25 fps grid of steps, whatever the frame rate of the video, so that numbers compare with
the published ones. Step v is the time v / 25 s of the output and shows its nearest frame.

Shape legend: N lip windows, M sound windows, D embedding size, O offsets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from singalong.contracts import Row, SyncScore, Verdict
from singalong.frames_table import DISTANCES, MAX_OFFSET_FRAMES, MISMATCHED, UNTOUCHED, window_rows
from singalong.media.units import SCORE_FPS

WINDOW_STEPS = 5
"""Frames in a lip window, for SyncNet and for the paper's expert alike: 0.2 s at 25 fps."""
EPS = np.float32(1e-6)
"""Added to every component of a difference, as torch's pairwise_distance does."""
LEVEL_CONFIDENCE = 0.05
"""Confidence that moved less than this is the same: encoders and devices move it by about a hundredth."""
MIN_OFFSET_SHARE = 0.5
"""An offset counts if at least this share of the windows found sound there; a score needs more than this
share of the offsets. Otherwise a handful of windows at the edge of a short clip could win the minimum."""
UNTOUCHED_EVERY = 4
"""The untouched clip is only a yardstick: every 4th window of it is scored, to save most of the work."""
FAR_STEPS = 2 * SCORE_FPS
"""Wrong audio lies at least 2 s away: the search of 0.6 s to either side never meets the right sound."""
WORST_FIRST = (Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_SCORABLE, Verdict.PASS)
"""Verdicts in the order in which they need a look; where there is none yet, that comes after all of them."""


def frame_of_step(step: int, fps: Fraction) -> int:
    """The output frame nearest to score step `step`; a tie goes to the later frame."""
    return math.floor(step * fps / SCORE_FPS + Fraction(1, 2))


def steps_of_frames(start_frame: int, end_frame: int, fps: Fraction) -> range:
    """The score steps whose nearest frame lies in [start_frame, end_frame).

    Neighbouring frame ranges give neighbouring step ranges: none is lost, none is counted twice.
    """
    return range(_first_step(start_frame, fps), _first_step(end_frame, fps))


def _first_step(frame: int, fps: Fraction) -> int:
    return max(0, math.ceil((frame - Fraction(1, 2)) * SCORE_FPS / fps))


def sound_index(
    centres_N: NDArray[np.int64], *, direction: Literal[1, -1] = 1, max_offset: int = MAX_OFFSET_FRAMES
) -> NDArray[np.int64]:
    """For each lip window the sound windows it is compared with, (N, 2 max_offset + 1) int64: offset 0 in the middle.

    `direction` -1 walks through the sound backwards; only wrong audio does.
    """
    return centres_N[:, None] + direction * np.arange(-max_offset, max_offset + 1)


def distance_rows(
    lips_ND: NDArray[np.float32],
    audio_MD: NDArray[np.float32],
    index_NO: NDArray[np.int64],
    *,
    edge: Literal["nan", "zero"] = "nan",
) -> NDArray[np.float32]:
    """Distances of every lip window to the sound around it, (N, O) float32: ||lip - sound + 1e-6||_2 in float32.

    Args:
        lips_ND: embeddings of the lip windows.
        audio_MD: embeddings of sound windows.
        index_NO: rows of `audio_MD` (see `sound_index`); numbers outside 0 ... M-1 mean that there is no sound.
        edge: what to take where there is no sound. "zero" is the published protocol: an embedding of zeros,
            whose
            distance is the norm of the lip embedding. On short clips that can be less than the distance to
            real sound, and then shifts off the end of the sound win; so our own scores use "nan": those cells
            are left out.
    """
    rows_NO = np.empty(index_NO.shape, np.float32)
    for column, index_N in enumerate(index_NO.T):
        there_N = (index_N >= 0) & (index_N < len(audio_MD))
        rows_NO[there_N, column] = _norm(lips_ND[there_N] - audio_MD[index_N[there_N]])
        rows_NO[~there_N, column] = _norm(lips_ND[~there_N]) if edge == "zero" else np.nan
    return rows_NO


def _norm(difference_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted_ND = difference_ND.astype(np.float32, copy=False) + EPS
    norms_N: NDArray[np.float32] = np.sqrt(np.einsum("nd,nd->n", shifted_ND, shifted_ND))
    return norms_N


def offset_curve(rows_NO: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean distance per offset, (O,) float64; NaN where too few windows found sound (MIN_OFFSET_SHARE)."""
    there_NO = np.isfinite(rows_NO)
    num_O = there_NO.sum(axis=0)
    sums_O = np.where(there_NO, rows_NO, 0.0).sum(axis=0, dtype=np.float64)
    usable_O = num_O >= max(1.0, MIN_OFFSET_SHARE * len(rows_NO))
    return np.where(usable_O, sums_O / np.maximum(num_O, 1), np.nan)


@dataclass(frozen=True)
class CurveScore:
    """What an offset curve says."""

    confidence: float
    distance: float
    offset_frames: int


def read_curve(curve_O: NDArray[np.float64]) -> CurveScore | None:
    """LSE-C, LSE-D and offset of an offset curve; None if too many offsets are without sound."""
    usable_O = np.isfinite(curve_O)
    if usable_O.sum() <= MIN_OFFSET_SHARE * len(curve_O):
        return None
    best = int(np.nanargmin(curve_O))
    distance = float(curve_O[best])
    confidence = float(np.median(curve_O[usable_O])) - distance
    return CurveScore(confidence, distance, len(curve_O) // 2 - best)


def score_rows(
    rows_NO: NDArray[np.float32],
    *,
    scorer: str,
    min_windows: int,
    mismatched_NO: NDArray[np.float32] | None = None,
    untouched_NO: NDArray[np.float32] | None = None,
) -> SyncScore:
    """The score of distance rows; its numbers are None, never a guess, for fewer than `min_windows` rows."""
    score = _read(rows_NO, min_windows)
    wrong, untouched = _read(mismatched_NO, min_windows), _read(untouched_NO, min_windows)
    return SyncScore(
        scorer=scorer,
        num_windows=len(rows_NO),
        confidence=score.confidence if score else None,
        distance=score.distance if score else None,
        offset_frames=score.offset_frames if score else None,
        confidence_mismatched=wrong.confidence if wrong and score else None,
        confidence_untouched=untouched.confidence if untouched and score else None,
    )


def _read(rows_NO: NDArray[np.float32] | None, min_windows: int) -> CurveScore | None:
    if rows_NO is None or len(rows_NO) < min_windows:
        return None
    return read_curve(offset_curve(rows_NO))


def combine_rows(tables: Iterable[pa.Table], *, scorer: str, min_windows: int) -> SyncScore:
    """The score of a pair from the frames tables of its shards (schema: `singalong.frames_table`).

    Equal to scoring all windows at once. Windows that would straddle two shards were never made: with 10 s
    shards 4 of 250.
    """
    tables = list(tables)
    columns = (DISTANCES, MISMATCHED, UNTOUCHED)
    rows, wrong, untouched = (
        np.concatenate([window_rows(table, column) for table in tables]) if tables else None for column in columns
    )
    if rows is None:
        return SyncScore(scorer=scorer)
    return score_rows(rows, scorer=scorer, min_windows=min_windows, mismatched_NO=wrong, untouched_NO=untouched)


@dataclass(frozen=True)
class WrongAudio:
    """For each voiced step the step of the same song it is compared with as a mismatch.

    Attributes:
        voiced_steps: int64, all voiced steps of the song, ascending.
        centre_steps: int64, the step of the wrong sound, one for each.
        direction: 1, or -1 where the wrong sound is walked through backwards.
    """

    voiced_steps: NDArray[np.int64]
    centre_steps: NDArray[np.int64]
    direction: Literal[1, -1]

    def centres(self, steps_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps of the wrong sound for `steps_N`, all of which must be voiced."""
        return self.centre_steps[np.searchsorted(self.voiced_steps, steps_N)]


def wrong_audio(voiced_steps: NDArray[np.int64]) -> WrongAudio:
    """Pair every voiced step of a song with other singing of the same song, always in the same way.

    The voiced steps are rotated by half their number, which puts every window at least that many steps from
    its own sound; the singer, the loudness and the band stay the same, only the words are wrong. It depends
    on the song alone, so shards of any size agree. A song with too little singing for a distance of FAR_STEPS
    is walked through backwards instead: then no single offset fits more than one window.
    """
    half = len(voiced_steps) // 2
    if half >= FAR_STEPS:
        return WrongAudio(voiced_steps, np.roll(voiced_steps, -half), 1)
    return WrongAudio(voiced_steps, voiced_steps[::-1].copy(), -1)


class Thresholds(Row):
    """Where pass, review and fail lie for one scorer; they come from its model card."""

    pass_confidence: float = Field(description="confidence from which an output may pass")
    fail_confidence: float = Field(description="confidence below which an output fails")
    max_offset_frames: int = Field(default=2, ge=0, description="largest offset, either sign, in 25 fps frames")
    min_margin: float = Field(default=0.0, description="confidence must exceed that of wrong audio by this to pass")


class Scored(Protocol):
    """What of a `SyncScore` a verdict is made from."""

    @property
    def scorer(self) -> str | None: ...  # noqa: D102
    @property
    def confidence(self) -> float | None: ...  # noqa: D102
    @property
    def offset_frames(self) -> int | None: ...  # noqa: D102
    @property
    def confidence_mismatched(self) -> float | None: ...  # noqa: D102


def verdict(score: Scored, thresholds: Thresholds | None) -> Verdict:
    """Pass, review or fail; not scorable where there is no score.

    Fails with a confidence below `fail_confidence` or an offset beyond `max_offset_frames`. Passes with a
    confidence of `pass_confidence` that exceeds the one of wrong audio by `min_margin`: a scorer can be pleased
    by a face that moves well whatever the words. All else is for a person to review, and so is everything a
    scorer says whose thresholds nobody knows (None).
    """
    if score.confidence is None or score.offset_frames is None:
        return Verdict.NOT_SCORABLE
    if thresholds is None:
        return Verdict.REVIEW
    if score.confidence < thresholds.fail_confidence:
        return Verdict.FAIL
    if abs(score.offset_frames) > thresholds.max_offset_frames:
        return Verdict.FAIL
    wrong = score.confidence_mismatched
    convincing = wrong is None or score.confidence - wrong >= thresholds.min_margin
    return Verdict.PASS if score.confidence >= thresholds.pass_confidence and convincing else Verdict.REVIEW
