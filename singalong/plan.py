"""The plan: manifest rows and media facts become pairs, shards and work keys. Pure, no file is touched.

A row that cannot be planned becomes a problem with a message; it never stops the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from pydantic import Field

from singalong.config import Settings
from singalong.contracts import (
    ClipFacts,
    ModelRef,
    PairPlan,
    PairRow,
    Plan,
    Row,
    RowProblem,
    ShardPlan,
    SongFacts,
)
from singalong.errors import InputError
from singalong.face_choice import check_speaker, picture_sha256
from singalong.settings import SongSettings
from singalong.spans import Spans, resolve_spans
from singalong.versions import ALGORITHM_VERSION
from singalong.voices import stem_of, voice_of
from singalong.work_keys import WorkKeys

MIN_SHARD_FRAMES = 5
"""The scorers see windows of 5 frames (SyncNet), so a shorter shard could never be scored."""

Facts = TypeVar("Facts", ClipFacts, SongFacts)


def make_plan(
    rows: Sequence[PairRow],
    clips: Mapping[str, ClipFacts | InputError],
    songs: Mapping[str, SongFacts | InputError],
    *,
    beats: Mapping[str, Sequence[float]] | None = None,
    pictures: Mapping[str, ClipFacts | InputError] | None = None,
    settings: Settings,
    generator_for: Callable[[str | None], ModelRef],
    detector: ModelRef,
    scorer: ModelRef | None,
    enhancer: ModelRef | None = None,
    run_id: str,
    created_at: str,
    parent_run_id: str | None = None,
) -> Plan:
    """Make the plan of a manifest.

    Args:
        rows: checked manifest rows.
        clips: facts of every clip by its path, or why there are none.
        songs: the same for every song, and for every stem named by a row's `vocals`.
        beats: times of the beats, seconds, rising, by path of the song; montage rows that say nothing of their song
            span end on one of them.
        pictures: facts of every picture that a row's `face` is to be like, or why there are none.
        settings: of the run; part of them goes into the work keys.
        generator_for: the generator of a row's name (None: the default one); may raise InputError.
        detector: the face detector.
        scorer: the sync scorer; None where there is none.
        enhancer: what sharpens new lips; None where nothing does.
        run_id: of the new run.
        created_at: ISO 8601 time.
        parent_run_id: the run this one reprocesses.

    Pairs stand in the order of the rows; shards by priority, highest first, then by row.
    """
    pairs, problems = _plan_pairs(
        rows, _Media(clips, songs, beats or {}, pictures or {}, settings.songs, scorer), generator_for
    )
    return Plan(
        run_id=run_id,
        parent_run_id=parent_run_id,
        created_at=created_at,
        algorithm_version=ALGORITHM_VERSION,
        detector=detector,
        scorer=scorer,
        enhancer=enhancer,
        pairs=tuple(pairs),
        shards=tuple(shards_of(pairs, settings, WorkKeys(settings, detector, scorer, enhancer))),
        problems=tuple(problems),
    )


def montages(rows: Iterable[PairPlan]) -> dict[str, list[PairPlan]]:
    """The pairs of each montage in playing order."""
    films: defaultdict[str, list[PairPlan]] = defaultdict(list)
    for row in sorted(rows, key=_playing_order):
        if row.montage is not None:
            films[row.montage].append(row)
    return dict(films)


def cut_into_shards(num_frames: int, shard_frames: int) -> list[tuple[int, int]]:
    """Frame ranges [start, end) that tile [0, num_frames) on a fixed grid.

    All are `shard_frames` long but the last; one of fewer than MIN_SHARD_FRAMES is added to the one before.
    """
    assert num_frames > 0
    shard_frames = max(shard_frames, MIN_SHARD_FRAMES)
    starts = list(range(0, num_frames, shard_frames))
    if len(starts) > 1 and num_frames - starts[-1] < MIN_SHARD_FRAMES:
        starts.pop()
    return list(zip(starts, [*starts[1:], num_frames], strict=True))


def shards_of(pairs: Sequence[PairPlan], settings: Settings, work_keys: WorkKeys) -> Iterator[ShardPlan]:
    """The shards of pairs, by priority, highest first, then by row."""
    for pair in sorted(pairs, key=lambda pair: (-pair.priority, pair.row)):
        ranges = cut_into_shards(pair.num_frames, round(Fraction(settings.plan.shard_s) * pair.fps))
        keys = work_keys.keys(pair, ranges)
        for index, ((start_frame, end_frame), work_key) in enumerate(zip(ranges, keys, strict=True)):
            yield ShardPlan(
                shard_id=f"{pair.pair_id}-{index:04d}",
                pair_id=pair.pair_id,
                index=index,
                start_frame=start_frame,
                end_frame=end_frame,
                work_key=work_key,
            )


class Cost(Row):
    """What a plan takes to do; `todo` is without what the store already holds."""

    num_pairs: int
    num_shards: int
    num_frames: int
    output_s: float = Field(description="seconds of video, all pairs together")
    num_todo_shards: int
    num_todo_frames: int


def estimate_cost(plan: Plan, finished: Collection[str] = ()) -> Cost:
    """Add up frames and shards. `finished`: work keys whose results exist; a key shared by shards is done once."""
    todo = {shard.work_key: shard.num_frames for shard in plan.shards if shard.work_key not in finished}
    return Cost(
        num_pairs=len(plan.pairs),
        num_shards=len(plan.shards),
        num_frames=sum(pair.num_frames for pair in plan.pairs),
        output_s=float(sum((pair.num_frames / pair.fps for pair in plan.pairs), start=Fraction(0))),
        num_todo_shards=len(todo),
        num_todo_frames=sum(todo.values()),
    )


def plan_summary(plan: Plan, finished: Collection[str] = ()) -> dict[str, Any]:
    """The plan in a few numbers and lists, ready for JSON: what a person checks before starting it."""
    generators = Counter(pair.generator.name for pair in plan.pairs)
    return {
        "run_id": plan.run_id,
        **estimate_cost(plan, finished).model_dump(),
        "num_clips": len({pair.clip_sha256 for pair in plan.pairs}),
        "num_songs": len({pair.song_sha256 for pair in plan.pairs}),
        "montages": {name: len(pairs) for name, pairs in montages(plan.pairs).items()},
        "generators": dict(generators),
        "untrained_generators": sorted({pair.generator.name for pair in plan.pairs if not pair.generator.trained}),
        "detector": plan.detector.name,
        "scorer": plan.scorer.name if plan.scorer else None,
        "problems": [problem.model_dump(mode="json") for problem in plan.problems],
    }


def _playing_order(row: PairRow | PairPlan) -> tuple[bool, float, int]:
    return row.position is None, row.position or 0.0, row.row


def _in_playing_order(rows: Sequence[PairRow]) -> Iterator[PairRow]:
    """Montage rows by position, then row: where one ends decides where the next one starts."""
    yield from (row for row in rows if row.montage is None)
    yield from sorted((row for row in rows if row.montage is not None), key=_playing_order)


@dataclass(frozen=True)
class _Media:
    """What is known of the files that rows name, and what hears them."""

    clips: Mapping[str, ClipFacts | InputError]
    songs: Mapping[str, SongFacts | InputError]
    beats: Mapping[str, Sequence[float]]
    pictures: Mapping[str, ClipFacts | InputError]
    song_settings: SongSettings
    scorer: ModelRef | None


def _plan_pairs(
    rows: Sequence[PairRow],
    media: _Media,
    generator_for: Callable[[str | None], ModelRef],
) -> tuple[list[PairPlan], list[RowProblem]]:
    """Pairs and problems, both in the order of the rows."""
    problems: list[RowProblem] = []
    pairs: list[PairPlan] = []
    cursors: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in _in_playing_order(rows):
        try:
            pairs.append(_plan_pair(row, media, generator_for, cursors))
        except InputError as error:
            problems.append(_problem(row, error))
    return sorted(pairs, key=lambda pair: pair.row), sorted(problems, key=lambda problem: problem.row)


def _plan_pair(
    row: PairRow,
    media: _Media,
    generator_for: Callable[[str | None], ModelRef],
    cursors: defaultdict[tuple[str, str], float],
) -> PairPlan:
    generator = generator_for(row.generator)
    clip, song = _facts(media.clips, row.clip), _facts(media.songs, row.song)
    check_speaker(row.face, clip, media.scorer, row=row.row)
    stem_path = stem_of(row.vocals)
    stem = None if stem_path is None else _facts(media.songs, stem_path)
    voice = voice_of(row, song, stem, media.song_settings)
    track = (row.montage or "", song.sha256)
    beats_s = media.beats.get(row.song, ())
    spans: Spans = resolve_spans(row, clip, song, stem, cursor_s=cursors[track], beats_s=beats_s)
    cursors[track] = spans.next_start_s(clip.fps)
    return PairPlan(
        pair_id=row.pair_id,
        row=row.row,
        place=row.place,
        clip=row.clip,
        clip_sha256=clip.sha256,
        clip_file_sha256=clip.file_sha256,
        song=row.song,
        song_sha256=song.sha256,
        voice=voice.path,
        voice_sha256=voice.sha256,
        finds_voice=voice.finds_voice,
        voice_channel=voice.channel,
        separator_id=voice.separator_id,
        clip_start_s=spans.clip_start_s,
        clip_end_s=spans.clip_end_s,
        song_start_s=spans.song_start_s,
        song_end_s=spans.song_end_s,
        fps=clip.fps,
        width=clip.width,
        height=clip.height,
        num_frames=spans.num_frames,
        face=row.face,
        picture_sha256=picture_sha256(row, media.pictures),
        fit=row.fit,
        generator=generator,
        montage=row.montage,
        position=row.position,
        rights=row.rights,
        priority=row.priority,
        tags=row.tags,
        overrides=row.overrides,
    )


def _facts(known: Mapping[str, Facts | InputError], path: str) -> Facts:
    facts = known[path]
    if isinstance(facts, InputError):
        raise facts
    return facts


def _problem(row: PairRow, error: InputError) -> RowProblem:
    error = error.at(row.place)
    return RowProblem(
        pair_id=row.pair_id,
        row=row.row,
        place=row.place,
        clip=row.clip,
        song=row.song,
        montage=row.montage,
        error_class=error.error_class,
        error_message=str(error),
        rights=row.rights,
        tags=row.tags,
    )
