"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; repeatable."),
]
Manifest = Annotated[
    Path,
    typer.Argument(help="Manifest: .csv, .jsonl or .parquet, or a folder of them, or of media.", show_default=False),
]
RequireRights = Annotated[
    bool, typer.Option("--require-rights", help="Refuse rows that do not say who allowed their use (column rights).")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)]
