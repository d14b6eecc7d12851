"""The manifest: what a user asks for, one row a pair, checked whole before anything is done.

Every problem is found in one reading and reported with its row and column. Columns (also in `COLUMNS`): clip
and song are required, all others may be absent or empty; `tag_*` columns are carried through to the reports;
any other column is a problem, most likely a typing error.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from singalong import manifest_cells as cells
from singalong.contracts import Fit, PairRow
from singalong.errors import InputError, ManifestError
from singalong.manifest_cells import BadCellError, Files, suggestion
from singalong.manifest_readers import Cell, RawRow, RawTable, read_raw

COLUMNS: dict[str, str] = {
    "pair_id": "Name of the output; default: made from the names of clip and song.",
    "clip": "Video or still image, relative to the manifest or at an s3:// URL. Required.",
    "song": "Audio file, relative to the manifest or at an s3:// URL. Required.",
    "clip_start_s": "Start of the clip span, seconds; default: 0.",
    "clip_end_s": "End of the clip span; default: the clip's end.",
    "song_start_s": "Start of the song span; default: 0, or in a montage where the row before ended.",
    "song_end_s": "End of the song span; default: the song's end, or in a montage as long as the clip span.",
    "montage": "Name of the film this pair becomes a part of.",
    "position": "Place in the montage, any number; default: the order of the rows.",
    "face": "Who sings: largest (default), index:N, at:X,Y@T, speaker, or like:IMAGE, relative to the manifest.",
    "fit": "What a clip does that is shorter than its song: cut, loop, bounce (default) or hold.",
    "generator": "Name of an installed generator; default: that of the settings.",
    "vocals": "auto (default): somebody sings in parts of the song; none: all that is loud is voice; left, right or "
    "channel:N: one channel of the song; separate: by the program set; or a stem's path.",
    "rights": "Who allowed this use of the clip and the song, and where that is written.",
    "priority": "Whole number; higher ones are done first; default: 0.",
}
REQUIRED = ("clip", "song")
_WITH_FILES = ("clip", "song", "vocals", "face")
TAG_PREFIX = "tag_"
_TAG = re.compile(r"tag_[A-Za-z0-9_.-]{1,60}")
_MAX_SLUG_CHARS = 32
_FITS = {fit.value: fit for fit in Fit}


def read_manifest(
    path: Path,
    *,
    available_models: Collection[str] | None = None,
    require: Collection[str] = (),
    roots: Collection[str] = (),
) -> list[PairRow]:
    """The pairs of a manifest: CSV (comma, semicolon or tab, UTF-8), JSON Lines or Parquet, by its extension.

    Paths become absolute, defaults that need no media are filled in. `available_models`: names that the
    generator column may hold; None leaves that to the planner. `require`: columns that every row must fill
    besides clip and song. `roots`: folders that all files named must lie in, links followed; none: anywhere, as for
    whoever writes a manifest for themselves. Raises ManifestError with every problem there is.
    """
    part = ManifestPart(read_raw(path, known_columns=frozenset(COLUMNS)), path.absolute().parent)
    return check_parts([part], path, available_models=available_models, require=require, roots=roots)


@dataclass(frozen=True)
class ManifestPart:
    """Rows of one file, and the folder from which their paths are meant.

    `base` may be a URL. `name`, of one file of several: it stands in every problem, and begins the pair ids that
    are made.
    """

    table: RawTable
    base: str | Path
    name: str | None = None


def check_parts(
    parts: Sequence[ManifestPart],
    path: str | Path,
    *,
    available_models: Collection[str] | None = None,
    require: Collection[str] = (),
    roots: Collection[str] = (),
) -> list[PairRow]:
    """The pairs of the manifest `path`, which consists of these parts; options and errors as for `read_manifest`.

    Rows are numbered through. A row of several files says in its `place` where it stands.
    """
    drafts, problems = list[_Draft](), list[InputError]()
    for part in parts:
        check = _Check(Files(part.base, roots), available_models, (*REQUIRED, *require), [])
        columns = _check_columns(part.table, check)
        check.files.look_ahead(row.cells.get(name) for row in part.table.rows for name in _WITH_FILES)
        drafts += [_Draft(row, part.name, check.values(row, columns)) for row in part.table.rows]
        own = sorted([*part.table.problems, *check.problems], key=lambda problem: problem.row or 0)
        if not part.table.rows and not own:
            own.append(InputError("the manifest has no rows", expected="one row a pair"))
        problems += own if part.name is None else [problem.within(part.name) for problem in own]
    problems += [*_check_names(drafts), *_check_montages(drafts)]
    if problems:
        raise ManifestError(problems if len(parts) > 1 else sorted(problems, key=_row_of), file=path)
    return [PairRow(row=number, place=draft.place, **draft.values) for number, draft in enumerate(drafts, start=1)]


def _row_of(problem: InputError) -> int:
    return problem.row or 0


@dataclass(frozen=True)
class _Draft:
    """A row on its way to a PairRow: the values that are good so far. `file`: that it is in, if there are several."""

    raw: RawRow
    file: str | None
    values: dict[str, Any]

    @property
    def place(self) -> str | None:
        """Where it stands, in words, if there are several files."""
        return None if self.file is None else f"{self.file}, row {self.raw.number}"

    def problem(self, column: str, bad: BadCellError) -> InputError:
        """What is wrong with its cell of a column."""
        found = _cell_problem(self.raw, column, bad)
        return found if self.file is None else found.within(self.file)

    def named_by(self, other: _Draft) -> str:
        """Its row, and its file where that is not the one of the other."""
        return f"row {self.raw.number}" + ("" if self.file in (None, other.file) else f" of {self.file}")


def _cell_problem(raw: RawRow, column: str, bad: BadCellError) -> InputError:
    value = raw.cells.get(column)
    return raw.problem(bad.problem, column, value=value, expected=bad.expected, action=bad.action)


@dataclass
class _Check:
    """Gathers problems while it turns cells into values."""

    files: Files
    available_models: Collection[str] | None
    required: Collection[str]
    problems: list[InputError]

    def values(self, raw: RawRow, columns: dict[str, Callable[[_Check, Cell], Any]]) -> dict[str, Any]:
        """The values of a row that are good."""
        values, tags = dict[str, Any](), dict[str, str]()
        if not raw.readable:
            return values
        for name, parse in columns.items():
            value = raw.cells.get(name)
            if value is None:
                if name in self.required and name not in raw.bad:
                    self.problems.append(raw.problem("missing", name, expected=COLUMNS[name]))
                continue
            target = tags if name.startswith(TAG_PREFIX) else values
            try:
                cells.check_text(value)
                target[name.removeprefix(TAG_PREFIX)] = parse(self, value)
            except BadCellError as bad:
                self.problems.append(_cell_problem(raw, name, bad))
        values["tags"] = tags
        self._check_spans(raw, values)
        return values

    def _check_spans(self, raw: RawRow, values: dict[str, Any]) -> None:
        for medium in ("clip", "song"):
            start, end = values.get(f"{medium}_start_s", 0.0), values.get(f"{medium}_end_s")
            if end is not None and end <= start:
                bad = BadCellError("the span ends before it starts", expected=f"more than the start, {start:g}")
                self.problems.append(_cell_problem(raw, f"{medium}_end_s", bad))


def _fit(_: _Check, value: Cell) -> Fit:
    name = cells.text(value)
    if name not in _FITS:
        raise BadCellError("unknown fit", expected=", ".join(Fit), action=suggestion(name, Fit))
    return _FITS[name]


def _generator(check: _Check, value: Cell) -> str:
    name = cells.text(value)
    if check.available_models is not None and name not in check.available_models:
        expected = f"one of {', '.join(sorted(check.available_models))}"
        action = suggestion(name, check.available_models) or "See: singalong models list"
        raise BadCellError("no such generator is installed", expected=expected, action=action)
    return name


def _vocals(check: _Check, value: Cell) -> str:
    return cells.vocals(value) or check.files.path(value)


def _tag(_: _Check, value: Cell) -> str:
    if isinstance(value, str):
        return cells.free_text(value)
    number = repr(value)
    cells.check_text(number)
    return number


_PARSERS: dict[str, Callable[[_Check, Cell], Any]] = {
    "pair_id": lambda _, value: cells.file_name(value),
    "clip": lambda check, value: check.files.path(value),
    "song": lambda check, value: check.files.path(value),
    "clip_start_s": lambda _, value: cells.seconds(value),
    "clip_end_s": lambda _, value: cells.seconds(value),
    "song_start_s": lambda _, value: cells.seconds(value),
    "song_end_s": lambda _, value: cells.seconds(value),
    "montage": lambda _, value: cells.file_name(value),
    "position": lambda _, value: cells.number(value),
    "face": lambda check, value: cells.face(value, check.files),
    "fit": _fit,
    "generator": _generator,
    "vocals": _vocals,
    "rights": lambda _, value: cells.free_text(value),
    "priority": lambda _, value: cells.integer(value),
}


def _check_columns(table: RawTable, check: _Check) -> dict[str, Callable[[_Check, Cell], Any]]:
    """The parser of every column that is known; problems for the others, and for those that are missing."""
    parsers: dict[str, Callable[[_Check, Cell], Any]] = {}
    for position, name in enumerate(table.columns, start=1):
        if not name:
            check.problems.append(InputError(f"column {position} has no name in the header"))
        elif name in parsers:
            check.problems.append(InputError("the column stands there twice", column=name))
        elif name not in COLUMNS and not _TAG.fullmatch(name):
            check.problems.append(_unknown_column(name))
        parsers[name] = _PARSERS.get(name, _tag)
    if table.rows or table.columns:
        for name in check.required:
            if name not in table.columns:
                check.problems.append(InputError("the column is missing", column=name, expected=COLUMNS[name]))
    return {name: parse for name, parse in parsers.items() if name in COLUMNS or _TAG.fullmatch(name)}


def _unknown_column(name: str) -> InputError:
    shown = name if len(name) <= _MAX_SLUG_CHARS else f"{name[:_MAX_SLUG_CHARS]}…"
    return InputError(
        "unknown column",
        column=shown,
        expected=f"one of {', '.join(COLUMNS)}, or tag_NAME for a column of your own",
        action=suggestion(name.strip().lower(), COLUMNS),
    )


def _check_names(drafts: Sequence[_Draft]) -> Iterator[InputError]:
    """Refuse pair ids given twice, and make those not given: from the file names, unique by the row number.

    Letter case does not tell names apart, as on many file systems it does not tell files apart. Of several files each
    begins its own, so that no file can rename the pairs of another.
    """
    taken: dict[str, _Draft] = {}
    for draft in drafts:
        pair_id = draft.values.get("pair_id")
        if pair_id is None:
            continue
        first = taken.setdefault(pair_id.casefold(), draft)
        if first is not draft:
            action = "Give each pair a name of its own (letter case does not count)."
            yield draft.problem("pair_id", BadCellError(f"also the name of {first.named_by(draft)}", action=action))
    for draft in drafts:
        if draft.raw.cells.get("pair_id") is None and {"clip", "song"} <= draft.values.keys():
            slug = f"{_slug(draft.values['clip'])}__{_slug(draft.values['song'])}"
            name = slug = slug if draft.file is None else f"{stable_slug(Path(draft.file).stem)}.{slug}"
            while name.casefold() in taken:
                name = f"{slug}-{draft.raw.number}" if name == slug else f"{name}-{draft.raw.number}"
            taken[name.casefold()] = draft
            draft.values["pair_id"] = name


@lru_cache(maxsize=4096)
def _slug(path: str) -> str:
    return _plain_name(Path(path).stem)[:_MAX_SLUG_CHARS].strip("-") or "x"


def _plain_name(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_only)


def stable_slug(text: str) -> str:
    """A text as part of a name that depends on nothing else: where it cannot stand as it is, it is made plain and gets
    a few digits of its hash, so that two texts never make one name.
    """
    if cells.is_file_name(text) and len(text) <= _MAX_SLUG_CHARS:
        return text
    digits = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"{_plain_name(text)[: _MAX_SLUG_CHARS - len(digits) - 1].strip('-') or 'x'}-{digits}"


def _check_montages(drafts: Sequence[_Draft]) -> Iterator[InputError]:
    """Refuse two pairs at one place of a montage, and montages whose names differ only by letter case."""
    places: dict[tuple[str, float], _Draft] = {}
    names: dict[str, str] = {}
    for draft in drafts:
        montage, position = draft.values.get("montage"), draft.values.get("position")
        if montage is None:
            continue
        other = names.setdefault(montage.casefold(), montage)
        if other != montage:
            bad = BadCellError(f"differs from {other} only by letter case", action="Write both in the same way.")
            yield draft.problem("montage", bad)
        if position is not None:
            first = places.setdefault((montage, position), draft)
            if first is not draft:
                bad = BadCellError(f"{first.named_by(draft)} of the montage {montage} has this position too")
                yield draft.problem("position", bad)
