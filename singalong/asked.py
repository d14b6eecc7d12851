"""What a person may ask for one pair that is to be made again: cells of its manifest row, and some of the settings.

Only what changes that pair and nobody else: who sings, the part of the song, how the mouth is made and laid back. What
all pairs share (the detector, the scorer, the length of shards) is for `--set`, which is for a whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singalong import manifest_cells as cells
from singalong.config import Settings, with_overrides
from singalong.contracts import Fit, PairRow
from singalong.errors import UsageError
from singalong.manifest_cells import BadCellError, Files, suggestion
from singalong.settings import READ_TIME_SETTINGS, LipsyncSettings

SPAN_CELLS = ("clip_start_s", "clip_end_s", "song_start_s", "song_end_s")
CELLS = ("face", "generator", "fit", "vocals", *SPAN_CELLS)
"""Columns of the manifest that may be asked for."""
_SHARED = frozenset({"generator", "enhancer", "precision", "label", "preset"})
"""Of the lip-sync settings those that are one for a run: models and their precision, and what films say and are."""
SETTINGS = (
    *(f"lipsync.{name}" for name in LipsyncSettings.model_fields if name not in _SHARED),
    *(f"analysis.{name}" for name in sorted(READ_TIME_SETTINGS)),
)
"""Settings that may be asked for: they change the pixels or the faces of one pair, and enter its work keys."""
_ALIASES = {"lipsync.generator": "generator"}
"""Whole runs have a setting for what a row has a column for."""


@dataclass(frozen=True)
class Asked:
    """What was asked for one pair, read and checked.

    Attributes:
        cells: of its manifest row, by column, as the manifest's own reader gives them.
        overrides: settings, each `section.key=value`.
    """

    cells: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.cells or self.overrides)

    def applied(self, row: PairRow) -> PairRow:
        """The row as it was asked for; settings that it had of its own stay where no others are asked for."""
        kept = without(row.overrides, map(key_of, self.overrides))
        return row.model_copy(update={**self.cells, "overrides": (*kept, *self.overrides)})


def read_asked(words: Sequence[str], *, row: PairRow, settings: Settings) -> Asked:
    """Read what a person asked for.

    Args:
        words: each `column=value`, one of CELLS, or `section.key=value`, one of SETTINGS. A time without a value is
            the default again, e.g. `clip_end_s=`.
        row: of the pair; a file is meant from the folder of its song.
        settings: of the run.

    Raises UsageError, saying what can be asked for.
    """
    found: dict[str, str] = {}
    for word in words:
        key, sep, value = word.partition("=")
        key = _ALIASES.get(key.strip(), key.strip())
        if not sep:
            raise UsageError("cannot read what is asked for", value=word, expected=_expected())
        _check_key(key, word)
        if key in found:
            raise UsageError(f"{key} is asked for twice", value=word, expected="each thing once")
        found[key] = value.strip()
    overrides = tuple(f"{key}={value}" for key, value in found.items() if key in SETTINGS)
    with_overrides(settings, [*row.overrides, *overrides])
    asked = Asked(_read_cells(found, row, settings), overrides)
    _check_spans(asked.applied(row))
    return asked


def settings_for(settings: Settings, overrides: Sequence[str]) -> Settings:
    """The settings that a pair with these of its own is made with."""
    return with_overrides(settings, list(overrides)) if overrides else settings


def key_of(override: str) -> str:
    """`section.key` of `section.key=value`."""
    return override.split("=", 1)[0].strip()


def without(overrides: Iterable[str], keys: Iterable[str]) -> tuple[str, ...]:
    """The overrides but those of these keys."""
    gone = set(keys)
    return tuple(override for override in overrides if key_of(override) not in gone)


def _check_key(key: str, word: str) -> None:
    if key in CELLS or key in SETTINGS:
        return
    known = {f"{section}.{name}" for section, kind in _sections() for name in kind}
    if key in known:
        raise UsageError(
            f"{key} is one for all pairs of a run",
            value=word,
            action=f"Whoever makes the pairs again can say it for all: singalong reprocess RUN --rejected --set {word}",
        )
    near = suggestion(key, (*CELLS, *SETTINGS))
    raise UsageError(
        "nothing of this name can be asked for", value=word, expected=None if near else _expected(), action=near
    )


def _sections() -> Iterable[tuple[str, Iterable[str]]]:
    return ((name, getattr(Settings(), name).__class__.model_fields) for name in Settings.model_fields)


def _expected() -> str:
    return f"NAME=VALUE with one of {', '.join((*CELLS, *SETTINGS))}"


def _read_cells(found: Mapping[str, str], row: PairRow, settings: Settings) -> dict[str, Any]:
    files = Files(Path(row.song).parent, map(Path, settings.limits.media_roots))
    values: dict[str, Any] = {}
    for name, value in found.items():
        if name not in CELLS:
            continue
        try:
            cells.check_text(value)
            values[name] = None if name in SPAN_CELLS and not value else _READERS[name](value, files)
        except BadCellError as bad:
            raise UsageError(f"{name}: {bad.problem}", value=value, expected=bad.expected, action=bad.action) from None
    return values


def _check_spans(row: PairRow) -> None:
    for medium in ("clip", "song"):
        start, end = getattr(row, f"{medium}_start_s") or 0.0, getattr(row, f"{medium}_end_s")
        if end is not None and end <= start:
            raise UsageError(f"the {medium} span ends before it starts", value=f"{start:g} to {end:g} s")


def _fit(value: str) -> Fit:
    try:
        return Fit(value)
    except ValueError:
        raise BadCellError("unknown fit", expected=", ".join(Fit), action=suggestion(value, Fit)) from None


def _generator(value: str) -> str:
    if not value:
        raise BadCellError("no generator is named", expected="the name of one, see: singalong models list")
    return cells.text(value)


_READERS: dict[str, Callable[[str, Files], Any]] = {
    "face": cells.face,
    "generator": lambda value, _: _generator(value),
    "fit": lambda value, _: _fit(value),
    "vocals": lambda value, files: cells.vocals(value) or files.path(value),
    **dict.fromkeys(SPAN_CELLS, lambda value, _: cells.seconds(value)),
}
