"""PLAN: read a manifest, probe its media, resolve its models, and make the plan."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from models import registry
from singalong.config import Settings, default_models_home
from singalong.contracts import ModelRef, PairRow, Plan
from singalong.face_choice import picture_of
from singalong.manifest_folder import read_manifests
from singalong.plan import make_plan
from singalong.store import Store
from singalong.voices import SEPARATE, stem_of
from singalong.work_keys import WorkKeys
from tasks.credentials import signing_of
from tasks.find_beats import beats_for
from tasks.probe_media import clip_facts, picture_facts, probe_all, song_facts
from tasks.separate import check_separator

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Models:
    """The models that all pairs of a run share; no scorer and no enhancer where none is wanted."""

    detector: ModelRef
    scorer: ModelRef | None
    enhancer: ModelRef | None

    def work_keys(self, settings: Settings) -> WorkKeys:
        """What makes the work keys of a plan with these models."""
        return WorkKeys(settings, self.detector, self.scorer, self.enhancer)


def plan_run(
    manifest: str | Path,
    *,
    settings: Settings,
    store: Store,
    require_rights: bool = False,
    progress: Progress = lambda _what, _done, _total: None,
    note: Callable[[str], None] = lambda _text: None,
    on_rows: Callable[[], None] = lambda: None,
) -> tuple[Plan, list[PairRow]]:
    """Make the plan of a manifest, or of a folder (see `singalong.manifest_folder`); returns it with its rows.

    Media that cannot be read becomes a problem of its rows, not an exception. With `require_rights` every row must
    say who allowed its use. `note` is told what of a folder is left out, `on_rows` that the manifest's text is right.

    Raises ManifestError with every problem of the manifest's text, InputError for models that are not installed,
    UsageError for a certificate that films cannot be signed with, and for a separator that is not there.
    """
    require, roots = ("rights",) if require_rights else (), settings.limits.media_roots
    rows, left_out = read_manifests(manifest, require=require, roots=roots)
    for text in left_out:
        note(text)
    on_rows()
    return plan_rows(rows, settings=settings, store=store, progress=progress), rows


def plan_rows(
    rows: list[PairRow],
    *,
    settings: Settings,
    store: Store,
    progress: Progress = lambda _what, _done, _total: None,
) -> Plan:
    """Make the plan of checked manifest rows; raises as `plan_run` does, but for ManifestError."""
    store.check_reachable()
    if settings.film.certificate or settings.film.certificate_key:
        signing_of(settings)  # one that cannot be used is better known now than when the first film is made
    if settings.songs.separator and any(row.vocals == SEPARATE for row in rows):
        check_separator(settings.songs)
    generator_for = generator_resolver(settings)
    for row in rows:
        generator_for(row.generator)
    clips = probe_all(
        (row.clip for row in rows),
        lambda path: clip_facts(path, settings=settings, store=store),
        lambda done, total: progress("clips", done, total),
    )
    songs = probe_all(
        _song_paths(rows),
        lambda path: song_facts(path, settings=settings, store=store),
        lambda done, total: progress("songs", done, total),
    )
    pictures = probe_all(
        (path for row in rows if (path := picture_of(row.face)) is not None),
        lambda path: picture_facts(path, settings=settings, store=store),
        lambda done, total: progress("pictures", done, total),
    )
    beats = beats_for(
        rows, songs, settings=settings, store=store, progress=lambda done, total: progress("beats", done, total)
    )
    now, models = datetime.now(UTC), resolve_models(settings)
    return make_plan(
        rows,
        clips,
        songs,
        beats=beats,
        pictures=pictures,
        settings=settings,
        generator_for=generator_for,
        detector=models.detector,
        scorer=models.scorer,
        enhancer=models.enhancer,
        run_id=new_run_id(now),
        created_at=now.isoformat(timespec="seconds"),
    )


def new_run_id(now: datetime) -> str:
    """An id for a run planned now; ids sort by time."""
    return f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def resolve_models(settings: Settings) -> Models:
    """The models that all pairs share. Raises InputError for one that is not installed."""
    home = default_models_home()
    return Models(
        detector=_required(registry.resolve(settings.analysis.detector, "detector", home=home)),
        scorer=registry.resolve(settings.score.scorer, "scorer", home=home),
        enhancer=registry.resolve(settings.lipsync.enhancer, "enhancer", home=home),
    )


def _song_paths(rows: list[PairRow]) -> Iterable[str]:
    for row in rows:
        yield row.song
        stem = stem_of(row.vocals)
        if stem is not None:
            yield stem


def generator_resolver(settings: Settings) -> Callable[[str | None], ModelRef]:
    """Finds the generator of a row's name, None: the settings' own; each is looked up once.

    What it returns raises InputError for one that is not installed.
    """
    home = default_models_home()

    @cache
    def resolve(name: str | None) -> ModelRef:
        return _required(registry.resolve(name or settings.lipsync.generator, "generator", home=home))

    return resolve


def _required(ref: ModelRef | None) -> ModelRef:
    assert ref is not None  # only scorers may be none
    return ref
