"""PROBE: facts of every distinct clip and song, remembered by content hash so that no file is probed twice."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from singalong.config import Settings
from singalong.contracts import ClipFacts, SongFacts
from singalong.errors import BugError, InputError, MediaError, SingalongError, classify
from singalong.media.containers import check_is_file
from singalong.media.still_motion import moving_id
from singalong.object_calls import at_once
from singalong.store import Store
from singalong.urls import is_url
from tasks.probe_apart import probe_clip_apart, probe_song_apart

_AT_ONCE = 16
PROBE_VERSION = 3
"""Raise when probing changes what it says of a file."""

Facts = TypeVar("Facts", ClipFacts, SongFacts)


def clip_facts(path: str, *, settings: Settings, store: Store) -> ClipFacts:
    """Facts of a clip or still. Raises MediaError where it cannot be used."""
    limits, still_fps = settings.limits, settings.plan.still_fps
    sha256 = _hash(path, store)

    def probe() -> ClipFacts:
        with at_hand(path, store) as file:
            return probe_clip_apart(file, sha256=sha256, limits=limits, still_fps=still_fps)

    facts = _remembered(store, "clip-facts", sha256, f"{limits}{still_fps}", ClipFacts, probe)
    return _moving(facts.model_copy(update={"path": path}), settings.plan.still_motion)


def local_clip(facts: ClipFacts, store: Store) -> ClipFacts:
    """The facts with the clip's file on this machine, for who reads it here and now; a URL is fetched if need be."""
    return facts.model_copy(update={"path": str(store.local_media(facts.path))})


def picture_facts(path: str, *, settings: Settings, store: Store) -> ClipFacts:
    """Facts of a picture that shows who is to sing. Raises MediaError where it is none, or cannot be used."""
    plan = settings.plan.model_copy(update={"still_motion": 0.0})
    facts = clip_facts(path, settings=settings.model_copy(update={"plan": plan}), store=store)
    if not facts.is_still:
        raise MediaError(
            "a video, not a picture of who is to sing",
            file=path,
            expected="a picture after like:",
            action="Save a frame of it as a picture.",
        )
    return facts


def _moving(facts: ClipFacts, share: float) -> ClipFacts:
    """The facts of a still that moves: to all that is kept of it, it is another clip."""
    if not facts.is_still or share == 0:
        return facts
    moving = moving_id(facts.sha256, share, facts.fps)
    return facts.model_copy(update={"still_motion": share, "sha256": moving, "file_sha256": facts.sha256})


def song_facts(path: str, *, settings: Settings, store: Store) -> SongFacts:
    """Facts of a song or stem. Raises MediaError where it cannot be used."""
    sha256 = _hash(path, store)

    def probe() -> SongFacts:
        with at_hand(path, store) as file:
            return probe_song_apart(file, sha256=sha256, limits=settings.limits)

    return _remembered(store, "song-facts", sha256, str(settings.limits), SongFacts, probe).model_copy(
        update={"path": path}
    )


def probe_all(
    paths: Iterable[str],
    probe: Callable[[str], Facts],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, Facts | InputError]:
    """Facts, or the reason why there are none, of every distinct path."""
    distinct = list(dict.fromkeys(paths))
    facts: dict[str, Facts | InputError] = {}

    def found(path: str) -> Facts | InputError:
        try:
            return probe(path)
        except InputError as error:
            return error
        except BugError as error:  # one bad row never stops the others
            return MediaError(
                f"finding out what it holds met a defect: {error.problem}",
                file=path,
                action="Convert it to MP4 (H.264) or WAV, and please report the defect.",
            )

    # What is remembered of an object still takes a few round trips.
    objects = [path for path in distinct if is_url(path)]
    facts |= zip(
        objects,
        at_once(found, objects, num=_AT_ONCE, note=lambda done: progress(done, len(distinct))),
        strict=True,
    )
    for path in distinct:
        if path not in facts:
            facts[path] = found(path)
            progress(len(facts), len(distinct))
    return facts


def _hash(path: str, store: Store) -> str:
    if not is_url(path):
        check_is_file(Path(path))  # a pipe or a device would be read for ever
    try:
        return store.file_sha256(path)
    except OSError as error:
        raise classify(error) from error


@contextlib.contextmanager
def at_hand(path: str, store: Store) -> Iterator[Path]:
    """The file of a path or URL, kept for as long as it is read; what is wrong with it is told of the URL.

    Raises as `Store.local_media`, with errors of the file system as ours.
    """
    with store.using():
        try:
            file = store.local_media(path)
        except OSError as error:
            raise classify(error) from error
        try:
            yield file
        except SingalongError as error:
            if not is_url(path) or str(error.file or file) != str(file):
                raise
            raise type(error)(
                error.problem, file=path, value=error.value, expected=error.expected, action=error.action
            ) from error


def _remembered(
    store: Store, kind: str, sha256: str, settings: str, model: type[Facts], probe: Callable[[], Facts]
) -> Facts:
    # failures are not remembered: the next version may know better
    version = f"v{PROBE_VERSION}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    with store.using():
        folder = store.cached(kind, sha256, version)
        if folder is not None:
            return model.model_validate_json((folder / "facts.json").read_text(encoding="utf-8"))
    facts = probe()

    def build(target: Path) -> None:
        (target / "facts.json").write_text(facts.model_dump_json(), encoding="utf-8")

    store.commit_cache(kind, sha256, version, build)
    return facts
