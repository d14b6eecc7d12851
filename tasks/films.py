"""Which films a run should have, which of them stand already, and the jobs that make the others.

A film's record lies beside it (`outputs/<name>.json`) and holds the key it was made under: the segments, the songs
and the label. A film is made again only when that key changes, so a changed clip touches its own film and its montage.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from singalong.contracts import PairPlan, Plan, Row, ShardPlan, ShardResult
from singalong.durable import write_atomic
from singalong.store import Store
from tasks.jobs import ConformJob, FilmFacts, JoinJob, SpanOfSong
from tasks.join import JOIN_VERSION, film_metadata, song_span

CONFORM_VERSION = 1
"""Raise when bringing a film to another canvas gives other pixels."""
_SAMPLE_S = 1 / 96000
"""Spans closer than a sample at a high rate are neighbours; floats of seconds are not exact."""


class FilmRecord(Row):
    """What stands beside a film: the key it was made under, and what it is."""

    key: str
    film: FilmFacts
    num_bytes: int
    pairs: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Film:
    """A film to be: the pair's own, or a montage of several."""

    name: str
    folder: Path
    pairs: tuple[PairPlan, ...]
    segments: tuple[Path, ...]
    fps: Fraction
    missing: tuple[str, ...] = ()

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
            segments=tuple(str(path) for path in self.segments),
            audio=joined_spans(self.pairs),
            output=str(self.output),
            thumbnail=str(self.thumbnail),
            fps=self.fps,
            metadata=film_metadata(self.name, list(self.pairs)),
        )

    def key(self) -> str:
        """Hash of everything the film's bytes depend on; segments are named by their content."""
        job = self.job()
        parts = [
            JOIN_VERSION,
            [path.name for path in self.segments],
            [pair.song_sha256 for pair in self.pairs],
            [[span.start_s, span.end_s] for span in job.audio],
            str(self.fps),
            job.metadata,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def standing(self) -> FilmRecord | None:
        """Its record, if the film stands as it should be."""
        try:
            record = FilmRecord.model_validate_json(self.record_path.read_bytes())
            num_bytes = self.output.stat().st_size
        except (FileNotFoundError, ValidationError):
            return None
        return record if record.key == self.key() and record.num_bytes == num_bytes else None

    def commit(self, facts: FilmFacts) -> None:
        """Write the record of a film that was just made."""
        record = FilmRecord(
            key=self.key(),
            film=facts,
            num_bytes=self.output.stat().st_size,
            pairs=tuple(pair.pair_id for pair in self.pairs),
            missing=self.missing,
        )
        write_atomic(self.record_path, record.model_dump_json(indent=1).encode())


def pair_films(run_folder: Path, plan: Plan, results: Mapping[str, ShardResult], store: Store) -> list[Film]:
    """The films of all pairs whose every shard is done."""
    shards: defaultdict[str, list[ShardPlan]] = defaultdict(list)
    for shard in plan.shards:
        shards[shard.pair_id].append(shard)
    films = []
    for pair in plan.pairs:
        own = sorted(shards[pair.pair_id], key=lambda shard: shard.start_frame)
        if all(shard.shard_id in results for shard in own):
            segments = tuple(store.segment_path(results[shard.shard_id]) for shard in own)
            films.append(Film(pair.pair_id, run_folder / "outputs", (pair,), segments, pair.fps))
    return films


@dataclass(frozen=True)
class Canvas:
    """The common picture of a montage."""

    width: int
    height: int
    fps: Fraction


def montage_members(plan: Plan) -> dict[str, list[PairPlan]]:
    """Pairs of each montage in playing order: by position, then by row."""
    members: defaultdict[str, list[PairPlan]] = defaultdict(list)
    for pair in plan.pairs:
        if pair.montage is not None:
            members[pair.montage].append(pair)
    infinity = float("inf")
    for pairs in members.values():
        pairs.sort(key=lambda pair: (infinity if pair.position is None else pair.position, pair.row))
    return dict(members)


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

    def conform_job(self, output: Path, *, crf: int, preset: str) -> ConformJob:
        """The job that makes a copy of the pair's film on the canvas."""
        return ConformJob(
            source=self.source.film.path,
            output=str(output),
            width=self.canvas.width,
            height=self.canvas.height,
            fps=self.canvas.fps,
            num_frames=self.num_frames,
            crf=crf,
            preset=preset,
        )

    def conformed_name(self, *, crf: int, preset: str) -> str:
        """File name of that copy: changes with everything its bytes depend on."""
        parts = [CONFORM_VERSION, self.source.film.sha256, self.canvas.width, self.canvas.height]
        parts += [str(self.canvas.fps), self.num_frames, crf, preset]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40] + ".mp4"


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
