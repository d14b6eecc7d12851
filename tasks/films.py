"""Which films a run should have, which of them stand already, and the jobs that make the others.

A film's record lies beside it (`outputs/<name>.json`) and holds the key it was made under: the segments, the songs
and the label. A film is made again only when that key changes, so a changed clip touches its own film and its montage.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from singalong import __version__
from singalong.config import Settings
from singalong.contracts import Failure, PairPlan, Plan, Row, ShardPlan, ShardResult, Title
from singalong.durable import write_atomic
from singalong.remote_run import copy_file, location_of, note_upload, size_of
from singalong.store import Store
from tasks.credentials import credentials_for
from tasks.jobs import ConformJob, Credentials, CropGuide, FilmFacts, JoinJob, Segment, Signing, SpanOfSong

JOIN_VERSION = 2
"""Raise when the same segments and songs give another film."""
_SAMPLE_S = 1 / 96000
"""Spans closer than a sample at a high rate are neighbours; floats of seconds are not exact."""


class TimelineRecord(Row):
    """The OpenTimelineIO file beside a montage: the key it was made under, and what was written."""

    path: str
    key: str
    sha256: str
    num_bytes: int


class FilmRecord(Row):
    """What stands beside a film: the key it was made under, and what it is."""

    key: str
    pairs: tuple[str, ...]
    missing: tuple[str, ...] = Field(default=(), description="pairs of a montage that have no film")
    film: FilmFacts | None = None
    num_bytes: int = 0
    failure: Failure | None = Field(default=None, description="why there is no film; it is tried again next time")
    timeline: TimelineRecord | None = Field(default=None, description="a montage's timeline for editors")


@dataclass(frozen=True)
class Film:
    """A film to be: the pair's own, with the frames tables of its segments, or a montage of several."""

    name: str
    folder: Path
    pairs: tuple[PairPlan, ...]
    segments: tuple[Segment, ...]
    fps: Fraction
    missing: tuple[str, ...] = ()
    signing: Signing | None = None
    tables: tuple[Segment, ...] = ()

    @property
    def output(self) -> Path:
        """Where the film goes."""
        return self.folder / f"{self.name}.mp4"

    @property
    def record_path(self) -> Path:
        """Where its record goes."""
        return self.folder / f"{self.name}.json"

    @property
    def thumbnail(self) -> Path:
        """Where its thumbnail goes."""
        return self.folder / f"{self.name}.jpg"

    def job(self) -> JoinJob:
        """The job that makes it."""
        return JoinJob(
            name=self.name,
            segments=tuple(segment.path for segment in self.segments),
            audio=joined_spans(self.pairs),
            output=location_of(self.output),
            thumbnail=location_of(self.thumbnail),
            fps=self.fps,
            metadata=film_metadata(self.name, list(self.pairs)),
            credentials=credentials_for(self.pairs, self.signing),
        )

    def key(self) -> str:
        """Hash of everything the film's bytes depend on; segments are named by their content."""
        job = self.job()
        parts = [
            JOIN_VERSION,
            [segment.content_id for segment in self.segments],
            [pair.song_sha256 for pair in self.pairs],
            [[span.start_s, span.end_s] for span in job.audio],
            str(self.fps),
            job.metadata,
            None if job.credentials is None else _told(job.credentials),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def standing(self) -> FilmRecord | None:
        """Its record, if the film stands as it should be."""
        record = read_film_record(self.record_path)
        if record is None or record.film is None or record.key != self.key():
            return None
        return record if record.num_bytes == size_of(self.output) else None

    def adopt(self, run: Path) -> FilmRecord | None:
        """Take the film over from another run, if it stands there as it should be; None if it does not."""
        theirs = replace(self, folder=run / self.folder.name)
        record = theirs.standing()
        if record is None or record.film is None:
            return None
        try:
            copy_file(theirs.output, self.output)
            if size_of(theirs.thumbnail) is not None:
                copy_file(theirs.thumbnail, self.thumbnail)
        except FileNotFoundError:
            return None  # somebody tidied up in the meantime
        return self.commit(record.film.model_copy(update={"path": location_of(self.output)}))

    def commit(self, facts: FilmFacts) -> FilmRecord:
        """Write the record of a film that was just made."""
        if facts.num_bytes is not None:
            note_upload(self.output, facts.num_bytes)
        return self._write(film=facts, num_bytes=size_of(self.output) or 0)

    def commit_failure(self, failure: Failure) -> None:
        """Write why the film could not be made."""
        self._write(failure=failure)

    def commit_timeline(self, film: FilmRecord, timeline: TimelineRecord) -> FilmRecord:
        """Add the timeline that was just written to the record of this film."""
        record = film.model_copy(update={"timeline": timeline})
        write_atomic(self.record_path, record.model_dump_json(indent=1).encode())
        return record

    def _write(self, **facts: Any) -> FilmRecord:
        pairs = tuple(pair.pair_id for pair in self.pairs)
        record = FilmRecord(key=self.key(), pairs=pairs, missing=self.missing, **facts)
        write_atomic(self.record_path, record.model_dump_json(indent=1).encode())
        return record


def _told(credentials: Credentials) -> object:
    """What of the credentials is in the film; where key and models lie is not."""
    models = [model.model_dump(mode="json", exclude={"path"}) for model in credentials.models]
    return [
        credentials.signing.certificate_id,
        models,
        credentials.model_dump(mode="json", include={"sources", "rights"}),
    ]


def read_film_record(path: Path) -> FilmRecord | None:
    """The record beside a film; None where there is none that reads."""
    try:
        return FilmRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def pair_films(
    run_folder: Path,
    plan: Plan,
    results: Mapping[str, ShardResult],
    store: Store,
    *,
    signing: Signing | None = None,
) -> list[Film]:
    """The films of all pairs whose every shard is done."""
    shards: defaultdict[str, list[ShardPlan]] = defaultdict(list)
    for shard in plan.shards:
        shards[shard.pair_id].append(shard)
    films = []
    for pair in plan.pairs:
        own = sorted(shards[pair.pair_id], key=lambda shard: shard.start_frame)
        if all(shard.shard_id in results for shard in own):
            own_results = [results[shard.shard_id] for shard in own]
            segments = tuple(
                Segment(path=store.segment_place(done), content_id=done.segment_sha256) for done in own_results
            )
            tables = tuple(
                Segment(path=store.frames_place(done), content_id=done.frames_sha256) for done in own_results
            )
            folder = run_folder / "outputs"
            films.append(Film(pair.pair_id, folder, (pair,), segments, pair.fps, signing=signing, tables=tables))
    return films


@dataclass(frozen=True)
class Canvas:
    """The common picture of a montage."""

    width: int
    height: int
    fps: Fraction


def canvas_of(pairs: Iterable[PairPlan]) -> Canvas:
    """The picture most of a montage's seconds have already; the others are scaled and padded to it."""
    seconds: Counter[Canvas] = Counter()
    for pair in pairs:
        seconds[Canvas(pair.width, pair.height, pair.fps)] += round(1000 * pair.num_frames / pair.fps)
    return max(seconds, key=lambda canvas: (seconds[canvas], canvas.width * canvas.height, canvas.fps))


@dataclass(frozen=True)
class MontagePart:
    """A pair's place in a montage: which film it is taken from, and how many frames of the canvas it fills."""

    pair: PairPlan
    source: FilmRecord
    canvas: Canvas
    num_frames: int

    @property
    def fits(self) -> bool:
        """Whether the pair's own segments can be joined as they are."""
        return Canvas(self.pair.width, self.pair.height, self.pair.fps) == self.canvas

    def conform_job(self, settings: Settings, title: Title | None = None, crop: CropGuide | None = None) -> ConformJob:
        """The job that makes a copy of the pair's film on the canvas, under a title if there is one.

        `crop` is what is known of the film if it is to be cropped.
        """
        assert self.source.film is not None
        return ConformJob(
            source=self.source.film.path,
            source_sha256=self.source.film.content_id,
            width=self.canvas.width,
            height=self.canvas.height,
            fps=self.canvas.fps,
            num_frames=self.num_frames,
            crf=settings.lipsync.crf,
            preset=settings.lipsync.preset,
            title=title,
            fill=settings.film.fill,
            crop=crop,
        )


def montage_parts(pairs: Iterable[PairPlan], films: Mapping[str, FilmRecord]) -> list[MontagePart]:
    """Lay pairs end to end on one canvas.

    Boundaries are rounded to frames from the running time, not part by part, so that a hundred parts of odd length
    end where the song says. A part at the canvas's own rate keeps its exact number of frames by that rule.
    """
    pairs = list(pairs)
    canvas = canvas_of(pairs)
    parts, elapsed = [], Fraction(0)
    for pair in pairs:
        first = round(elapsed * canvas.fps)
        elapsed += pair.num_frames / pair.fps
        parts.append(MontagePart(pair, films[pair.pair_id], canvas, round(elapsed * canvas.fps) - first))
    return parts


def joined_spans(pairs: Iterable[PairPlan]) -> tuple[SpanOfSong, ...]:
    """What a film is heard with: the pairs' song spans, neighbours of the same song joined so that it never skips."""
    spans: list[SpanOfSong] = []
    for pair in pairs:
        span = song_span(pair)
        last = spans[-1] if spans else None
        if last is not None and last.path == span.path and abs(last.end_s - span.start_s) < _SAMPLE_S:
            spans[-1] = last.model_copy(update={"end_s": last.end_s + (span.end_s - span.start_s)})
        else:
            spans.append(span)
    return tuple(spans)


def film_metadata(title: str, pairs: list[PairPlan]) -> dict[str, str]:
    """Container tags: what the film is, that its faces are generated, and by whose leave."""
    generators = sorted({pair.generator.name for pair in pairs})
    rights = sorted({pair.rights for pair in pairs if pair.rights})
    made = f"AI-generated lip movements: faces in this video were altered by singalong {__version__}"
    note = f"{made} with the generator {', '.join(generators)}"
    if not all(pair.generator.trained for pair in pairs):
        note += " (untrained weights)"
    tags = {"title": title, "comment": note}
    return tags | ({"copyright": "; ".join(rights)} if rights else {})


def song_span(pair: PairPlan) -> SpanOfSong:
    """The part of the song a pair is heard with: exactly as long as its video."""
    end_s = pair.song_start_s + float(pair.num_frames / pair.fps)
    return SpanOfSong(path=pair.song, start_s=pair.song_start_s, end_s=end_s, sha256=pair.song_sha256)
