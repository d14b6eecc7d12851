"""The steps that turn finished shards into films: pairs, then montages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from singalong.contracts import PairPlan
from singalong.media.join import segments_match
from singalong.plan import montages
from singalong.runfolder import RunFolder
from tasks.dispatch import Item
from tasks.films import Film, FilmRecord, MontagePart, montage_parts, pair_films
from tasks.jobs import ConformJob, Segment
from tasks.join import conformed
from tasks.record import OutcomeRecorder
from tasks.session import Session


def join_pairs(session: Session) -> dict[str, FilmRecord]:
    """Join the films of all pairs whose every shard is done; returns those that stand, by pair."""
    return _make(session, "join", _pair_films(session))


def join_montages(session: Session, films: Mapping[str, FilmRecord]) -> dict[str, FilmRecord]:
    """Join the montages from their pairs; a pair without a film is left out and noted in the montage's record."""
    planned = _montages(session, films)
    missing = [
        Item(f"conform {pair_id} for {montage.name}", job)
        for montage in planned
        for pair_id, job in montage.conform_jobs(session).items()
        if conformed(job, session.store) is None
    ]
    session.dispatch("conform", missing, OutcomeRecorder())
    whole = (montage.film(session) for montage in planned)
    return _make(session, "montage", [film for film in whole if film is not None])


def is_finished(run: RunFolder) -> bool:
    """Whether nothing is left to do: every shard is settled and every film stands. Starts no pool."""
    session = Session(run)
    if session.pending() or not (run.path / "index.html").exists():
        return False
    films = {film.name: film.standing() for film in _pair_films(session)}
    standing = {name: record for name, record in films.items() if record is not None}
    if len(standing) < len(films):
        return False
    whole = (montage.film(session) for montage in _montages(session, standing))
    return all(film is not None and film.standing() is not None for film in whole)


@dataclass(frozen=True)
class _Montage:
    """A montage to be, from the films of its pairs."""

    name: str
    parts: tuple[MontagePart, ...]
    missing: tuple[str, ...]
    own_segments: Mapping[str, tuple[Segment, ...]]

    @cached_property
    def joins_as_is(self) -> bool:
        """Whether the pairs' own segments make one stream: same size and rate, and the same colours and pixel shape."""
        return all(part.fits for part in self.parts) and segments_match([Path(piece.path) for piece in self._pieces])

    @property
    def _pieces(self) -> tuple[Segment, ...]:
        return tuple(piece for part in self.parts for piece in self.own_segments[part.pair.pair_id])

    def conform_jobs(self, session: Session) -> dict[str, ConformJob]:
        """Jobs that bring its pairs to one canvas; none where they have it already."""
        if self.joins_as_is:
            return {}
        lipsync = session.settings.lipsync
        return {part.pair.pair_id: part.conform_job(crf=lipsync.crf, preset=lipsync.preset) for part in self.parts}

    def film(self, session: Session) -> Film | None:
        """The film, once all its parts are on the canvas."""
        jobs = self.conform_jobs(session)
        if jobs:
            copies = [conformed(job, session.store) for job in jobs.values()]
            segments = tuple(copy for copy in copies if copy is not None)
            if len(segments) < len(copies):
                return None
        else:
            segments = self._pieces
        pairs = tuple(part.pair for part in self.parts)
        folder = session.run.path / "montages"
        return Film(self.name, folder, pairs, segments, self.parts[0].canvas.fps, missing=self.missing)


def _montages(session: Session, films: Mapping[str, FilmRecord]) -> list[_Montage]:
    own_segments = {film.name: film.segments for film in _pair_films(session)}
    found = []
    for name, members in montages(session.plan.pairs).items():
        there: list[PairPlan] = [pair for pair in members if pair.pair_id in films]
        if there:
            missing = {pair.pair_id for pair in members} - {pair.pair_id for pair in there}
            missing |= {problem.pair_id for problem in session.plan.problems if problem.montage == name}
            parts = tuple(montage_parts(there, films))
            found.append(_Montage(name, parts, tuple(sorted(missing)), own_segments))
    return found


def _pair_films(session: Session) -> list[Film]:
    return pair_films(session.run.path, session.plan, session.results(), session.store)


def _make(session: Session, stage: str, films: Sequence[Film]) -> dict[str, FilmRecord]:
    standing = {film.name: film.standing() for film in films}
    todo = {f"{stage} {film.name}": film for film in films if standing[film.name] is None}
    recorder = OutcomeRecorder()
    session.dispatch(stage, [Item(item_id, film.job()) for item_id, film in todo.items()], recorder)
    for item_id, outcome in recorder.outcomes.items():
        film = todo[item_id]
        if outcome.failure is not None:
            film.commit_failure(outcome.failure)
        elif outcome.film is not None:
            standing[film.name] = film.commit(outcome.film)
    return {name: record for name, record in standing.items() if record is not None}
