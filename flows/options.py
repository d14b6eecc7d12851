"""Arguments and options that several commands have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; repeatable."),
]
# Places are texts: a Path would eat a slash of a URL.
Manifest = Annotated[
    str,
    typer.Argument(
        help="Manifest: .csv, .jsonl or .parquet, or a folder of them, or of media; or the s3:// URL of one.",
        show_default=False,
    ),
]
RequireRights = Annotated[
    bool, typer.Option("--require-rights", help="Refuse rows that do not say who allowed their use (column rights).")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its s3:// URL.", show_default=False)]
RunOption = Annotated[
    str,
    typer.Option("--run", help="Run folder or s3:// URL: made, or resumed if it exists.", show_default=False),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="HOST:PORT", help="An existing Ray cluster; by default $RAY_ADDRESS, else a local one."
    ),
]


def with_address(overrides: list[str] | None, ray_address: str | None) -> list[str]:
    """The overrides of settings, the address of a cluster among them."""
    return (overrides or []) + ([f"run.ray_address={json.dumps(ray_address)}"] if ray_address is not None else [])
