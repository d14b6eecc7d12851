"""Settings read from TOML and `--set section.key=value`; the sections are in `singalong/settings.py`."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from singalong.errors import UsageError
from singalong.settings import (
    AnalysisSettings,
    ClusterSettings,
    FilmSettings,
    LimitSettings,
    LipsyncSettings,
    PlanSettings,
    PrepareSettings,
    RunSettings,
    ScoreSettings,
    Section,
    SongSettings,
)
from singalong.urls import is_url, split_url


class Settings(Section):
    """All settings of a run."""

    plan: PlanSettings = PlanSettings()
    songs: SongSettings = SongSettings()
    limits: LimitSettings = LimitSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    lipsync: LipsyncSettings = LipsyncSettings()
    score: ScoreSettings = ScoreSettings()
    prepare: PrepareSettings = PrepareSettings()
    film: FilmSettings = FilmSettings()
    run: RunSettings = RunSettings()
    cluster: ClusterSettings = ClusterSettings()

    @property
    def store_location(self) -> str:
        """The store in use: an absolute path, or a URL."""
        named = self.run.store or os.environ.get("SINGALONG_STORE", "")
        if is_url(named):
            return named
        return os.fspath(Path(named).expanduser().resolve() if named else default_store())

    @property
    def store_path(self) -> Path:
        """Folder of the store in use on this machine; of a store at a URL, its cache."""
        location = self.store_location
        return cache_folder(location, self.run.cache_dir) if is_url(location) else Path(location)


def default_store() -> Path:
    """A folder in the user's cache directory, so that all runs share finished work.

    Settings use it where neither they nor `$SINGALONG_STORE` name another.
    """
    return Path(platformdirs.user_cache_dir("singalong")) / "store"


def cache_folder(url: str, cache_dir: str | Path | None = None) -> Path:
    """Where files of the store at a URL are kept on this machine."""
    base = Path(cache_dir).expanduser() if cache_dir else Path(platformdirs.user_cache_dir("singalong")) / "remote"
    return (
        base.absolute()
        / hashlib.sha256(split_url(url)[0].encode() + b"/" + split_url(url)[1].encode()).hexdigest()[:16]
    )


def default_models_home() -> Path:
    """Folder of the installed models: `$SINGALONG_MODELS`, else a folder in the user's data directory."""
    env = os.environ.get("SINGALONG_MODELS")
    return Path(env).expanduser().resolve() if env else Path(platformdirs.user_data_dir("singalong")) / "models"


def load_settings(config: Path | None = None, overrides: list[str] | None = None) -> Settings:
    """Read settings from a TOML file, then apply `section.key=value` overrides.

    Raises UsageError naming the key, the value seen and the nearest known key.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise UsageError(f"cannot read the settings: {exc}", file=config, expected="a TOML file") from exc
    for override in overrides or []:
        _apply_override(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        is_unknown = any(error["type"] == "extra_forbidden" for error in exc.errors())
        action = "If a newer singalong wrote this file, update singalong." if is_unknown and config else None
        raise UsageError(_explain(exc), file=config, action=action) from exc


def with_overrides(settings: Settings, overrides: list[str]) -> Settings:
    """The settings with `section.key=value` overrides applied; raises as `load_settings` does."""
    values = settings.model_dump(exclude_none=True)
    for override in overrides:
        _apply_override(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        raise UsageError(_explain(exc)) from exc


def dump_settings(settings: Settings) -> str:
    """The settings as TOML, every key spelled out, in a form `load_settings` reads back."""
    lines: list[str] = []
    for name, section in settings.model_dump(exclude_none=True).items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
        lines.append("")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    """A value as TOML writes it: as JSON does, but for tables, characters beyond the basic plane and DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, sep, raw = override.partition("=")
    *sections, name = key.strip().split(".")
    if not sep or not sections:
        raise UsageError("cannot read a setting", value=override, expected="section.key=value, e.g. lipsync.crf=20")
    try:
        value: Any = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw  # a bare word is a string
    table = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise UsageError("the settings file gives one value for a whole section", value=f"{section} = {table!r}")
    table[name] = value


def _explain(exc: ValidationError) -> str:
    known = list(_keys(Settings))
    lines = []
    for error in exc.errors():
        name = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known settings: {', '.join(known)}"
            lines.append(f"unknown setting {name}{hint}")
        else:
            problem = error["msg"].removeprefix("Value error, ")
            lines.append(f"setting {name}: {problem} (saw {error['input']!r})")
    return "; ".join(lines)


def _keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
