"""The steps that turn finished shards into films: pairs, then montages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.dispatch import Item
from tasks.films import Film, FilmRecord, MontagePart, montage_members, montage_parts, pair_films
from tasks.jobs import Segment
from tasks.join import conformed
from tasks.record import OutcomeRecorder
from tasks.session import Session


def join_pairs(session: Session) -> dict[str, FilmRecord]:
    """Join the films of all pairs whose every shard is done; returns those that stand, by pair."""
    return _make(session, "join", _pair_films(session))


def join_montages(session: Session, films: Mapping[str, FilmRecord]) -> dict[str, FilmRecord]:
    """Join the montages from their pairs; a pair without a film is left out and noted in the montage's record."""
    own = {film.name: film.segments for film in _pair_films(session)}
    montages = []
    for name, members in montage_members(session.plan).items():
        there = [pair for pair in members if pair.pair_id in films]
        if not there:
            continue
        parts = montage_parts(there, films)
        missing = {pair.pair_id for pair in members} - {pair.pair_id for pair in there}
        missing |= {problem.pair_id for problem in session.plan.problems if problem.montage == name}
        if all(part.fits for part in parts):
            segments = tuple(segment for part in parts for segment in own[part.pair.pair_id])
        else:
            segments = _conform(session, name, parts)
        folder = session.run.path / "montages"
        fps = parts[0].canvas.fps
        montages.append(Film(name, folder, tuple(there), segments, fps, missing=tuple(sorted(missing))))
    return _make(session, "montage", montages)


def _pair_films(session: Session) -> list[Film]:
    return pair_films(session.run.path, session.plan, session.results(), session.store)


def _conform(session: Session, name: str, parts: Sequence[MontagePart]) -> tuple[Segment, ...]:
    """Copies of the parts on the montage's canvas; made once, whatever other parts change."""
    lipsync = session.settings.lipsync
    jobs = {
        f"conform {part.pair.pair_id} for {name}": part.conform_job(crf=lipsync.crf, preset=lipsync.preset)
        for part in parts
    }
    missing = [Item(item_id, job) for item_id, job in jobs.items() if conformed(job, session.store) is None]
    session.dispatch("conform", missing, OutcomeRecorder())
    found = (conformed(job, session.store) for job in jobs.values())
    return tuple(segment for segment in found if segment is not None)


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
