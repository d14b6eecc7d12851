"""Which pairs a folder of media means, by its names alone. Pure: no file is touched.

The conventions are those of `singalong.manifest_folder`, which says them to users.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from singalong.manifest import stable_slug
from singalong.suffixes import PICTURE_SUFFIXES, SOUND_SUFFIXES, VIDEO_SUFFIXES

CLIPS, SONGS = "clips", "songs"
STILL_S = 4.0
"""How long a picture stands in a montage that is cut on the beats of one song, before its end goes to a beat."""
_NO_SONG = "no song of the same name, so nothing to sing"
_NO_CLIP = "no clip of the same name, so nobody to sing it"
_SAME_NAME = "the same name as another one but for its ending, its letter case or its folder; give it one of its own"
_IS_UNKNOWN = "neither a clip nor a song"
_IS_STRAY = "beside the folders clips and songs, not in them"


@dataclass(frozen=True)
class FoundPair:
    """A clip and the song it is to sing, both relative to the folder; `values` are those of a `PairRow`."""

    pair_id: str
    clip: str
    song: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Notes:
    """What was left out, by the reason why."""

    _names: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    _MAX_NAMED = 5

    def add(self, reason: str, names: Iterable[str]) -> None:
        """These were left out."""
        self._names[reason] += names

    def words(self) -> list[str]:
        """One sentence a reason."""
        return [f"left out, {reason}: {self._listed(names)}" for reason, names in self._names.items() if names]

    def _listed(self, names: Sequence[str]) -> str:
        more = len(names) - self._MAX_NAMED
        return ", ".join(names[: self._MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def pairs_in(names: Iterable[str], notes: Notes) -> list[FoundPair]:
    """The pairs that these files mean, in order of their names; numbers in names count as numbers.

    Args:
        names: of files, relative to the folder, with forward slashes; at most one folder deep but below clips/ and
            songs/.
        notes: is told of what is left out.
    """
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=natural_order):
        folders[name.partition("/")[0] if "/" in name else ""].append(name)
    if {CLIPS, SONGS} <= folders.keys():
        notes.add(_IS_STRAY, (name for folder in folders.keys() - {CLIPS, SONGS} for name in folders[folder]))
        found = _products(folders[CLIPS], folders[SONGS], notes)
    else:
        found = (pair for folder, members in folders.items() for pair in _neighbours(folder, members, notes))
    return list(_named_once(found, notes))


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A key that sorts as people do: `take 2` before `take 10`."""
    parts = re.split(r"([0-9]{1,18})", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], name


def _products(clips: Sequence[str], songs: Sequence[str], notes: Notes) -> Iterator[FoundPair]:
    """Every clip sings every song."""
    kinds = [(clips, VIDEO_SUFFIXES | PICTURE_SUFFIXES), (songs, SOUND_SUFFIXES)]
    for names, suffixes in kinds:
        notes.add(_IS_UNKNOWN, (name for name in names if _suffix(name) not in suffixes))
    singers, sung = ([name for name in names if _suffix(name) in suffixes] for names, suffixes in kinds)
    for clip in singers:
        for song in sung:
            yield FoundPair(f"{_slug_below(clip)}__{_slug_below(song)}", clip, song)


def _neighbours(folder: str, names: Sequence[str], notes: Notes) -> Iterator[FoundPair]:
    """Each clip sings the song beside it that has its name, or else the folder's only other song."""
    clips = [name for name in names if _suffix(name) in VIDEO_SUFFIXES | PICTURE_SUFFIXES]
    songs = [name for name in names if _suffix(name) in SOUND_SUFFIXES]
    notes.add(_IS_UNKNOWN, (name for name in names if _suffix(name) not in _MEDIA))
    own = {_stem(song): song for song in reversed(songs)}
    sung = {_stem(clip) for clip in clips} & own.keys()
    others = [song for song in songs if _stem(song) not in sung]
    shared = others[0] if len(others) == 1 and len(sung) < len({_stem(clip) for clip in clips}) else None
    notes.add(_SAME_NAME, (song for song in songs if _stem(song) in sung and own[_stem(song)] != song))
    notes.add(_NO_CLIP, (song for song in others if song != shared))
    if shared is None:
        notes.add(_NO_SONG, (clip for clip in clips if _stem(clip) not in own))
    montage = stable_slug(folder) if folder else None
    for clip in clips:
        song = own.get(_stem(clip), shared) if _stem(clip) in sung else shared
        if song is not None:
            name = stable_slug(PurePosixPath(clip).stem)
            pair_id = name if montage is None else f"{montage}.{name}"
            yield FoundPair(pair_id, clip, song, _in_montage(montage, clip, shares=song == shared))


def _in_montage(montage: str | None, clip: str, *, shares: bool) -> dict[str, Any]:
    """Values of a pair of a montage: along the song that it shares with others, or all of its own."""
    if montage is None:
        return {}
    if not shares:
        return {"montage": montage, "song_start_s": 0.0, "to_song_end": True}
    is_still = _suffix(clip) in PICTURE_SUFFIXES
    return {"montage": montage} | ({"clip_end_s": STILL_S} if is_still else {})


def _named_once(found: Iterable[FoundPair], notes: Notes) -> Iterator[FoundPair]:
    taken, spare = set[str](), dict[str, None]()
    for pair in found:
        if pair.pair_id.casefold() in taken:
            spare[pair.clip] = None
        else:
            taken.add(pair.pair_id.casefold())
            yield pair
    notes.add(_SAME_NAME, spare)


def _slug_below(name: str) -> str:
    """Of clips/, songs/ and what lies below them: the whole path counts, so that it is nobody else's."""
    return stable_slug(str(PurePosixPath(*PurePosixPath(name).parts[1:]).with_suffix("")))


_MEDIA = VIDEO_SUFFIXES | PICTURE_SUFFIXES | SOUND_SUFFIXES


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.casefold()
