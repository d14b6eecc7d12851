"""The `singalong` command. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_models import models_app
from flows.cli_schedule import schedule
from flows.cli_train import train_app
from flows.exit_codes import EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_USAGE
from flows.interrupts import INTERRUPTED, Interrupted, interruptible
from flows.options import (
    Config,
    Json,
    Manifest,
    Overrides,
    RayAddress,
    RequireRights,
    Run,
    RunOption,
    with_address,
)
from singalong import __version__
from singalong.errors import InputError

app = typer.Typer(
    name="singalong",
    help="Batch lip-sync: a manifest of clips and songs in, singing clips, montages and quality reports out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(schedule)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Folder for the inputs and the run.")] = Path("demo-run"),
    json: Json = False,
) -> None:
    """Make synthetic clips and a song, run the montage on them, say where to look."""
    from flows.commands.run import demo_command

    raise typer.Exit(demo_command(folder, as_json=json))


@app.command()
def plan(
    manifest: Manifest,
    config: Config = None,
    set_: Overrides = None,
    require_rights: RequireRights = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="DIR", help="Find the faces and write pictures here: who would sing, and how it looks."
        ),
    ] = None,
    preview_results: Annotated[
        bool,
        typer.Option(
            "--preview-results/--no-preview-results", help="Make a few frames of each pair, too; needs its song."
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Check a manifest and show what a run would do: shards, what is done already, cost. Runs nothing."""
    from flows.commands.plan import plan_command

    raise typer.Exit(
        plan_command(
            manifest,
            config=config,
            overrides=set_ or [],
            require_rights=require_rights,
            preview_dir=preview,
            preview_results=preview_results,
            as_json=json,
        )
    )


@app.command()
def run(
    manifest: Manifest,
    run: RunOption,
    config: Config = None,
    set_: Overrides = None,
    ray_address: RayAddress = None,
    require_rights: RequireRights = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65535,
            help="Serve Prometheus metrics on this port of 127.0.0.1; 0: any.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run a manifest, or resume the run in this folder. What is finished is never done again."""
    from flows.commands.run import run_command

    overrides = [*(set_ or []), *([] if metrics_port is None else [f"run.metrics_port={metrics_port}"])]
    raise typer.Exit(
        run_command(
            manifest,
            run,
            config=config,
            overrides=with_address(overrides, ray_address),
            require_rights=require_rights,
            as_json=json,
        )
    )


@app.command()
def reprocess(
    run: Run,
    failed: Annotated[bool, typer.Option("--failed", help="What failed, or was never finished.")] = False,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="What a person rejected, each with what was asked for it.")
    ] = False,
    below: Annotated[float | None, typer.Option("--below", help="Sync confidence under this.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="Condition on the columns of report.parquet.")
    ] = None,
    child: Annotated[
        str | None, typer.Option("--run", help="Place of the new run; by default RUN.2, RUN.3 and so on.")
    ] = None,
    set_: Overrides = None,
    ray_address: RayAddress = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Make part of a run again, in a run of its own that shares all finished work. The best take of a pair stands.

    --set is for all that is made again; what a reviewer asked for one pair beats it.
    """
    from flows.commands.reprocess import reprocess_command
    from tasks.selection import Wanted

    raise typer.Exit(
        reprocess_command(
            run,
            Wanted(failed=failed, rejected=rejected, below=below, where=where),
            child=child,
            overrides=with_address(set_, ray_address),
            dry_run=dry_run,
            as_json=json,
        )
    )


@app.command()
def status(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", help="Until nobody works on it any more; with --json one document a line.")
    ] = False,
    json: Json = False,
) -> None:
    """Show how far a run is: shards by state, failures by class, rate, time left, slowest shards, workers."""
    from flows.commands.inspect import status_command

    raise typer.Exit(status_command(run, watch=watch, as_json=json))


@app.command()
def logs(
    run: Run,
    shard: Annotated[
        str | None,
        typer.Argument(help="A shard, a pair (all its shards), or how its name begins.", show_default=False),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, help="By default the last.", show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All shards that failed.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="As it is written, until it is over; with --json a document a line.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what workers told of an attempt at a shard: stages, warnings of libraries, how it ended, tracebacks."""
    from flows.commands.logs import logs_command

    raise typer.Exit(logs_command(run, shard, attempt=attempt, failed=failed, follow=follow, as_json=json))


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders or URLs.", show_default=False)],
    json: Json = False,
) -> None:
    """Write the tables and index.html of a run, finished or not; of several runs, show what changed."""
    from flows.commands.inspect import report_command

    raise typer.Exit(report_command(runs, as_json=json))


@app.command()
def review(
    run: Run,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Port on 127.0.0.1; by default 8765, or any.", show_default=False
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, where there is a screen.")] = True,
    json: Json = False,
) -> None:
    """Serve the review page of a run, finished or not: the worst take first, judged from the keyboard. Ctrl-C ends."""
    from flows.commands.review import review_command

    raise typer.Exit(review_command(run, port=port, open_browser=open_, as_json=json))


@app.command()
def score(
    videos: Annotated[list[str], typer.Argument(help="Talking videos, files or URLs.", show_default=False)],
    audio: Annotated[
        str | None, typer.Option("--audio", help="Score against this sound, a file or URL, instead of their own.")
    ] = None,
    face: Annotated[
        str, typer.Option("--face", help="Whose lips: largest, index:N, at:X,Y@T, speaker or like:IMAGE.")
    ] = "largest",
    config: Config = None,
    set_: Overrides = None,
    json: Json = False,
) -> None:
    """Measure sync offset, confidence (LSE-C) and distance (LSE-D) of any talking video."""
    from flows.commands.score import score_command

    raise typer.Exit(score_command(videos, audio=audio, face=face, config=config, overrides=set_ or [], as_json=json))


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, found and missing, and how to mend it."""
    from flows.commands.doctor import doctor_command

    raise typer.Exit(doctor_command(as_json=json))


def main() -> None:
    """Console entry point: errors become sentences, Ctrl-C and SIGTERM become exit code 130."""
    try:
        with interruptible():
            app()
    except (Interrupted, KeyboardInterrupt):
        typer.echo(INTERRUPTED, err=True)
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        if _is_interrupt(end):
            typer.echo(INTERRUPTED, err=True)
        raise
    except Exception as error:  # noqa: BLE001 - the last border: no traceback reaches the terminal
        sys.exit(_report_error(error))


def _is_interrupt(end: SystemExit) -> bool:
    """Whether this is what typer makes of a Ctrl-C that no command took: an end without a word."""
    return isinstance(end.__context__, typer.Exit) and isinstance(end.__context__.__cause__, KeyboardInterrupt)


def _report_error(error: Exception) -> int:
    from flows.terminal import print_error
    from singalong.errors import classify

    known = classify(error)
    print_error(known)
    if os.environ.get("SINGALONG_TRACEBACK"):
        raise error
    # our own word that the input is wrong; a path that vanished under a running command is no such word
    return EXIT_USAGE if isinstance(error, InputError) else EXIT_SOME_FAILED
