"""Which part of its clip and of its song a manifest row gets: every default resolved, every bad span refused.

Pure: takes rows and media facts, returns spans or raises InputError naming the row and the column.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from singalong.contracts import ClipFacts, Fit, PairRow, SongFacts
from singalong.errors import InputError
from singalong.media.units import num_output_frames

STEM_SLACK_S = 0.1
"""A stem may end this much before its song: codecs pad, and one more or less window of silence is no
mistake."""

MIN_PART_S = 0.4
"""No part of a montage is made shorter than this for the sake of a beat: eyes need that long to find the face."""


@dataclass(frozen=True)
class Spans:
    """Resolved spans of one pair, seconds, half-open; `num_frames` is round((song_end_s - song_start_s) *
    fps).
    """

    clip_start_s: float
    clip_end_s: float
    song_start_s: float
    song_end_s: float
    num_frames: int

    def next_start_s(self, fps: Fraction) -> float:
        """Where the next pair of a montage goes on: after the whole frames of this one, so that nothing
        drifts.
        """
        return float(Fraction(self.song_start_s) + self.num_frames / fps)


def resolve_spans(
    row: PairRow,
    clip: ClipFacts,
    song: SongFacts,
    stem: SongFacts | None,
    *,
    cursor_s: float,
    beats_s: Sequence[float] = (),
) -> Spans:
    """Resolve the spans of a row.

    The clip span is the whole clip, from its first frame on, unless the row says otherwise; a still has any length.
    The song span is the whole song, but in a montage it starts at `cursor_s` and is as long as the clip span, in
    whole frames; where the row says nothing of its song span, its end is moved to one of `beats_s`, the times of the
    song's beats (see `_cut_on_beat`). With the fit `cut` the song span is no longer than the clip span. Spans that end
    up to half a frame beyond their medium are cut to it.

    Raises InputError for a span beyond its medium, and for one that holds not a single frame.
    """
    clip_span = _clip_span(row, clip)
    start_s, end_s = _song_span(row, clip.fps, song, clip_span, cursor_s)
    if row.is_laid_end_to_end and end_s < song.duration_s:
        end_s = _cut_on_beat(start_s, end_s, clip.fps, beats_s, may_grow=row.fit is not Fit.CUT)
        end_s = min(end_s, song.duration_s)
    if stem is not None:
        end_s = _covered_end(row, clip.fps, stem, start_s, end_s)
    num_frames = num_output_frames(end_s - start_s, clip.fps)
    if row.fit is Fit.CUT and clip_span is not None:
        available = num_output_frames(clip_span[1] - clip_span[0], clip.fps)
        if available < num_frames:
            num_frames, end_s = available, _plus_frames(start_s, available, clip.fps)
    if num_frames < 1:
        raise InputError(
            "the song span is shorter than one frame",
            row=row.row,
            column="song_end_s" if row.song_end_s is not None else None,
            value=end_s - start_s,
            expected=f"at least {float(1 / clip.fps):.3f} s, one frame at {float(clip.fps):g} fps",
        )
    # Time stands still in a still: one span for all, so that pairs of the same still share their work.
    clip_start_s, clip_end_s = (0.0, end_s - start_s) if clip.is_still or clip_span is None else clip_span
    return Spans(clip_start_s, clip_end_s, start_s, end_s, num_frames)


def _clip_span(row: PairRow, clip: ClipFacts) -> tuple[float, float] | None:
    """The clip span; None for a still whose row does not say how long it stands."""
    if clip.is_still:
        return None if row.clip_end_s is None else (row.clip_start_s or 0.0, row.clip_end_s)
    start_s = clip.first_frame_s if row.clip_start_s is None else row.clip_start_s
    medium = f"{clip.path} is {clip.duration_s:.3f} s long"
    _check_start(row, "clip_start_s", start_s, clip.duration_s, medium)
    end_s = clip.duration_s
    if row.clip_end_s is not None:
        end_s = _checked_end(row, "clip_end_s", row.clip_end_s, clip.duration_s, clip.fps, medium)
    if num_output_frames(end_s - start_s, clip.fps) < 1:
        column = "clip_end_s" if row.clip_end_s is not None else "clip_start_s"
        value = row.clip_end_s if row.clip_end_s is not None else start_s
        raise InputError(
            f"the clip span holds not a single frame: {medium}",
            row=row.row,
            column=column,
            value=value,
            expected=f"a span of at least {float(1 / clip.fps):.3f} s",
        )
    return start_s, end_s


def _song_span(
    row: PairRow, fps: Fraction, song: SongFacts, clip_span: tuple[float, float] | None, cursor_s: float
) -> tuple[float, float]:
    medium = f"{song.path} is {song.duration_s:.3f} s long"
    default_start_s = cursor_s if row.montage is not None else 0.0
    start_s = default_start_s if row.song_start_s is None else row.song_start_s
    if row.song_start_s is None and start_s > 0 and start_s >= song.duration_s - _half_frame_s(fps):
        raise InputError(
            f"the rows before it in the montage {row.montage} use up the song: {medium}",
            row=row.row,
            column="song_start_s",
            action="Give this row a song_start_s, shorten the clips, or take a longer song.",
        )
    _check_start(row, "song_start_s", start_s, song.duration_s, medium)
    if row.song_end_s is not None:
        if row.song_end_s <= start_s:
            raise InputError(
                f"the song span ends before it starts, which is at {start_s:g} s where the row before ends",
                row=row.row,
                column="song_end_s",
                value=row.song_end_s,
                action="Give this row a song_start_s.",
            )
        return start_s, _checked_end(row, "song_end_s", row.song_end_s, song.duration_s, fps, medium)
    if row.montage is None or row.to_song_end:
        return start_s, song.duration_s
    if clip_span is None:
        raise InputError(
            "a still in a montage does not say how long it stands",
            row=row.row,
            column="clip_end_s",
            expected="clip_end_s, its time in seconds, or song_end_s",
        )
    num_frames = num_output_frames(clip_span[1] - clip_span[0], fps)
    return start_s, min(_plus_frames(start_s, num_frames, fps), song.duration_s)


def _cut_on_beat(start_s: float, end_s: float, fps: Fraction, beats_s: Sequence[float], *, may_grow: bool) -> float:
    """The end of a song span, moved to the frame boundary nearest to a beat.

    The last beat before the end is taken, since the clip has pictures up to there; the next one after it only where
    that is too far, and if the span `may_grow`. Too far is more than half of the span, or less than MIN_PART_S from its
    start. Whole frames, not the beat itself, so that the sound has no seam there and the next row starts in step.
    """
    reach_s = (end_s - start_s) / 2
    after = bisect_right(beats_s, end_s + _half_frame_s(fps))
    for beat_s in beats_s[max(0, after - 1) : after + may_grow]:
        num_frames = num_output_frames(beat_s - start_s, fps)
        if abs(beat_s - end_s) <= reach_s and num_frames / fps >= MIN_PART_S:
            return _plus_frames(start_s, num_frames, fps)
    return end_s


def _covered_end(row: PairRow, fps: Fraction, stem: SongFacts, start_s: float, end_s: float) -> float:
    slack_s = max(STEM_SLACK_S, _half_frame_s(fps))
    if end_s <= stem.duration_s:
        return end_s
    if end_s - stem.duration_s <= slack_s and start_s < stem.duration_s:
        return stem.duration_s
    raise InputError(
        f"{stem.path} is {stem.duration_s:.3f} s long and does not cover the song span",
        row=row.row,
        column="vocals",
        value=row.vocals,
        expected=f"vocals of at least {end_s:.3f} s, on the song's own time line",
    )


def _check_start(row: PairRow, column: str, start_s: float, duration_s: float, medium: str) -> None:
    if start_s >= duration_s:
        raise InputError(
            f"starts beyond the end: {medium}",
            row=row.row,
            column=column,
            value=start_s,
            expected=f"less than {duration_s:.3f}",
        )


def _checked_end(row: PairRow, column: str, end_s: float, duration_s: float, fps: Fraction, medium: str) -> float:
    if end_s > duration_s + _half_frame_s(fps):
        raise InputError(
            f"ends beyond the end: {medium}",
            row=row.row,
            column=column,
            value=end_s,
            expected=f"at most {duration_s:.3f}",
        )
    return min(end_s, duration_s)


def _half_frame_s(fps: Fraction) -> float:
    return float(1 / (2 * fps))


def _plus_frames(start_s: float, num_frames: int, fps: Fraction) -> float:
    return float(Fraction(start_s) + num_frames / fps)
