"""How all pages that are written to the disk are filled in: whatever comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def page_template(name: str, filters: Mapping[str, Callable[..., Any]]) -> Template:
    """The template of this name in tasks/templates, with these filters besides `link` and `file_name`.

    What it names and is not given raises jinja2.UndefinedError when it is rendered.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"link": quote, "file_name": lambda path: Path(path).name, **filters}
    return environment.get_template(name)
