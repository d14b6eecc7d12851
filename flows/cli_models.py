"""The `singalong models` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import Json

models_app = typer.Typer(help="List, add and verify models.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
def models_list(json: Json = False) -> None:
    """List the models that can be used, built in and added."""
    from flows.commands.models import list_command

    raise typer.Exit(list_command(as_json=json))


@models_app.command("add")
def models_add(
    name: Annotated[str, typer.Argument(help="Name to use in manifests and settings.", show_default=False)],
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint: .pth, .pt, .model or .safetensors; or a face enhancer: .onnx.", show_default=False
        ),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a model of this name.")] = False,
    json: Json = False,
) -> None:
    """Add a checkpoint: checks every key and shape, runs no code in it, stores it as safetensors."""
    from flows.commands.models import add_command

    raise typer.Exit(add_command(name, checkpoint, replace=replace, as_json=json))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Published models, e.g. s3fd syncnet_v2.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All published models.")] = False,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Fetch from here: a file's address, or a mirror's that ends in /."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the terms that are shown; mostly research only.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Fetch it again, or replace a model of this name.")
    ] = False,
    json: Json = False,
) -> None:
    """Fetch published weights, compare them with their known size and SHA-256, and add them."""
    from flows.commands.models import pull_command

    raise typer.Exit(
        pull_command(names or [], all_=all_, url=url, accept_licence=accept_licence, replace=replace, as_json=json)
    )


@models_app.command("verify")
def models_verify(json: Json = False) -> None:
    """Hash the weights of every added model and compare with its card."""
    from flows.commands.models import verify_command

    raise typer.Exit(verify_command(as_json=json))
