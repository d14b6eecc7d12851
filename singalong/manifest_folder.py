"""A folder as a manifest: looked through each time it is planned, so that what was added, changed or taken away counts.

A folder that holds manifests (.csv, .tsv, .jsonl, .ndjson, .parquet) is all of them together, in order of their names;
a pair without a name gets one that begins with its manifest's. Other files are what the manifests name.

A folder without manifests is what its media says:

    clips/ songs/            every clip sings every song                      pair <clip>__<song>
    anna.mp4 anna.wav        a clip sings the song beside it of its name      pair anna
    night/anna.mp4 anna.wav  the same, and the folder is a montage            pair night.anna, montage night
    night/a.mp4 b.mp4 s.wav  clips without a song of their own sing the one song that is over, in a montage one after
                             another along it, cut on its beats

Montages play in order of names, `2` before `10`. clips/ and songs/ may have folders in them, others not. A pair's name
follows from its own files alone, so that no other file ever changes it; names that cannot be file names everywhere
are made plain and get six digits of their hash. Of two files that differ only by their ending the first one counts.

Hidden files are not looked at. What is being written (touched a moment ago and growing, or under a name such as
x.mp4.part) is left for the next time, and so is a link to nowhere; links to elsewhere are followed, if
limits.media_roots allows it. What is left out is told in notes, never an error: an error is only a folder in which
there is nothing to do at all.

Both may lie in an object store: s3://bucket/night.csv is a manifest, s3://bucket/inbox a folder.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from singalong.contracts import PairRow
from singalong.errors import InputError, ManifestError
from singalong.folder_pairs import CLIPS, SONGS, FoundPair, Notes, natural_order, pairs_in
from singalong.manifest import COLUMNS, ManifestPart, check_parts, read_manifest
from singalong.manifest_cells import BadCellError, Files, check_text
from singalong.manifest_readers import read_raw
from singalong.objects import ObjectFolder, object_at
from singalong.remote_run import refuse_other_urls
from singalong.suffixes import MANIFEST_SUFFIXES, UNFINISHED_SUFFIXES
from singalong.urls import is_url

SETTLED_S = 3.0
"""A file that was touched this recently may be in the middle of being written: it is looked at again."""
MAX_WAIT_S = 20.0
"""Longest time to wait for files that grow."""
_GROWS = "still being written"
_UNREADABLE = "it cannot be looked at"
_TOO_DEEP = "in a folder within a folder"
_IGNORED = frozenset(
    {"thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "__macosx", "lost+found"}
)
_EXPECTED = "manifests, or the folders clips and songs, or clips with songs of the same names beside them"


def read_manifests(
    location: str | Path,
    *,
    available_models: Collection[str] | None = None,
    require: Collection[str] = (),
    roots: Collection[str] = (),
    settled_s: float = SETTLED_S,
    max_wait_s: float = MAX_WAIT_S,
) -> tuple[list[PairRow], list[str]]:
    """The pairs of a manifest, or of a folder as the docstring of this module says; and notes on what was left out.

    Args:
        location: the file or the folder.
        available_models: see `singalong.manifest.read_manifest`, also for `require` and `roots`.
        require: columns every row must fill; a folder of media has none, and is refused.
        roots: folders that all files must lie in, links followed.
        settled_s: files touched more recently are looked at again, seconds.
        max_wait_s: longest wait for such files.

    Raises ManifestError with every problem of every manifest, each with its file, and for a folder of which no pair
    can be made.
    """
    if is_url(location):
        return _read_at(str(location), available_models, require, roots)
    location = Path(refuse_other_urls(location)).expanduser()
    if not location.is_dir():
        return read_manifest(location, available_models=available_models, require=require, roots=roots), []
    location, notes = location.absolute(), Notes()
    names = _settled(location, _scan(location, notes), notes, settled_s=settled_s, max_wait_s=max_wait_s)
    manifests = sorted((name for name in names if is_manifest(name)), key=natural_order)
    if manifests:
        parts = _parts(location, [(name, location / name) for name in manifests], location)
        rows = check_parts(parts, location, available_models=available_models, require=require, roots=roots)
    else:
        rows = _rows(location, names, Files(location, roots), notes)
        _check_filled(location, require, notes, rows)
    return rows, notes.words()


def is_manifest(name: str) -> bool:
    """Whether a file of a folder, by its relative name, is one of its manifests; folders within it have none."""
    return "/" not in name and PurePosixPath(name).suffix.lower() in MANIFEST_SUFFIXES


def _read_at(
    url: str, available_models: Collection[str] | None, require: Collection[str], roots: Collection[str]
) -> tuple[list[PairRow], list[str]]:
    """The same of an object or of all below a URL. Objects are whole or not there, so none is waited for."""
    notes = Notes()
    is_file = is_manifest(PurePosixPath(url).name) and not url.endswith("/")
    folder, only = object_at(url) if is_file else (ObjectFolder.at(url), "")
    names = [only] if is_file else _sifted(folder, notes)
    manifests = sorted((name for name in names if is_manifest(name)), key=natural_order)
    if not manifests:
        rows = _rows(folder, names, Files(folder.url, roots), notes)
        _check_filled(folder.url, require, notes, rows)
        return rows, notes.words()
    with tempfile.TemporaryDirectory(prefix="singalong-") as temp:
        files = [(name, Path(temp, name)) for name in manifests]
        for name, path in files:
            _download(folder, name, path)
        parts = _parts(folder.url, files, folder.url)
    if is_file:
        parts = [replace(part, name=None) for part in parts]
    rows = check_parts(parts, url, available_models=available_models, require=require, roots=roots)
    return rows, notes.words()


def _download(folder: ObjectFolder, name: str, path: Path) -> None:
    try:
        folder.download(name, path)
    except FileNotFoundError:
        folder.check()
        problem = InputError("there is no such object", expected="a manifest")
        raise ManifestError([problem], file=folder.join(name)) from None


def _parts(base: str | Path, files: Sequence[tuple[str, Path]], location: str | Path) -> list[ManifestPart]:
    parts, problems = [], list[InputError]()
    for name, path in files:
        try:
            parts.append(ManifestPart(read_raw(path, known_columns=frozenset(COLUMNS)), base, name))
        except ManifestError as error:
            problems += [problem.within(name) for problem in error.problems]
    if problems:  # what the others hold is told, too
        try:
            check_parts(parts, location)
        except ManifestError as error:
            problems += error.problems
        raise ManifestError(problems, file=location)
    return parts


def _rows(folder: Path | ObjectFolder, names: Collection[str], files: Files, notes: Notes) -> list[PairRow]:
    """The pairs of a folder of media, as rows."""
    usable = {}
    places = {name: str(folder / name) if isinstance(folder, Path) else folder.join(name) for name in names}
    files.look_ahead(places.values())
    for name, place in places.items():
        try:
            check_text(name)
            usable[name] = files.path(place)
        except BadCellError as bad:
            notes.add(bad.problem, [name.encode(errors="backslashreplace").decode()])
    return [
        _row(number, pair, usable[pair.clip], usable[pair.song])
        for number, pair in enumerate(pairs_in(usable, notes), start=1)
    ]


def _row(number: int, pair: FoundPair, clip: str, song: str) -> PairRow:
    return PairRow(row=number, place=pair.clip, pair_id=pair.pair_id, clip=clip, song=song, **pair.values)


def _check_filled(folder: str | Path, require: Collection[str], notes: Notes, rows: Sequence[PairRow]) -> None:
    """Raise ManifestError for a folder of media that makes no pair, or that cannot say what every row must."""
    problems = []
    if not rows:
        found = "; ".join(notes.words())
        problem = f"there is nothing to do in this folder{f' ({found})' if found else ''}"
        problems.append(InputError(problem, expected=_EXPECTED))
    for column in require:
        problem = "a folder of media cannot say it"
        action = "Put a manifest with this column into the folder."
        problems.append(InputError(problem, column=column, expected=COLUMNS[column], action=action))
    if problems:
        raise ManifestError(problems, file=folder)


def _sifted(folder: ObjectFolder, notes: Notes) -> list[str]:
    """The objects that may be of use, by their keys below a folder."""
    found, left_out = [], {_GROWS: list[str](), _TOO_DEEP: list[str]()}
    for facts in folder.list():
        inner, _, name = facts.key.rpartition("/")
        if any(map(_is_hidden, facts.key.split("/"))) or (not facts.size and not PurePosixPath(name).suffix):
            continue  # also the objects that stand for folders
        if "/" in inner and inner.partition("/")[0] not in (CLIPS, SONGS):
            left_out[_TOO_DEEP].append(facts.key)
        elif _is_unfinished(name):
            left_out[_GROWS].append(facts.key)
        else:
            found.append(facts.key)
    for reason, names in left_out.items():
        notes.add(reason, sorted(names, key=natural_order))
    return found


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in _IGNORED


def _is_unfinished(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in UNFINISHED_SUFFIXES


def _scan(folder: Path, notes: Notes) -> dict[str, os.stat_result]:
    """Files by their relative names, with what is known of them."""
    found: dict[str, os.stat_result] = {}
    unread, unfinished, deep = list[str](), list[str](), list[str]()
    todo = [""]
    seen = {os.path.realpath(folder)}
    while todo:
        inner = todo.pop()
        for entry in _entries(folder, inner, unread):
            name = f"{inner}{entry.name}"
            if _is_hidden(entry.name):
                continue
            try:
                facts = entry.stat()
                is_dir = entry.is_dir()
            except OSError:
                unread.append(name)
                continue
            if is_dir and (not inner or inner.partition("/")[0] in (CLIPS, SONGS)):
                real = os.path.realpath(folder / name)
                if real not in seen:  # a link to a folder above
                    seen.add(real)
                    todo.append(f"{name}/")
            elif is_dir:
                deep.append(name)
            elif _is_unfinished(name):
                unfinished.append(name)
            else:
                found[name] = facts
    for reason, names in ((_UNREADABLE, unread), (_GROWS, unfinished), (_TOO_DEEP, deep)):
        notes.add(reason, sorted(names, key=natural_order))
    return found


def _entries(folder: Path, inner: str, unread: list[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder / inner) as entries:
            yield from entries
    except OSError as exc:
        if not inner:
            problem = InputError(f"cannot be looked through: {exc.strerror}", expected="a folder that may be read")
            raise ManifestError([problem], file=folder) from exc
        unread.append(inner)


def _settled(
    folder: Path, found: dict[str, os.stat_result], notes: Notes, *, settled_s: float, max_wait_s: float
) -> list[str]:
    """The files that nobody is writing; those touched a moment ago are watched for a while."""
    now = time.time()
    fresh = {name: facts for name, facts in found.items() if now - facts.st_mtime < settled_s}
    ends_s = time.monotonic() + max_wait_s
    gone = set[str]()
    while fresh:
        time.sleep(settled_s)
        moving = {}
        for name, before in fresh.items():
            try:
                after = (folder / name).stat()
            except OSError:
                gone.add(name)
                continue
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                moving[name] = after
        fresh = moving
        if time.monotonic() + settled_s > ends_s:
            break
    notes.add(_GROWS, sorted(fresh, key=natural_order))
    return [name for name in found if name not in fresh and name not in gone]
