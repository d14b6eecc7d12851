"""The steps that turn finished shards into films: pairs, then montages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

from singalong.contracts import Title
from singalong.media.join import segments_match
from singalong.media.lettering import clean_text
from singalong.plan import montages
from singalong.remote_run import run_at
from singalong.runfolder import RunFolder
from tasks.analyse import analysis_version
from tasks.dispatch import Item
from tasks.films import Film, FilmRecord, MontagePart, montage_parts, pair_films
from tasks.find_beats import known_beats
from tasks.jobs import ConformJob, CropGuide, JoinJob, Segment
from tasks.join import conformed
from tasks.record import OutcomeRecorder
from tasks.report import is_reported, pair_rows
from tasks.session import Session
from tasks.standing import Standing, scorer_thresholds
from tasks.timelines import Scores, Timeline
from tasks.titles import titles_of


def join_pairs(session: Session) -> dict[str, PairFilm]:
    """Join the films of all pairs whose every shard is done; returns those that stand, by pair."""
    stands = session.standing()
    films = _pair_films(session, stands)
    return _standing(films, _make(session, "join", films, stands))


def join_montages(session: Session, films: Mapping[str, PairFilm]) -> dict[str, FilmRecord]:
    """Join the montages from their pairs; a pair without a film is left out and noted in the montage's record."""
    stands = session.standing()
    planned = _montages(session, films, stands)
    standing = {montage.name: montage.standing() for montage in planned}
    todo = [montage for montage in planned if standing[montage.name] is None]
    jobs = {
        f"conform {pair_id} for {montage.name}": job
        for montage in todo
        for pair_id, job in montage.conform_jobs().items()
        if conformed(job, session.store) is None
    }
    recorder = OutcomeRecorder()
    session.dispatch("conform", [Item(item_id, job) for item_id, job in jobs.items()], recorder)
    for montage in todo:
        for pair_id in montage.conform_jobs():
            outcome = recorder.outcomes.get(f"conform {pair_id} for {montage.name}")
            if outcome is not None and outcome.failure is not None:
                montage.film_of(()).commit_failure(outcome.failure)
    made = _make(session, "montage", [film for montage in todo if (film := montage.film()) is not None], stands)
    records = {name: record for name, record in standing.items() if record is not None} | made
    for montage in planned:
        if montage.name in records:
            records[montage.name] = montage.write_timeline(records[montage.name])
    return records


def is_finished(run: RunFolder) -> bool:
    """Whether nothing is left to do: every shard is settled and every film stands. Starts no pool."""
    session = Session(run)
    if session.pending() or not is_reported(run):
        return False
    stands = session.standing()
    films = _pair_films(session, stands)
    standing = _standing(films, {film.name: film.standing() for film in films})
    return len(standing) == len(films) and all(montage.is_whole() for montage in _montages(session, standing, stands))


@dataclass(frozen=True)
class PairFilm:
    """A pair's film that stands: what it was made of, and its record."""

    film: Film
    record: FilmRecord


@dataclass(frozen=True)
class _Montage:
    """A montage to be, from the films of its pairs."""

    session: Session
    name: str
    parts: tuple[MontagePart, ...]
    missing: tuple[str, ...]
    films: Mapping[str, PairFilm]
    titles: Mapping[str, Title]
    scores: Scores
    stands: Standing

    def is_whole(self) -> bool:
        """Whether its film and its timeline stand; opens no film."""
        record = self.standing()
        return record is not None and self._timeline.stands(record)

    def write_timeline(self, record: FilmRecord) -> FilmRecord:
        """Write the timeline of its film, which stands, unless that stands too; the film's record with it."""
        if self._timeline.stands(record):
            return record
        return self.film_of(()).commit_timeline(record, self._timeline.write(record))

    def standing(self) -> FilmRecord | None:
        """Its record if it stands, made in one way or the other; opens no film."""
        ways = [self.film_of(self._pieces)] if self._may_join_as_is else []
        copies = self._copies()
        ways += [self.film_of(copies)] if copies is not None else []
        return next((record for film in ways if (record := film.standing()) is not None), None)

    def conform_jobs(self) -> dict[str, ConformJob]:
        """Jobs that bring its pairs to one canvas, under their titles; none where they can be joined as they are."""
        return {} if self._joins_as_is else self._jobs

    def film(self) -> Film | None:
        """The film, once all its parts are on the canvas."""
        segments = self._pieces if self._joins_as_is else self._copies()
        return None if segments is None else self.film_of(segments)

    def film_of(self, segments: tuple[Segment, ...]) -> Film:
        """The film made of these segments."""
        pairs = tuple(part.pair for part in self.parts)
        folder = self.session.run.path / "montages"
        fps, signing = self.parts[0].canvas.fps, self.session.signing
        return Film(self.name, folder, pairs, segments, fps, missing=self.missing, signing=signing)

    @cached_property
    def _timeline(self) -> Timeline:
        store, plan = self.session.store, self.stands.plan
        thresholds = scorer_thresholds(plan.scorer.name if plan.scorer else None)
        scored_by = [
            self.session.settings.score.min_windows,
            None if thresholds is None else thresholds.model_dump(),
            self.stands.work_keys_of(part.pair.pair_id for part in self.parts),
        ]
        path = self.film_of(()).output.with_suffix(".otio")
        return Timeline(self.name, path, self.parts, scored_by, self.scores, partial(known_beats, store=store))

    @cached_property
    def _may_join_as_is(self) -> bool:
        return not self.titles and all(part.fits for part in self.parts)

    @cached_property
    def _joins_as_is(self) -> bool:
        """Whether the pairs' own segments make one stream: same size and rate, and the same colours and pixel shape."""
        return self._may_join_as_is and segments_match([self.session.store.here(piece.path) for piece in self._pieces])

    @cached_property
    def _pieces(self) -> tuple[Segment, ...]:
        return tuple(piece for part in self.parts for piece in self.films[part.pair.pair_id].film.segments)

    @cached_property
    def _jobs(self) -> dict[str, ConformJob]:
        settings, titles = self.session.settings, self.titles
        return {
            part.pair.pair_id: part.conform_job(settings, titles.get(part.pair.pair_id), self._crop(part))
            for part in self.parts
        }

    def _crop(self, part: MontagePart) -> CropGuide | None:
        """What a part is cropped by; None where parts are not to be."""
        settings, pair = self.session.settings, part.pair
        if settings.film.fill != "crop":
            return None
        version = analysis_version(settings.analysis, self.session.plan.detector)
        analysis = self.session.store.cached("analysis", pair.clip_sha256, version)
        tables = self.films[pair.pair_id].film.tables
        return CropGuide(
            tables=tuple(table.path for table in tables),
            content_ids=tuple(table.content_id for table in tables),
            shots=None if analysis is None else str(analysis / "shots.parquet"),
            width=pair.width,
            height=pair.height,
            label=clean_text(settings.lipsync.label),
        )

    def _copies(self) -> tuple[Segment, ...] | None:
        copies = [conformed(job, self.session.store) for job in self._jobs.values()]
        there = tuple(copy for copy in copies if copy is not None)
        return there if len(there) == len(copies) else None


def _montages(session: Session, films: Mapping[str, PairFilm], stands: Standing) -> list[_Montage]:
    planned = montages(stands.plan.pairs)
    scores = cache(partial(pair_rows, session.run, session.store, stands))
    titles = titles_of(session.run.plan.pairs, session.settings, scores) if planned else {}
    records = {name: film.record for name, film in films.items()}
    unplanned: defaultdict[str | None, set[str]] = defaultdict(set)
    for problem in session.plan.problems:
        unplanned[problem.montage].add(problem.pair_id)
    found = []
    for name, members in planned.items():
        there = [pair for pair in members if pair.pair_id in films]
        if there:
            missing = {pair.pair_id for pair in members} - {pair.pair_id for pair in there}
            missing |= unplanned[name]
            parts = tuple(montage_parts(there, records))
            found.append(_Montage(session, name, parts, tuple(sorted(missing)), films, titles, scores, stands))
    return found


def _pair_films(session: Session, stands: Standing) -> list[Film]:
    return pair_films(session.run.path, stands.plan, stands.results, session.store, signing=session.signing)


def _standing(films: Sequence[Film], records: Mapping[str, FilmRecord | None]) -> dict[str, PairFilm]:
    there = {film.name: (film, records.get(film.name)) for film in films}
    return {name: PairFilm(film, record) for name, (film, record) in there.items() if record is not None}


def _make(session: Session, stage: str, films: Sequence[Film], stands: Standing) -> dict[str, FilmRecord]:
    standing = {film.name: film.standing() for film in films}
    if session.run.heritage and not all(standing.values()):
        with run_at(session.run.heritage.order.parent) as parent:
            standing = {film.name: standing[film.name] or film.adopt(parent) for film in films}
    todo = {f"{stage} {film.name}": film for film in films if standing[film.name] is None}
    recorder = OutcomeRecorder()
    session.dispatch(stage, _items({item_id: film.job() for item_id, film in todo.items()}), recorder)
    for item_id, outcome in recorder.outcomes.items():
        film = todo[item_id]
        if outcome.failure is not None:
            film.commit_failure(outcome.failure)
            _discard_damaged(session, film, stands)
        elif outcome.film is not None:
            standing[film.name] = film.commit(outcome.film)
    return {name: record for name, record in standing.items() if record is not None}


def _items(jobs: Mapping[str, JoinJob]) -> list[Item]:
    """Items of these jobs; sound that several films share is to be kept."""
    films = Counter(job.audio for job in jobs.values())
    return [
        Item(item_id, job.model_copy(update={"keeps_sound": films[job.audio] > 1})) for item_id, job in jobs.items()
    ]


def _discard_damaged(session: Session, film: Film, stands: Standing) -> None:
    """Forget finished shards of a film that failed if their files are damaged, so that the next run makes them anew."""
    for work_key in stands.work_keys_of(pair.pair_id for pair in film.pairs):
        if session.store.find(work_key) is not None and not session.store.verify(work_key):
            session.store.discard(work_key)
