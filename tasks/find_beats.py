"""BEATS: where the beats of each song fall that a montage is cut to, found once per song."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from singalong.config import Settings
from singalong.contracts import PairRow, SongFacts
from singalong.errors import InputError
from singalong.media.beats import find_beats
from singalong.store import Store
from singalong.versions import BEATS_VERSION

CACHE_KIND = "beats"
_FILE = "beats.json"


def beats_for(
    rows: Iterable[PairRow],
    songs: Mapping[str, SongFacts | InputError],
    *,
    settings: Settings,
    store: Store,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, tuple[float, ...]]:
    """Times of the beats, seconds, by path of the song; only for songs whose beats decide where a cut falls.

    These are the songs of montage rows that say neither where their span starts nor where it ends.
    """
    if not settings.plan.snap_to_beats:
        return {}
    wanted = {row.song: songs[row.song] for row in rows if row.is_laid_end_to_end}
    beats: dict[str, tuple[float, ...]] = {}
    for number, (path, facts) in enumerate(wanted.items(), start=1):
        if isinstance(facts, SongFacts):
            beats[path] = song_beats(facts, store=store)
        progress(number, len(wanted))
    return beats


def song_beats(song: SongFacts, *, store: Store) -> tuple[float, ...]:
    """Times of a song's beats, seconds; empty where it has none. Found once per content."""

    def build(folder: Path) -> None:
        beats = [round(float(time_s), 4) for time_s in find_beats(store.local_media(song.path), song.heard_channel)]
        (folder / _FILE).write_text(json.dumps(beats), encoding="utf-8")

    with store.using():
        return _read(store.commit_cache(CACHE_KIND, song.sha256, BEATS_VERSION, build))


def known_beats(song_sha256: str, *, store: Store) -> tuple[float, ...]:
    """Times of a song's beats, seconds, if they were found already; else empty: nothing is decoded for them."""
    with store.using():
        folder = store.cached(CACHE_KIND, song_sha256, BEATS_VERSION)
        return () if folder is None else _read(folder)


def _read(folder: Path) -> tuple[float, ...]:
    return tuple(json.loads((folder / _FILE).read_text(encoding="utf-8")))
