"""The manifest: what a user asks for, one row a pair, checked whole before anything is done.

Every problem is found in one reading and reported with its row and column. Columns (also in `COLUMNS`): clip
and song are required, all others may be absent or empty; `tag_*` columns are carried through to the reports;
any other column is a problem, most likely a typing error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
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
    "clip": "Video or still image, relative to the manifest. Required.",
    "song": "Audio file, relative to the manifest. Required.",
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
    table = read_raw(path, known_columns=frozenset(COLUMNS))
    required = (*REQUIRED, *require)
    check = _Check(Files(path.absolute().parent, map(Path, roots)), available_models, required, list(table.problems))
    columns = _check_columns(table, check)
    drafts = [check.row(row, columns) for row in table.rows]
    if not table.rows and not check.problems:
        check.problems.append(InputError("the manifest has no rows", expected="one row a pair"))
    _check_names(drafts, check)
    _check_montages(drafts, check)
    if check.problems:
        raise ManifestError(sorted(check.problems, key=lambda problem: problem.row or 0), file=path)
    return [PairRow(row=draft.raw.number, **draft.values) for draft in drafts]


@dataclass
class _Draft:
    """A row on its way to a PairRow: the values that are good so far."""

    raw: RawRow
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Check:
    """Gathers problems while it turns cells into values."""

    files: Files
    available_models: Collection[str] | None
    required: Collection[str]
    problems: list[InputError]

    def row(self, raw: RawRow, columns: dict[str, Callable[[_Check, Cell], Any]]) -> _Draft:
        draft, tags = _Draft(raw), dict[str, str]()
        if not raw.readable:
            return draft
        for name, parse in columns.items():
            value = raw.cells.get(name)
            if value is None:
                if name in self.required and name not in raw.bad:
                    self.problems.append(raw.problem("missing", name, expected=COLUMNS[name]))
                continue
            target = tags if name.startswith(TAG_PREFIX) else draft.values
            try:
                cells.check_text(value)
                target[name.removeprefix(TAG_PREFIX)] = parse(self, value)
            except BadCellError as bad:
                self.report(raw, name, bad)
        draft.values["tags"] = tags
        self._check_spans(draft)
        return draft

    def report(self, raw: RawRow, column: str, bad: BadCellError) -> None:
        value = raw.cells.get(column)
        self.problems.append(raw.problem(bad.problem, column, value=value, expected=bad.expected, action=bad.action))

    def _check_spans(self, draft: _Draft) -> None:
        for medium in ("clip", "song"):
            start, end = draft.values.get(f"{medium}_start_s", 0.0), draft.values.get(f"{medium}_end_s")
            if end is not None and end <= start:
                bad = BadCellError("the span ends before it starts", expected=f"more than the start, {start:g}")
                self.report(draft.raw, f"{medium}_end_s", bad)


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


def _check_names(drafts: list[_Draft], check: _Check) -> None:
    """Refuse pair ids given twice, and make those not given: from the file names, unique by the row number.

    Letter case does not tell names apart, as on many file systems it does not tell files apart.
    """
    taken: dict[str, RawRow] = {}
    for draft in drafts:
        pair_id = draft.values.get("pair_id")
        if pair_id is None:
            continue
        first = taken.setdefault(pair_id.casefold(), draft.raw)
        if first is not draft.raw:
            action = "Give each pair a name of its own (letter case does not count)."
            check.report(draft.raw, "pair_id", BadCellError(f"also the name of row {first.number}", action=action))
    for draft in drafts:
        if draft.raw.cells.get("pair_id") is None and {"clip", "song"} <= draft.values.keys():
            name = slug = f"{_slug(draft.values['clip'])}__{_slug(draft.values['song'])}"
            while name.casefold() in taken:
                name = f"{slug}-{draft.raw.number}" if name == slug else f"{name}-{draft.raw.number}"
            taken[name.casefold()] = draft.raw
            draft.values["pair_id"] = name


@lru_cache(maxsize=4096)
def _slug(path: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", Path(path).stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_only)[:_MAX_SLUG_CHARS].strip("-") or "x"


def _check_montages(drafts: list[_Draft], check: _Check) -> None:
    """Refuse two pairs at one place of a montage, and montages whose names differ only by letter case."""
    places: dict[tuple[str, float], RawRow] = {}
    names: dict[str, str] = {}
    for draft in drafts:
        montage, position = draft.values.get("montage"), draft.values.get("position")
        if montage is None:
            continue
        other = names.setdefault(montage.casefold(), montage)
        if other != montage:
            bad = BadCellError(f"differs from {other} only by letter case", action="Write both in the same way.")
            check.report(draft.raw, "montage", bad)
        if position is not None:
            first = places.setdefault((montage, position), draft.raw)
            if first is not draft.raw:
                bad = BadCellError(f"row {first.number} of the montage {montage} has this position too")
                check.report(draft.raw, "position", bad)
