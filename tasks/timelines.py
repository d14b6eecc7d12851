"""TIMELINE: a montage as an OpenTimelineIO file beside its film, so that an editor can go on with the parts.

The video track holds the pairs' own films, the audio track the spans of the songs; markers stand where the picture
changes and where the song beats. All times count frames of the montage.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from singalong import __version__
from singalong.contracts import PairPlan
from singalong.durable import write_atomic
from singalong.objects import is_url
from singalong.remote_run import location_of, size_of
from singalong.report_schema import PairReportRow
from tasks.films import FilmRecord, MontagePart, TimelineRecord, joined_spans
from tasks.titles import shown_name

TIMELINE_VERSION = 1
"""Raise when the same parts give another file."""
METADATA = "singalong"
"""What we say of a clip, a track or a marker lies under this name in its metadata."""

Scores = Callable[[], Mapping[str, PairReportRow]]


@dataclass(frozen=True)
class Timeline:
    """A timeline to be: the parts of a montage in playing order.

    `scored_by` names what decides scores and verdicts (work keys, thresholds); `scores` looks them up, and `beats_s`
    the beats of a song by its SHA-256, seconds; both are called only when the file is written.
    """

    name: str
    path: Path
    parts: tuple[MontagePart, ...]
    scored_by: Sequence[object]
    scores: Scores
    beats_s: Callable[[str], Sequence[float]]

    def stands(self, film: FilmRecord) -> bool:
        """Whether the file that this film's record lists is there, and is what would be written now."""
        written = film.timeline
        if written is None or written.key != self.key(film):
            return False
        return size_of(self.path) == written.num_bytes

    def write(self, film: FilmRecord) -> TimelineRecord:
        """Write the file in one step; returns what the film's record says of it."""
        assert film.film is not None
        data = self._timeline().to_json_string(indent=1).encode()
        write_atomic(self.path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        return TimelineRecord(path=location_of(self.path), key=self.key(film), sha256=sha256, num_bytes=len(data))

    def key(self, film: FilmRecord) -> str:
        """Hash of all that the file tells, but for the beats: they are the song's."""
        pairs = [part.pair.model_dump(mode="json") for part in self.parts]
        sources = [part.source.film.sha256 for part in self.parts if part.source.film is not None]
        parts = [TIMELINE_VERSION, film.key, pairs, sources, list(self.scored_by)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _timeline(self) -> Any:
        import opentimelineio as otio

        fps = self.parts[0].canvas.fps
        timeline = otio.schema.Timeline(self.name)
        timeline.metadata[METADATA] = {"version": __version__, "fps": f"{fps.numerator}/{fps.denominator}"}
        timeline.tracks.append(self._video_track(fps))
        timeline.tracks.append(self._audio_track(fps))
        timeline.tracks.markers.extend(self._markers(fps))
        return timeline

    def _video_track(self, fps: Fraction) -> Any:
        import opentimelineio as otio

        track = otio.schema.Track("picture", kind=otio.schema.TrackKind.Video)
        scores = self.scores()
        for part in self.parts:
            assert part.source.film is not None
            pair, film = part.pair, part.source.film.path
            media = otio.schema.ExternalReference(
                target_url=Path(os.path.relpath(film, location_of(self.path.parent))).as_posix(),
                available_range=_range(0, pair.num_frames, pair.fps),
            )
            clip = otio.schema.Clip(shown_name(pair), media, _range(0, part.num_frames, fps))
            clip.metadata[METADATA] = _facts(pair, scores.get(pair.pair_id), part.source.film.sha256)
            track.append(clip)
        return track

    def _audio_track(self, fps: Fraction) -> Any:
        """The songs' spans: each ends on the frame that its parts end on, so that it is as long as the picture."""
        import opentimelineio as otio

        track = otio.schema.Track("song", kind=otio.schema.TrackKind.Audio)
        spans = joined_spans(part.pair for part in self.parts)
        elapsed, first = Fraction(0), 0
        for number, span in enumerate(spans, start=1):
            elapsed += Fraction(span.end_s) - Fraction(span.start_s)
            last = round(elapsed * fps) if number < len(spans) else sum(part.num_frames for part in self.parts)
            url = span.path if is_url(span.path) else Path(span.path).as_uri()
            media = otio.schema.ExternalReference(target_url=url)
            clip = otio.schema.Clip(
                Path(span.path).stem, media, _range(float(Fraction(span.start_s) * fps), last - first, fps)
            )
            clip.metadata[METADATA] = span.model_dump(mode="json")
            track.append(clip)
            first = last
        return track

    def _markers(self, fps: Fraction) -> list[Any]:
        """One marker a cut and one a beat; a beat that is cut on is marked as the cut."""
        import opentimelineio as otio

        cuts, beats = marked_frames(self.parts, self.beats_s)
        named = [("cut", frame, otio.schema.MarkerColor.RED) for frame in cuts]
        named += [("beat", frame, otio.schema.MarkerColor.CYAN) for frame in beats]
        return [
            otio.schema.Marker(name, _range(frame, 0, fps), color, metadata={METADATA: {"kind": name}})
            for name, frame, color in sorted(named, key=lambda marker: marker[1])
        ]


def marked_frames(
    parts: Sequence[MontagePart], beats_s: Callable[[str], Sequence[float]]
) -> tuple[list[int], list[int]]:
    """Frames of the montage where the picture changes, and where the song beats but the picture does not change."""
    first, cuts, beats = 0, list[int](), set[int]()
    for part in parts:
        start_s = part.pair.song_start_s
        frames = (round(Fraction(beat_s - start_s) * part.canvas.fps) for beat_s in beats_s(part.pair.song_sha256))
        beats |= {first + frame for frame in frames if 0 <= frame < part.num_frames}
        first += part.num_frames
        cuts.append(first)
    cuts = cuts[:-1]  # the end is no cut
    return cuts, sorted(beats - set(cuts))


def _range(start: float, num_frames: int, fps: Fraction) -> Any:
    """A half-open range in frames; OpenTimelineIO keeps the rate as a float, the number of frames is exact."""
    from opentimelineio.opentime import RationalTime, TimeRange

    return TimeRange(RationalTime(start, float(fps)), RationalTime(num_frames, float(fps)))


def _facts(pair: PairPlan, score: PairReportRow | None, film_sha256: str) -> dict[str, Any]:
    """What an editor may want to know of a part."""
    return {
        "pair_id": pair.pair_id,
        "verdict": score.verdict.value if score is not None and score.verdict is not None else None,
        "sync_confidence": score.sync_confidence if score is not None else None,
        "sync_offset_frames": score.sync_offset_frames if score is not None else None,
        "clip": pair.clip,
        "clip_start_s": pair.clip_start_s,
        "clip_end_s": pair.clip_end_s,
        "song": pair.song,
        "song_start_s": pair.song_start_s,
        "song_end_s": pair.song_end_s,
        "generator": pair.generator.name,
        "rights": pair.rights,
        "film_sha256": film_sha256,
        "tags": dict(pair.tags),
    }
